package schedule_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"nightshift/policies/schedule"
)

// edgesOf prints the edges of a schedule from one wall time of its zone to
// another: "Mon 02 08:00 running", with a month where it is not the first.
func edgesOf(w *schedule.Weekly, from, to time.Time) string {
	var out []string
	state := w.At(from)
	for t := from; ; {
		n, ok := w.Next(t)
		if !ok || n.At.After(to) {
			break
		}
		layout := "Mon 02 15:04"
		if from.In(w.Zone()).Month() != n.At.In(w.Zone()).Month() {
			layout = "Mon 02 Jan 15:04"
		}
		out = append(out, n.At.In(w.Zone()).Format(layout)+" "+string(n.To))
		t = n.At
	}
	if len(out) == 0 {
		return string(state) + " all along"
	}
	return strings.Join(out, ", ")
}

// Each form of language.md, "A window, written out", and of its doubles in tags.
// March 2026 begins on a Sunday; the clocks go forward on the 29th.
func TestEveryFormOfAWindow(t *testing.T) {
	for _, tt := range []struct{ name, window, from, to, want string }{
		{"a window without days is every day", "08:00-19:00", "2026-03-07 00:00", "2026-03-09 00:00", "Sat 07 08:00 running, Sat 07 19:00 stopped, Sun 08 08:00 running, Sun 08 19:00 stopped"},
		{"minutes count", "Wed 08:07-08:09", "2026-03-02 00:00", "2026-03-08 00:00", "Wed 04 08:07 running, Wed 04 08:09 stopped"},
		{"one day", "Mon 08:00-19:00", "2026-03-01 00:00", "2026-03-10 00:00", "Mon 02 08:00 running, Mon 02 19:00 stopped, Mon 09 08:00 running, Mon 09 19:00 stopped"},
		{"a range of days", "Tue-Wed 08:00-19:00", "2026-03-01 00:00", "2026-03-08 00:00", "Tue 03 08:00 running, Tue 03 19:00 stopped, Wed 04 08:00 running, Wed 04 19:00 stopped"},
		{"a range that wraps over Sunday", "Sat-Mon 08:00-19:00", "2026-03-06 00:00", "2026-03-13 00:00", "Sat 07 08:00 running, Sat 07 19:00 stopped, Sun 08 08:00 running, Sun 08 19:00 stopped, Mon 09 08:00 running, Mon 09 19:00 stopped"},
		{"a range from a day to itself is that day", "Tue-Tue 08:00-19:00", "2026-03-01 00:00", "2026-03-08 00:00", "Tue 03 08:00 running, Tue 03 19:00 stopped"},
		{"a list with plus", "Mon+Thu 08:00-19:00", "2026-03-02 00:00", "2026-03-08 00:00", "Mon 02 08:00 running, Mon 02 19:00 stopped, Thu 05 08:00 running, Thu 05 19:00 stopped"},
		{"a list of ranges", "Sun-Mon+Thu 08:00-19:00", "2026-03-01 00:00", "2026-03-08 00:00", "Sun 01 08:00 running, Sun 01 19:00 stopped, Mon 02 08:00 running, Mon 02 19:00 stopped, Thu 05 08:00 running, Thu 05 19:00 stopped"},
		{"past midnight belongs to the day on which it begins", "Fri 22:00-06:00", "2026-03-02 00:00", "2026-03-09 00:00", "Fri 06 22:00 running, Sat 07 06:00 stopped"},
		{"an end at its start lies on the next day", "Fri 08:00-08:00", "2026-03-02 00:00", "2026-03-09 00:00", "Fri 06 08:00 running, Sat 07 08:00 stopped"},
		{"an end at 00:00 lies on the next day", "Fri 08:00-00:00", "2026-03-02 00:00", "2026-03-09 00:00", "Fri 06 08:00 running, Sat 07 00:00 stopped"},
		{"24:00 is the next midnight", "Fri 08:00-24:00", "2026-03-02 00:00", "2026-03-09 00:00", "Fri 06 08:00 running, Sat 07 00:00 stopped"},
		{"a span over days", "Sun 22:00 - Fri 19:00", "2026-03-01 00:00", "2026-03-08 23:00", "Sun 01 22:00 running, Fri 06 19:00 stopped, Sun 08 22:00 running"},
		{"a span over the end of the week", "Fri 19:00 - Mon 07:00", "2026-03-02 00:00", "2026-03-09 12:00", "Mon 02 07:00 stopped, Fri 06 19:00 running, Mon 09 07:00 stopped"},
		{"a span within one day", "Fri 08:00 - Fri 19:00", "2026-03-02 00:00", "2026-03-09 00:00", "Fri 06 08:00 running, Fri 06 19:00 stopped"},
		{"a span to an earlier time of its day is almost a week", "Fri 19:00 - Fri 08:00", "2026-03-02 00:00", "2026-03-09 00:00", "Fri 06 08:00 stopped, Fri 06 19:00 running"},
		{"a span to 24:00", "Fri 19:00 - Sun 24:00", "2026-03-02 12:00", "2026-03-09 12:00", "Fri 06 19:00 running, Mon 09 00:00 stopped"},
		{"a span from 24:00", "Thu 24:00 - Sat 12:00", "2026-03-02 00:00", "2026-03-09 00:00", "Fri 06 00:00 running, Sat 07 12:00 stopped"},
		{"the nth weekday", "Tue#2 08:00-19:00", "2026-03-01 00:00", "2026-04-01 00:00", "Tue 10 08:00 running, Tue 10 19:00 stopped"},
		{"the fifth, in months that have it", "Mon#5 08:00-19:00", "2026-03-01 00:00", "2026-06-30 00:00", "Mon 30 08:00 running, Mon 30 19:00 stopped, Mon 29 Jun 08:00 running, Mon 29 Jun 19:00 stopped"},
		{"the last weekday", "FriL 08:00-19:00", "2026-03-01 00:00", "2026-04-01 00:00", "Fri 27 08:00 running, Fri 27 19:00 stopped"},
		{"nth weekdays and weekdays in a list", "Mon#1+SunL+Thu 08:00-19:00", "2026-03-01 00:00", "2026-03-06 00:00", "Mon 02 08:00 running, Mon 02 19:00 stopped, Thu 05 08:00 running, Thu 05 19:00 stopped"},
		{"a day of the month", "15 08:00-19:00", "2026-03-01 00:00", "2026-04-01 00:00", "Sun 15 08:00 running, Sun 15 19:00 stopped"},
		{"a range of days of the month", "1-3 08:00-08:00", "2026-03-01 00:00", "2026-03-31 00:00", "Sun 01 08:00 running, Wed 04 08:00 stopped"},
		{"the last day of the month", "L 08:00-19:00", "2026-02-01 00:00", "2026-03-01 00:00", "Sat 28 08:00 running, Sat 28 19:00 stopped"},
		{"a range to the last day", "30-L 08:00-19:00", "2026-03-01 00:00", "2026-04-01 00:00", "Mon 30 08:00 running, Mon 30 19:00 stopped, Tue 31 08:00 running, Tue 31 19:00 stopped"},
		{"days of the month in a list", "1-2+L 08:00-19:00", "2026-03-01 20:00", "2026-03-31 20:00", "Mon 02 08:00 running, Mon 02 19:00 stopped, Tue 31 08:00 running, Tue 31 19:00 stopped"},
		{"months with days of the month", "Mar-Apr 1 08:00-19:00", "2026-02-01 00:00", "2026-12-31 00:00", "Sun 01 Mar 08:00 running, Sun 01 Mar 19:00 stopped, Wed 01 Apr 08:00 running, Wed 01 Apr 19:00 stopped"},
		{"months that wrap over the year", "Dec-Jan L 08:00-19:00", "2026-11-01 00:00", "2027-04-01 00:00", "Thu 31 Dec 08:00 running, Thu 31 Dec 19:00 stopped, Sun 31 Jan 08:00 running, Sun 31 Jan 19:00 stopped"},
		{"months in a list with weekdays", "Mar+May Mon#1 08:00-19:00", "2026-02-01 00:00", "2026-12-31 00:00", "Mon 02 Mar 08:00 running, Mon 02 Mar 19:00 stopped, Mon 04 May 08:00 running, Mon 04 May 19:00 stopped"},
		{"months alone", "Mar 00:00-24:00", "2026-01-01 00:00", "2026-12-31 00:00", "Sun 01 Mar 00:00 running, Wed 01 Apr 00:00 stopped"},
		{"a date", "2026-03-05 08:00-19:00", "2026-01-01 00:00", "2028-12-31 00:00", "Thu 05 Mar 08:00 running, Thu 05 Mar 19:00 stopped"},
		{"a range of dates over the year", "2026-12-31..2027-01-01 08:00-19:00", "2026-01-01 00:00", "2028-12-31 00:00", "Thu 31 Dec 08:00 running, Thu 31 Dec 19:00 stopped, Fri 01 08:00 running, Fri 01 19:00 stopped"},
		{"whole dates have no edge between them", "2026-12-24..2027-01-01 00:00-24:00", "2026-11-01 00:00", "2028-12-31 00:00", "Thu 24 Dec 00:00 running, Sat 02 Jan 00:00 stopped"},
		{"several windows, by comma or semicolon", "Mon 08:00-12:00, Mon 13:00-19:00; Tue 10:00-11:00", "2026-03-02 00:00", "2026-03-04 00:00", "Mon 02 08:00 running, Mon 02 12:00 stopped, Mon 02 13:00 running, Mon 02 19:00 stopped, Tue 03 10:00 running, Tue 03 11:00 stopped"},
		{"adjacent windows join", "Mon 08:00-12:00, Mon 12:00-19:00", "2026-03-02 00:00", "2026-03-04 00:00", "Mon 02 08:00 running, Mon 02 19:00 stopped"},
		{"adjacent at midnight", "Mon 20:00-24:00, Tue 00:00-06:00", "2026-03-02 00:00", "2026-03-04 00:00", "Mon 02 20:00 running, Tue 03 06:00 stopped"},
		{"adjacent over the end of a month", "L 20:00-24:00, 1 00:00-06:00", "2026-03-02 00:00", "2026-04-02 00:00", "Tue 31 20:00 running, Wed 01 Apr 06:00 stopped"},
		{"overlapping windows are one", "Mon 08:00-15:00, Mon 10:00-19:00", "2026-03-02 00:00", "2026-03-04 00:00", "Mon 02 08:00 running, Mon 02 19:00 stopped"},
		{"a window within another", "Mon 08:00-19:00, Mon 10:00-11:00", "2026-03-02 00:00", "2026-03-04 00:00", "Mon 02 08:00 running, Mon 02 19:00 stopped"},
		{"a window and a span", "Sat 10:00-14:00, Sun 22:00 - Mon 06:00", "2026-03-07 00:00", "2026-03-10 00:00", "Sat 07 10:00 running, Sat 07 14:00 stopped, Sun 08 22:00 running, Mon 09 06:00 stopped"},
		{"a zone at the end of the line", "Mon 08:00-12:00, Tue 08:00-12:00 Asia/Tokyo", "2026-03-01 00:00", "2026-03-04 00:00", "Mon 02 08:00 running, Mon 02 12:00 stopped, Tue 03 08:00 running, Tue 03 12:00 stopped"},
		{"a zone with a minus and digits", "Mon 08:00-12:00 Etc/GMT-3", "2026-03-01 00:00", "2026-03-04 00:00", "Mon 02 08:00 running, Mon 02 12:00 stopped"},
		{"a zone of letters and digits", "Mon 08:00-12:00 EST5EDT", "2026-03-01 00:00", "2026-03-04 00:00", "Mon 02 08:00 running, Mon 02 12:00 stopped"},
		{"a zone with underscores in its name", "Mon 08:00-12:00 America/Port_of_Spain", "2026-03-01 00:00", "2026-03-04 00:00", "Mon 02 08:00 running, Mon 02 12:00 stopped"},
		{"a tag", "Mon-Tue_08:00-19:00", "2026-03-02 00:00", "2026-03-04 00:00", "Mon 02 08:00 running, Mon 02 19:00 stopped, Tue 03 08:00 running, Tue 03 19:00 stopped"},
		{"a tag with several windows and a zone", "Mon_08:00-09:00;Sat_10:00-14:00_America/New_York", "2026-03-02 00:00", "2026-03-08 00:00", "Mon 02 08:00 running, Mon 02 09:00 stopped, Sat 07 10:00 running, Sat 07 14:00 stopped"},
		{"a tag with a zone of several words", "Mon_08:00-09:00_America/Argentina/Buenos_Aires", "2026-03-02 00:00", "2026-03-08 00:00", "Mon 02 08:00 running, Mon 02 09:00 stopped"},
		{"a tag with a span", "Sun_22:00_-_Fri_19:00", "2026-03-01 00:00", "2026-03-08 00:00", "Sun 01 22:00 running, Fri 06 19:00 stopped"},
		{"a tag with months and days", "Mar_1-15_08:00-08:00_UTC", "2026-02-01 00:00", "2026-12-31 00:00", "Sun 01 Mar 08:00 running, Mon 16 Mar 08:00 stopped"},
		{"a tag with dates", "2026-12-24..2026-12-26_00:00-24:00", "2026-12-01 00:00", "2028-12-31 00:00", "Thu 24 00:00 running, Sun 27 00:00 stopped"},
		{"blanks do not matter", "  Mon   08:00-12:00 ;  Tue  08:00-12:00  UTC ", "2026-03-02 00:00", "2026-03-04 00:00", "Mon 02 08:00 running, Mon 02 12:00 stopped, Tue 03 08:00 running, Tue 03 12:00 stopped"},
		{"a fold of YAML is a blank", "Mon 08:00-12:00;\n Tue\t08:00-12:00\r\n", "2026-03-02 00:00", "2026-03-04 00:00", "Mon 02 08:00 running, Mon 02 12:00 stopped, Tue 03 08:00 running, Tue 03 12:00 stopped"},
		{"full names, in any case", "MONDAY-tuesday 8:00-12:00", "2026-03-02 00:00", "2026-03-04 00:00", "Mon 02 08:00 running, Mon 02 12:00 stopped, Tue 03 08:00 running, Tue 03 12:00 stopped"},
		{"a start in the gap is right after it", "01:30-05:00", "2026-03-29 00:00", "2026-03-29 12:00", "Sun 29 02:00 running, Sun 29 05:00 stopped"},
		{"an end in the gap is right after it", "00:15-01:30", "2026-03-29 00:00", "2026-03-29 12:00", "Sun 29 00:15 running, Sun 29 02:00 stopped"},
		{"a window within the gap is empty on that day", "01:10-01:50", "2026-03-29 00:00", "2026-03-30 12:00", "Mon 30 01:10 running, Mon 30 01:50 stopped"},
		{"a window that ends where the gap ends is empty", "01:00-02:00", "2026-03-29 00:00", "2026-03-29 12:00", "stopped all along"},
		{"a start in the overlap is its first reading", "01:30-05:00", "2026-10-25 00:00", "2026-10-25 12:00", "Sun 25 01:30 running, Sun 25 05:00 stopped"},
		{"a window within the overlap is its first reading alone", "01:10-01:50", "2026-10-25 00:00", "2026-10-25 12:00", "Sun 25 01:10 running, Sun 25 01:50 stopped"},
		{"a fifth Monday of February comes each 28 years", "Feb Mon#5 08:00-19:00", "2026-03-01 00:00", "2050-12-31 00:00", "Mon 29 Feb 08:00 running, Mon 29 Feb 19:00 stopped"},
		{"a leap day over the year 2100, which has none", "Feb 29 08:00-19:00", "2097-01-01 00:00", "2105-12-31 00:00", "Fri 29 Feb 08:00 running, Fri 29 Feb 19:00 stopped"},
		{"dates far ahead", "2066-03-05 08:00-19:00", "2026-01-01 00:00", "2099-12-31 00:00", "Fri 05 Mar 08:00 running, Fri 05 Mar 19:00 stopped"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := weekly(t, "Europe/London", tt.window)
			name := w.Zone().String()
			from, to := at(t, name, tt.from), at(t, name, tt.to)
			got := edgesOf(w, from, to)
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			again := weekly(t, "UTC", w.Windows(schedule.Running))
			if back := edgesOf(again, from, to); back != got || again.String() != w.String() {
				t.Errorf("it prints as %q, which has %s", w, back)
			}
			if last, ok := w.Next(from); ok { // and the same edges backwards
				for n, more := w.Next(last.At); more && !n.At.After(to); n, more = w.Next(last.At) {
					if prev, ok := w.Prev(n.At.Add(-1)); !ok || prev != last {
						t.Errorf("before %v comes %v, want %v", n, prev, last)
					}
					last = n
				}
			}
		})
	}
}

func TestAWindowThatIsAlmostRightIsRefusedWithWhatWouldBe(t *testing.T) {
	for text, hint := range map[string]string{
		"Mon-Fri 08:00 - 19:00":               `without blanks around the minus`,
		"08:00 - 19:00":                       `without blanks around the minus`,
		"Mon-Fri 08:00- 19:00":                `without blanks around the minus`,
		"Sun 22:00-Fri 19:00":                 `"Sun 22:00 - Fri 19:00"`,
		"Sun_22:00-Fri_19:00":                 `"Sun_22:00_-_Fri_19:00"`,
		"Mon-Fri 8am-7pm":                     "HH:MM",
		"Mon, Tue 08:00-19:00":                "Mon+Tue",
		"Mon,Tue,Wed 08:00-19:00":             "Mon+Tue",
		"Mon-Fri":                             "00:00-24:00",
		"2026-12-24..2027-01-01":              "00:00-24:00",
		"Mon-Fri 0800-1900":                   "HH:MM",
		"Mon-Fri 08:00-19:00 BST":             "Europe/London",
		"1-15 Jan-Mar 08:00-19:00":            "Jan-Mar 1-15",
		"Mon-Fri 08:00–19:00":                 "a plain minus",
		"Dec 24 - Jan 2 08:00-19:00":          `Dec 24-L 08:00-19:00, Jan 1-2 08:00-19:00`,
		"2026-12-24 - 2027-01-01 08:00-19:00": "2026-12-24..2027-01-01",
	} {
		_, err := schedule.ParseWeekly([]string{text}, nil, time.UTC)
		var fault *schedule.Error
		if !errors.As(err, &fault) || !strings.Contains(fault.Hint, hint) {
			t.Errorf("%q: got %v, want a hint with %s", text, err, hint)
		}
	}
}
