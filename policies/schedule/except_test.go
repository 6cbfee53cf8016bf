package schedule_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nightshift/policies/schedule"
)

func dates(t testing.TB, lines ...string) *schedule.Calendar {
	t.Helper()
	c, err := schedule.ParseDates(lines)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// changes prints the transitions of a timetable between two wall times.
func changes(w *schedule.Weekly, from, to string) string {
	const layout = "2006-01-02 15:04"
	t, _ := time.ParseInLocation(layout, from, w.Zone())
	end, _ := time.ParseInLocation(layout, to, w.Zone())
	var out []string
	for {
		n, ok := w.Next(t)
		if !ok || n.At.After(end) {
			return strings.Join(out, ", ")
		}
		out = append(out, n.At.In(w.Zone()).Format("02 15:04 ")+string(n.To))
		t = n.At
	}
}

func TestExceptions(t *testing.T) {
	london, err := schedule.LoadZone("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	parse := func(running, stopped string) *schedule.Weekly {
		lines := func(s string) []string {
			if s == "" {
				return nil
			}
			return []string{s}
		}
		w, err := schedule.ParseWeekly(lines(running), lines(stopped), london)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	office, half := parse("Mon-Fri 08:00-19:00", ""), parse("Mon-Fri 08:00-13:00", "")
	late := parse("Mon-Fri 20:00-02:00", "")
	// 2026-12-23 is a Wednesday.
	xmas := dates(t, "2026-12-25 Christmas Day", "12-26")
	closed := dates(t, "2026-12-24..2026-12-25 closed")
	for _, tt := range []struct {
		name  string
		base  *schedule.Weekly
		rules []schedule.Exception
		want  string // from Wednesday noon to Tuesday noon
	}{
		{"without one", office, nil, "23 19:00 stopped, 24 08:00 running, 24 19:00 stopped, 25 08:00 running, 25 19:00 stopped, 28 08:00 running, 28 19:00 stopped, 29 08:00 running"},
		{"never: the windows that begin on the day are gone", office, []schedule.Exception{{Calendar: closed, Use: schedule.UseNever}}, "23 19:00 stopped, 28 08:00 running, 28 19:00 stopped, 29 08:00 running"},
		{"always: from midnight to midnight", office, []schedule.Exception{{Calendar: xmas, Use: schedule.UseAlways}}, "23 19:00 stopped, 24 08:00 running, 24 19:00 stopped, 25 00:00 running, 27 00:00 stopped, 28 08:00 running, 28 19:00 stopped, 29 08:00 running"},
		{"another schedule stands in", office, []schedule.Exception{{Calendar: xmas, Use: schedule.UseSchedule, Schedule: half}}, "23 19:00 stopped, 24 08:00 running, 24 19:00 stopped, 25 08:00 running, 25 13:00 stopped, 28 08:00 running, 28 19:00 stopped, 29 08:00 running"},
		{"the first match wins", office, []schedule.Exception{{Calendar: closed, Use: schedule.UseUnchanged}, {Calendar: xmas, Use: schedule.UseNever}}, "23 19:00 stopped, 24 08:00 running, 24 19:00 stopped, 25 08:00 running, 25 19:00 stopped, 28 08:00 running, 28 19:00 stopped, 29 08:00 running"},
		{"a window of the day before runs to its end", late, []schedule.Exception{{Calendar: dates(t, "2026-12-24"), Use: schedule.UseNever}}, "23 20:00 running, 24 02:00 stopped, 25 20:00 running, 26 02:00 stopped, 28 20:00 running, 29 02:00 stopped"},
		{"and one that stands in, past midnight", office, []schedule.Exception{{Calendar: dates(t, "2026-12-24"), Use: schedule.UseSchedule, Schedule: late}}, "23 19:00 stopped, 24 20:00 running, 25 02:00 stopped, 25 08:00 running, 25 19:00 stopped, 28 08:00 running, 28 19:00 stopped, 29 08:00 running"},
		{"stopped windows: never is stopped all day", parse("", "22:00-06:00"), []schedule.Exception{{Calendar: dates(t, "2026-12-25"), Use: schedule.UseNever}}, "23 22:00 stopped, 24 06:00 running, 24 22:00 stopped, 26 00:00 running, 26 22:00 stopped, 27 06:00 running, 27 22:00 stopped, 28 06:00 running, 28 22:00 stopped, 29 06:00 running"},
		{"stopped windows: always is running, after the night before", parse("", "22:00-06:00"), []schedule.Exception{{Calendar: dates(t, "2026-12-25"), Use: schedule.UseAlways}}, "23 22:00 stopped, 24 06:00 running, 24 22:00 stopped, 25 06:00 running, 26 22:00 stopped, 27 06:00 running, 27 22:00 stopped, 28 06:00 running, 28 22:00 stopped, 29 06:00 running"},
		{"a span of days gives way and goes on", parse("Sun 22:00 - Fri 19:00", ""), []schedule.Exception{{Calendar: dates(t, "2026-12-24"), Use: schedule.UseNever}}, "24 00:00 stopped, 25 00:00 running, 25 19:00 stopped, 27 22:00 running"},
		{"also when it begins on such a day", parse("Sun 22:00 - Fri 19:00", ""), []schedule.Exception{{Calendar: dates(t, "2026-12-27"), Use: schedule.UseNever}}, "25 19:00 stopped, 28 00:00 running"},
		{"a span that stands in holds on that day, wherever it began", office, []schedule.Exception{{Calendar: dates(t, "2026-12-24"), Use: schedule.UseSchedule, Schedule: parse("Sun 22:00 - Fri 19:00", "")}}, "23 19:00 stopped, 24 00:00 running, 25 00:00 stopped, 25 08:00 running, 25 19:00 stopped, 28 08:00 running, 28 19:00 stopped, 29 08:00 running"},
		{"and ends at its time", office, []schedule.Exception{{Calendar: dates(t, "2026-12-25"), Use: schedule.UseSchedule, Schedule: parse("Sun 22:00 - Fri 17:00", "")}}, "23 19:00 stopped, 24 08:00 running, 24 19:00 stopped, 25 00:00 running, 25 17:00 stopped, 28 08:00 running, 28 19:00 stopped, 29 08:00 running"},
		{"a stopped span that stands in", parse("", "22:00-06:00"), []schedule.Exception{{Calendar: dates(t, "2026-12-24"), Use: schedule.UseSchedule, Schedule: parse("", "Sun 22:00 - Fri 19:00")}}, "23 22:00 stopped, 25 00:00 running, 25 22:00 stopped, 26 06:00 running, 26 22:00 stopped, 27 06:00 running, 27 22:00 stopped, 28 06:00 running, 28 22:00 stopped, 29 06:00 running"},
		{"one-sided: a day of never has a voice", office.OneSided(), []schedule.Exception{{Calendar: closed, Use: schedule.UseNever}}, "23 19:00 any, 24 00:00 stopped, 26 00:00 any, 28 08:00 running, 28 19:00 any, 29 08:00 running"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := tt.base.Except(tt.rules)
			if got := changes(w, "2026-12-23 12:00", "2026-12-29 12:00"); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// The edges found ahead and back agree with what is wanted minute by minute.
func TestExceptionsMinuteByMinute(t *testing.T) {
	zone, err := schedule.LoadZone("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	lines := []string{"Mon-Fri 08:00-19:00", "22:00-06:00", "Sun 22:00 - Fri 19:00", "Sat-Sun 00:00-24:00", "Mon#1 09:30-01:15", "1-15 12:00-12:30"}
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) *schedule.Weekly {
			w, err := schedule.ParseWeekly([]string{rapid.SampledFrom(lines).Draw(t, name)}, nil, zone)
			if err != nil {
				t.Fatal(err)
			}
			return w
		}
		start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, rapid.IntRange(0, 400).Draw(t, "day"))
		var rules []schedule.Exception
		for n := range rapid.IntRange(1, 3).Draw(t, "rules") {
			d := start.AddDate(0, 0, rapid.IntRange(0, 6).Draw(t, "on"))
			c, err := schedule.ParseDates([]string{d.Format(time.DateOnly)})
			if err != nil {
				t.Fatal(err)
			}
			use := rapid.SampledFrom([]schedule.Use{schedule.UseNever, schedule.UseAlways, schedule.UseUnchanged, schedule.UseSchedule}).Draw(t, "use")
			rules = append(rules, schedule.Exception{Calendar: c, Use: use, Schedule: draw("stands in"), Name: string(rune('a' + n))})
		}
		w := draw("base").Except(rules)
		end := start.AddDate(0, 0, 8)
		next, ok := w.Next(start)
		state := w.At(start)
		for at := start.Add(time.Minute); at.Before(end); at = at.Add(time.Minute) {
			s := w.At(at)
			changed := s != state
			if isNext := ok && next.At.Equal(at); changed != isNext {
				t.Fatalf("at %s: changed %v, an edge is due %v (%s)", at, changed, isNext, w)
			}
			if changed {
				if prev, ok := w.Prev(at); !ok || !prev.At.Equal(at) || prev.To != s {
					t.Fatalf("at %s: the newest edge is %v", at, prev)
				}
				next, ok = w.Next(at)
			}
			state = s
		}
	})
}

func TestDates(t *testing.T) {
	c := dates(t, "2026-12-24..2027-01-01 closed", "05-01\tLabour Day", "2026-12-31 New Year's Eve")
	for date, want := range map[string]string{"2026-12-24": "closed", "2027-01-01": "closed", "2027-05-01": "Labour Day", "2026-12-31": "closed"} {
		d, _ := time.Parse(time.DateOnly, date)
		if name, ok := c.On(d.Date()); !ok || name != want {
			t.Errorf("%s: %q %v, want %q", date, name, ok, want)
		}
	}
	if _, ok := c.On(2027, 1, 2); ok {
		t.Error("2027-01-02 is in the calendar")
	}
	if got, want := c.String(), "2026-12-24..2027-01-01 05-01"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for line, want := range map[string]string{"2026-13-01": "is not a date", "2027-01-01..2026-12-24": "before it begins", "soon": "is not a date", "02-30": "is not a date", "": "is not a date", "1600-01-01..2100-01-01": "is not a date"} {
		if _, err := schedule.ParseDates([]string{line}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", line, err, want)
		}
	}
}

const holidays = `BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//test//EN
X-WR-TIMEZONE:Europe/London
BEGIN:VEVENT
UID:1
SUMMARY:Christmas Day
DTSTART;VALUE=DATE:20251225
DTEND;VALUE=DATE:20251226
RRULE:FREQ=YEARLY
END:VEVENT
BEGIN:VEVENT
UID:2
SUMMARY:Early May bank holiday
DTSTART;VALUE=DATE:20260504
RRULE:FREQ=YEARLY;BYMONTH=5;BYDAY=1MO;UNTIL=20280601
EXDATE;VALUE=DATE:20270503
END:VEVENT
BEGIN:VEVENT
UID:3
SUMMARY:Night move
DTSTART;TZID=Europe/London:20261010T220000
DTEND;TZID=Europe/London:20261011T020000
END:VEVENT
BEGIN:VEVENT
UID:4
SUMMARY:Late in London, summer time
DTSTART:20260701T233000Z
DTEND:20260701T234500Z
END:VEVENT
BEGIN:VEVENT
UID:5
SUMMARY:Cancelled
STATUS:CANCELLED
DTSTART;VALUE=DATE:20260901
END:VEVENT
BEGIN:VEVENT
UID:6
SUMMARY:Team day
DTSTART;VALUE=DATE:20260105
RRULE:FREQ=MONTHLY;COUNT=3
END:VEVENT
BEGIN:VEVENT
UID:6
SUMMARY:Team day, moved
RECURRENCE-ID;VALUE=DATE:20260205
DTSTART;VALUE=DATE:20260206
END:VEVENT
BEGIN:VEVENT
UID:7
SUMMARY:Three days
DTSTART;VALUE=DATE:20260810
DURATION:P3D
END:VEVENT
END:VCALENDAR
`

func TestICalendar(t *testing.T) {
	c, err := schedule.ParseICal([]byte(strings.ReplaceAll(holidays, "\n", "\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	for date, want := range map[string]string{
		"2025-12-25": "Christmas Day", "2040-12-25": "Christmas Day", "2024-12-25": "",
		"2026-05-04": "Early May bank holiday", "2027-05-03": "", "2028-05-01": "Early May bank holiday", "2029-05-07": "",
		"2026-10-10": "Night move", "2026-10-11": "Night move", "2026-10-12": "",
		"2026-07-02": "Late in London, summer time", "2026-07-01": "",
		"2026-09-01": "", "2026-01-05": "Team day", "2026-02-05": "", "2026-02-06": "Team day, moved", "2026-03-05": "Team day", "2026-04-05": "",
		"2026-08-09": "", "2026-08-10": "Three days", "2026-08-12": "Three days", "2026-08-13": "",
	} {
		d, _ := time.Parse(time.DateOnly, date)
		if name, ok := c.On(d.Date()); name != want || ok != (want != "") {
			t.Errorf("%s: %q, want %q", date, name, want)
		}
	}
	for text, want := range map[string]string{
		"":                                     "not a whole",
		"BEGIN:VCALENDAR\r\n":                  "",
		"hello":                                "iCalendar",
		"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n": "no events",
		"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nSUMMARY:x\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n":                               "no DTSTART",
		"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART:20261301\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n":                        "not a date",
		"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART:20260101\r\nRRULE:FREQ=SECONDLY\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n": "within a day",
	} {
		if _, err := schedule.ParseICal([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzICal(f *testing.F) {
	f.Add([]byte(strings.ReplaceAll(holidays, "\n", "\r\n")))
	f.Add([]byte("BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART:20260101\r\nRRULE:FREQ=YEARLY;BYMONTHDAY=31;BYMONTH=2\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := schedule.ParseICal(data)
		if err == nil && c.Len() > 100_001 {
			t.Errorf("%d dates", c.Len())
		}
	})
}

func FuzzInstant(f *testing.F) {
	for _, s := range []string{"2026-12-01", "2026-12-01T18:00", "2026-12-01T18:00_Europe/London", "2026-03-29T01:30_Europe/London", "2026-12-01T18:00:00Z", "2026-12-01 24:00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at, err := schedule.ParseInstant(text, time.UTC)
		if err != nil {
			return
		}
		again, err := schedule.ParseInstant(at.Format(time.RFC3339Nano), time.UTC)
		if err != nil || !again.Equal(at) {
			t.Errorf("%q is %s, and that %s (%v)", text, at, again, err)
		}
	})
}

func TestInstants(t *testing.T) {
	london, err := schedule.LoadZone("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"2026-12-01":                        "2026-12-01T00:00:00Z",
		"2026-07-01T18:00":                  "2026-07-01T17:00:00Z",
		"2026-07-01 18:00":                  "2026-07-01T17:00:00Z",
		"2026-07-01T18:00_Europe/Berlin":    "2026-07-01T16:00:00Z",
		"2026-07-01_UTC":                    "2026-07-01T00:00:00Z",
		"2026-03-29T01:30":                  "2026-03-29T01:00:00Z", // in the gap: the first instant after it
		"2026-10-25T01:30":                  "2026-10-25T00:30:00Z", // in the overlap: the first reading
		"2026-12-01T24:00":                  "2026-12-02T00:00:00Z",
		"2026-12-01T18:00:00+02:00":         "2026-12-01T16:00:00Z",
		"tomorrow":                          "there is no date",
		"9999-12-31T24:00":                  "no such year",
		"0026-12-01T18:00:00Z":              "no such year",
		"2026-12-01T25:00":                  "there is no",
		"2026-12-01T18:00_Europe/Nowhereia": "is not a known zone",
		"2026-12-01T18:00x":                 "is not a time of day",
	} {
		at, err := schedule.ParseInstant(text, london)
		got := at.Format(time.RFC3339)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}
