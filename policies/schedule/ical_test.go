package schedule_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"nightshift/policies/schedule"
)

// vcal wraps the lines of events, which a blank line separates, in a calendar.
func vcal(events string) []byte {
	var b strings.Builder
	b.WriteString("BEGIN:VCALENDAR\nVERSION:2.0\n")
	for event := range strings.SplitSeq(strings.TrimSpace(events), "\n\n") {
		b.WriteString("BEGIN:VEVENT\n" + event + "\nEND:VEVENT\n")
	}
	return []byte(strings.ReplaceAll(b.String()+"END:VCALENDAR\n", "\n", "\r\n"))
}

// daysOff are the dates on which a schedule that runs all day, in a zone, makes an
// exception.
func daysOff(t *testing.T, c *schedule.Calendar, zoneName, from, to string) string {
	t.Helper()
	w := weekly(t, zoneName, "12:00-13:00").Except([]schedule.Exception{{Calendar: c, Use: schedule.UseNever}})
	var out []string
	end := at(t, zoneName, to+" 12:00")
	for noon := at(t, zoneName, from+" 12:00"); !noon.After(end); noon = noon.AddDate(0, 0, 1) {
		if w.At(noon) == schedule.Stopped {
			out = append(out, noon.Format("01-02"))
		}
	}
	return strings.Join(out, " ")
}

func TestTheDatesOfAnICalendarFile(t *testing.T) {
	for _, tt := range []struct {
		name, zone, from, to, events, want string
	}{
		{"an all-day event is the same date in every zone", "Pacific/Auckland", "2026-03-01", "2026-03-31", "DTSTART;VALUE=DATE:20260310\nDTEND;VALUE=DATE:20260311", "03-10"},
		{"an all-day event without an end lasts a day", "UTC", "2026-03-01", "2026-03-31", "DTSTART;VALUE=DATE:20260310", "03-10"},
		{"an all-day event that ends where it begins lasts a day", "UTC", "2026-03-01", "2026-03-31", "DTSTART;VALUE=DATE:20260310\nDTEND;VALUE=DATE:20260310", "03-10"},
		{"the end of an all-day event is not in it", "UTC", "2026-03-01", "2026-03-31", "DTSTART;VALUE=DATE:20260310\nDTEND;VALUE=DATE:20260313", "03-10 03-11 03-12"},
		{"an event with times is on each date that it touches", "Europe/London", "2026-03-01", "2026-03-31", "DTSTART;TZID=Europe/London:20260310T220000\nDTEND;TZID=Europe/London:20260312T000001", "03-10 03-11 03-12"},
		{"an event that ends at midnight is not on the next date", "Europe/London", "2026-03-01", "2026-03-31", "DTSTART;TZID=Europe/London:20260310T220000\nDTEND;TZID=Europe/London:20260311T000000", "03-10"},
		{"an evening in New York is the next date in London", "Europe/London", "2026-03-01", "2026-03-31", "DTSTART;TZID=America/New_York:20260310T210000\nDTEND;TZID=America/New_York:20260310T230000", "03-11"},
		{"and two dates in between", "Atlantic/Azores", "2026-03-01", "2026-03-31", "DTSTART;TZID=America/New_York:20260310T180000\nDTEND;TZID=America/New_York:20260310T230000", "03-10 03-11"},
		{"a time in UTC is on the date of the schedule's zone", "Asia/Tokyo", "2026-03-01", "2026-03-31", "DTSTART:20260310T233000Z\nDURATION:PT15M", "03-11"},
		{"a time without a zone is on the date that is written", "Asia/Tokyo", "2026-03-01", "2026-03-31", "DTSTART:20260310T233000\nDURATION:PT15M", "03-10"},
		{"a zone by a name of its own program is on the date that is written", "Asia/Tokyo", "2026-03-01", "2026-03-31", "DTSTART;TZID=GMT Standard Time:20260310T233000\nDURATION:PT15M", "03-10"},
		{"a zone may be quoted, and stand after a path", "Asia/Tokyo", "2026-03-01", "2026-03-31", "DTSTART;TZID=\"/freeassociation.sourceforge.net/Europe/London\":20260310T233000\nDURATION:PT15M", "03-11"},
		{"a flight that lands before it took off, on the clocks", "UTC", "2026-03-01", "2026-03-31", "DTSTART;TZID=Asia/Tokyo:20260310T090000\nDTEND;TZID=America/Los_Angeles:20260310T030000", "03-10"},
		{"a duration of weeks", "UTC", "2026-03-01", "2026-03-31", "DTSTART;VALUE=DATE:20260310\nDURATION:+P1W", "03-10 03-11 03-12 03-13 03-14 03-15 03-16"},
		{"each year", "UTC", "2028-03-01", "2028-03-31", "DTSTART;VALUE=DATE:20260310\nRRULE:FREQ=YEARLY", "03-10"},
		{"so many times", "UTC", "2026-03-01", "2026-03-31", "DTSTART;VALUE=DATE:20260310\nRRULE:FREQ=DAILY;INTERVAL=2;COUNT=3;", "03-10 03-12 03-14"},
		{"until a date, which is in it", "UTC", "2026-03-01", "2026-03-31", "DTSTART:20260310T090000\nRRULE:FREQ=WEEKLY;UNTIL=20260324", "03-10 03-17 03-24"},
		{"until an instant, in the event's zone", "America/New_York", "2026-03-01", "2026-03-31", "DTSTART;TZID=America/New_York:20260310T210000\nRRULE:FREQ=WEEKLY;UNTIL=20260325T010000Z", "03-10 03-17 03-24"},
		{"an event of whole days until an instant", "UTC", "2026-03-01", "2026-03-31", "DTSTART;VALUE=DATE:20260310\nRRULE:FREQ=WEEKLY;UNTIL=20260324T000000Z", "03-10 03-17 03-24"},
		{"the last weekday of a month", "UTC", "2026-03-01", "2026-05-31", "DTSTART;VALUE=DATE:20260330\nRRULE:FREQ=MONTHLY;BYDAY=-1MO", "03-30 04-27 05-25"},
		{"Wednesdays in UTC are Thursdays in Tokyo", "Asia/Tokyo", "2026-03-01", "2026-03-21", "DTSTART:20260304T233000Z\nRRULE:FREQ=WEEKLY;BYDAY=WE", "03-05 03-12 03-19"},
		{"a weekly event keeps its wall time over summer time", "UTC", "2026-03-21", "2026-04-06", "DTSTART;TZID=Europe/London:20260322T003000\nDURATION:PT1H\nRRULE:FREQ=WEEKLY", "03-22 03-29 04-04 04-05"},
		{"a timed event of a whole day is that day when the clocks go forward, too", "Europe/London", "2026-03-21", "2026-03-31", "DTSTART;TZID=Europe/London:20260322T000000\nDTEND;TZID=Europe/London:20260323T000000\nRRULE:FREQ=WEEKLY", "03-22 03-29"},
		{"the first date counts where the rule does not name it", "UTC", "2026-03-01", "2026-03-31", "DTSTART;VALUE=DATE:20260310\nRRULE:FREQ=WEEKLY;BYDAY=TH;UNTIL=20260320", "03-10 03-12 03-19"},
		{"excluded dates", "UTC", "2026-03-01", "2026-03-31", "DTSTART;VALUE=DATE:20260310\nRRULE:FREQ=DAILY;COUNT=6\nEXDATE;VALUE=DATE:20260311,20260313\nEXDATE;VALUE=DATE:20260314", "03-10 03-12 03-15"},
		{"the first date is excluded", "UTC", "2026-03-01", "2026-03-31", "DTSTART;VALUE=DATE:20260310\nRRULE:FREQ=DAILY;COUNT=2\nEXDATE;VALUE=DATE:20260310", "03-11"},
		{"an excluded time is the same in another zone", "Europe/London", "2026-03-01", "2026-03-31", "DTSTART;TZID=America/New_York:20260309T090000\nRRULE:FREQ=DAILY;COUNT=3\nEXDATE:20260310T130000Z", "03-09 03-11"},
		{"a date excludes an event with times", "Europe/London", "2026-03-01", "2026-03-31", "DTSTART;TZID=Europe/London:20260309T090000\nRRULE:FREQ=DAILY;COUNT=3\nEXDATE;VALUE=DATE:20260310", "03-09 03-11"},
		{"dates without a rule", "UTC", "2026-03-01", "2026-03-31", "DTSTART;VALUE=DATE:20260310\nRDATE;VALUE=DATE:20260315,20260318", "03-10 03-15 03-18"},
		{"periods", "UTC", "2026-03-01", "2026-03-31", "DTSTART:20260310T090000Z\nRDATE;VALUE=PERIOD:20260315T230000Z/20260316T010000Z,20260318T230000Z/PT2H", "03-10 03-15 03-16 03-18 03-19"},
		{"a date was moved", "UTC", "2026-03-01", "2026-03-31", "UID:a\nDTSTART;VALUE=DATE:20260310\nRRULE:FREQ=DAILY;COUNT=3\n\nUID:a\nRECURRENCE-ID;VALUE=DATE:20260311\nDTSTART;VALUE=DATE:20260320", "03-10 03-12 03-20"},
		{"a date was cancelled", "UTC", "2026-03-01", "2026-03-31", "UID:a\nDTSTART;VALUE=DATE:20260310\nRRULE:FREQ=DAILY;COUNT=3\n\nUID:a\nSTATUS:CANCELLED\nRECURRENCE-ID;VALUE=DATE:20260311\nDTSTART;VALUE=DATE:20260311", "03-10 03-12"},
		{"a time was cancelled, written in UTC", "UTC", "2026-03-01", "2026-03-31", "UID:a\nDTSTART;TZID=America/New_York:20260309T090000\nRRULE:FREQ=DAILY;COUNT=3\n\nUID:a\nSTATUS:CANCELLED\nRECURRENCE-ID:20260310T130000Z\nDTSTART:20260310T130000Z", "03-09 03-11"},
		{"a date was moved to that of another", "UTC", "2026-03-01", "2026-03-31", "UID:a\nDTSTART;VALUE=DATE:20260310\nRRULE:FREQ=DAILY;COUNT=3\n\nUID:a\nRECURRENCE-ID;VALUE=DATE:20260311\nDTSTART;VALUE=DATE:20260311\nDTEND;VALUE=DATE:20260315", "03-10 03-11 03-12 03-13 03-14"},
		{"what was moved in another event stays", "UTC", "2026-03-01", "2026-03-31", "UID:b\nDTSTART;VALUE=DATE:20260311\n\nUID:a\nRECURRENCE-ID;VALUE=DATE:20260311\nDTSTART;VALUE=DATE:20260320", "03-11 03-20"},
		{"all is cancelled", "UTC", "2026-03-01", "2026-03-31", "STATUS:cancelled\nDTSTART;VALUE=DATE:20260310\nRRULE:FREQ=DAILY", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := schedule.ParseICal(vcal(tt.events))
			if err != nil {
				t.Fatal(err)
			}
			w := daysOff(t, c, tt.zone, tt.from, tt.to)
			if w != tt.want {
				t.Errorf("got  %s\nwant %s", w, tt.want)
			}
		})
	}
}

// What programs write around the events does not matter.
func TestAnICalendarFileAsProgramsWriteIt(t *testing.T) {
	const want = "2026-03-10"
	for name, text := range map[string]string{
		"lines that end in LF alone":        "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20260310\nEND:VEVENT\nEND:VCALENDAR\n",
		"a byte order mark":                 "\xef\xbb\xbfBEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART:20260310\r\nEND:VEVENT\r\nEND:VCALENDAR",
		"lower case":                        "begin:vcalendar\r\nbegin:vevent\r\ndtstart;value=date:20260310\r\nend:vevent\r\nend:vcalendar\r\n",
		"folded lines":                      "BEGIN:VCALENDAR\r\nBEGIN:VEV\r\n ENT\r\nDTST\r\n\tART:2026\r\n 0310\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
		"an alarm":                          "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART:20260310\r\nBEGIN:VALARM\r\nDURATION:PT1H\r\nDTSTART:x\r\nEND:VALARM\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
		"a zone, a task and an empty line":  "BEGIN:VCALENDAR\r\nBEGIN:VTIMEZONE\r\nTZID:x\r\nBEGIN:STANDARD\r\nDTSTART:19701025T020000\r\nRRULE:FREQ=HOURLY\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n\r\nBEGIN:VTODO\r\nDTSTART:20260311\r\nEND:VTODO\r\nBEGIN:VEVENT\r\nDTSTART:20260310\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
		"a guest with a quote in the name":  "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nATTENDEE;CN=O\"Brien:x\r\nDTSTART:20260310\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
		"the zone of the file after events": "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART:20260309T233000Z\r\nEND:VEVENT\r\nX-WR-TIMEZONE:Asia/Tokyo\r\nEND:VCALENDAR\r\n",
	} {
		c, err := schedule.ParseICal([]byte(text))
		if err != nil || c.String() != want {
			t.Errorf("%s: got %v, %v, want %s", name, c, err, want)
		}
	}
}

func TestICalendarFilesThatAreRefused(t *testing.T) {
	rule := func(s string) []byte { return vcal("SUMMARY:x\nDTSTART:20260101\nRRULE:" + s) }
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"one that was cut off":                      {[]byte("BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART:20260310\r\nEND:VEVENT\r\n"), "does not end"},
		"a page that says not found":                {[]byte("<html>not found</html>"), "not an iCalendar file"},
		"every second":                              {rule("FREQ=SECONDLY"), "within a day"},
		"every minute":                              {rule("FREQ=MINUTELY;COUNT=1000000000"), "within a day"},
		"every hour of the day":                     {rule("FREQ=DAILY;BYHOUR=1,2,3"), "within a day"},
		"the 53rd Monday of a month":                {rule("FREQ=MONTHLY;BYDAY=53MO"), "no month has 53"},
		"the 53rd Monday from its end":              {rule("FREQ=YEARLY;BYMONTH=1;BYDAY=-53MO"), "no month has 53"},
		"Easter and a thousand days":                {rule("FREQ=YEARLY;BYEASTER=1000"), "BYEASTER"},
		"no frequency":                              {rule("COUNT=3"), "rule"},
		"an interval of ages":                       {rule("FREQ=DAILY;INTERVAL=9000000000000000000"), "too rarely"},
		"a rule without end":                        {rule("FREQ=DAILY;BYMONTHDAY=" + strings.Repeat("1,", 600) + "1"), "longer than 1000 bytes"},
		"an event without a start":                  {vcal("SUMMARY:x"), "no DTSTART"},
		"an event that ends before it begins":       {vcal("DTSTART:20260310\nDTEND:20260309"), "ends before it begins"},
		"an event of years":                         {vcal("DTSTART:20260310\nDTEND:20290309"), "longer than a year"},
		"a duration of years":                       {vcal("DTSTART:20260310\nDURATION:P999W"), "longer than a year"},
		"a duration of nothing":                     {vcal("DTSTART:20260310\nDURATION:P1"), "not a duration"},
		"a duration that runs backwards":            {vcal("DTSTART:20260310\nDURATION:-P1D"), "not a duration"},
		"a bad excluded date":                       {vcal("DTSTART:20260310\nEXDATE:soon"), "not a date"},
		"a bad end of a rule":                       {vcal("DTSTART:20260310\nRRULE:FREQ=DAILY;UNTIL=20261301"), "rule"},
		"an event that moves all that come after":   {vcal("DTSTART:20260310\nRECURRENCE-ID;RANGE=THISANDFUTURE:20260310"), "THISANDFUTURE"},
		"a start of a rule long ago":                {vcal("DTSTART:00010101\nRRULE:FREQ=DAILY"), "before 1800"},
		"the dates of twenty thousand daily events": {vcal(strings.Repeat("DTSTART:20260101\nDURATION:P300D\nRRULE:FREQ=DAILY\n\n", 20_000)), "counted together"},
		"the rules of events that never come":       {vcal(strings.Repeat("DTSTART:20260101\nRRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30\n\n", 20_000)), "counted together"},
		"of ones that end and never come":           {vcal(strings.Repeat("DTSTART:20260101\nRRULE:FREQ=YEARLY;BYMONTH=1;BYYEARDAY=366;UNTIL=20270101\n\n", 20_000)), "counted together"},
		"too many events":                           {vcal(strings.Repeat("DTSTART:20260101\n\n", 20_001)), "at most 20000"},
		"too large a file":                          {make([]byte, 10<<20), "at most"},
		"a line of parameters":                      {vcal("DTSTART" + strings.Repeat(";A=1", 1_000_000) + ":20260101"), "too long"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := schedule.ParseICal(tt.data)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %.200v, want %q", err, tt.want)
			}
		})
	}
}

// A file may be 8 MB of anything: it is read or refused within seconds, and the
// stack does not grow with it.
func TestALargeHostileICalendarFile(t *testing.T) {
	const size = 7 << 20
	fill := func(s string) string { return strings.Repeat(s, size/len(s)) }
	for name, text := range map[string]string{
		"components in components": fill("BEGIN:VEVENT\r\n"),
		"the same, in one event":   "BEGIN:VEVENT\r\n" + fill("BEGIN:VALARM\r\n"),
		"folds":                    "BEGIN:VEVENT\r\nSUMMARY:" + fill("x\r\n "),
		"blank lines":              fill("\r\n"),
		"excluded dates":           "BEGIN:VEVENT\r\nDTSTART:20260101\r\nEXDATE:" + fill("20260101,") + "20260101\r\nEND:VEVENT\r\n",
		"rules in one event":       "BEGIN:VEVENT\r\nDTSTART:20260101\r\n" + fill("RRULE:FREQ=DAILY\r\n") + "END:VEVENT\r\n",
		"short lists":              "BEGIN:VEVENT\r\nDTSTART:20260101\r\n" + fill("EXDATE:20260101,20260102\r\n") + "END:VEVENT\r\n",
		"moved dates":              fill("BEGIN:VEVENT\r\nUID:a\r\nRECURRENCE-ID:20260101\r\nDTSTART:20260101\r\nEND:VEVENT\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := schedule.ParseICal([]byte("BEGIN:VCALENDAR\r\n" + text + "END:VCALENDAR\r\n"))
			if err != nil && len(err.Error()) > 1000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
}

// Rules are followed by rrule-go; a person would look at each day.
func TestRulesAgainstALookAtEachDay(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) // a Thursday
	lastOfMonth := func(d time.Time) bool { return d.AddDate(0, 0, 1).Day() == 1 }
	for rule, matches := range map[string]func(time.Time) bool{
		"FREQ=YEARLY":           func(d time.Time) bool { return d.YearDay() == 1 },
		"FREQ=MONTHLY":          func(d time.Time) bool { return d.Day() == 1 },
		"FREQ=WEEKLY":           func(d time.Time) bool { return d.Weekday() == 4 },
		"FREQ=DAILY":            func(d time.Time) bool { return true },
		"FREQ=DAILY;INTERVAL=3": func(d time.Time) bool { return int(d.Sub(start)/(24*time.Hour))%3 == 0 },
		"FREQ=WEEKLY;INTERVAL=2;BYDAY=TH,SU;WKST=MO": func(d time.Time) bool { n := int(d.Sub(start)/(24*time.Hour)) % 14; return n == 0 || n == 3 },
		"FREQ=WEEKLY;INTERVAL=2;BYDAY=TH,SU;WKST=SU": func(d time.Time) bool { n := int(d.Sub(start)/(24*time.Hour)) % 14; return n == 0 || n == 10 },
		"FREQ=MONTHLY;BYMONTHDAY=-1,1":               func(d time.Time) bool { return d.Day() == 1 || lastOfMonth(d) },
		"FREQ=MONTHLY;BYDAY=1TH,-1FR": func(d time.Time) bool {
			return d.Weekday() == 4 && d.Day() <= 7 || d.Weekday() == 5 && d.AddDate(0, 0, 7).Month() != d.Month()
		},
		"FREQ=YEARLY;BYMONTH=11;BYDAY=4TH": func(d time.Time) bool {
			return d.YearDay() == 1 && d.Year() == 2026 || d.Month() == 11 && d.Weekday() == 4 && (d.Day()+6)/7 == 4
		},
		"FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13": func(d time.Time) bool { return d.Equal(start) || d.Weekday() == 5 && d.Day() == 13 },
		"FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1": func(d time.Time) bool {
			if d.Equal(start) {
				return true
			}
			for next := d.AddDate(0, 0, 1); next.Month() == d.Month(); next = next.AddDate(0, 0, 1) {
				if next.Weekday() != 0 && next.Weekday() != 6 {
					return false
				}
			}
			return d.Weekday() != 0 && d.Weekday() != 6
		},
		"FREQ=YEARLY;BYYEARDAY=1,100,-1": func(d time.Time) bool {
			return d.YearDay() == 1 || d.YearDay() == 100 || d.Month() == 12 && d.Day() == 31
		},
		"FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO": func(d time.Time) bool {
			_, week := d.ISOWeek()
			return d.Equal(start) || week == 20 && d.Weekday() == 1
		},
	} {
		c, err := schedule.ParseICal(vcal("DTSTART;VALUE=DATE:20260101\nRRULE:" + rule))
		if err != nil {
			t.Errorf("%s: %v", rule, err)
			continue
		}
		for d := start; d.Year() < 2035; d = d.AddDate(0, 0, 1) {
			if _, ok := c.On(d.Date()); ok != matches(d) {
				t.Errorf("%s: %s is %v, want %v", rule, d.Format("Mon 2006-01-02"), ok, matches(d))
				break
			}
		}
	}
}

func TestTheSameFileAndZoneAreTheSameException(t *testing.T) {
	c, err := schedule.ParseICal(vcal("DTSTART:20260310T233000Z"))
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, zone := range []string{"Europe/London", "Europe/London", "Asia/Tokyo"} {
		texts = append(texts, fmt.Sprint(weekly(t, zone, "08:00-19:00").Except([]schedule.Exception{{Calendar: c, Use: schedule.UseNever}})))
	}
	if texts[0] != texts[1] || !strings.Contains(texts[0], "2026-03-10") || !strings.Contains(texts[2], "2026-03-11") {
		t.Errorf("got %q", slices.Compact(texts))
	}
}
