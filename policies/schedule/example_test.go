package schedule_test

import (
	"fmt"
	"time"

	"nightshift/policies/schedule"
)

// Office hours in London, over the night on which the clocks go forward.
func ExampleWeekly_Next() {
	london, err := schedule.LoadZone("Europe/London")
	if err != nil {
		panic(err)
	}
	office, err := schedule.ParseWeekly([]string{"Mon-Fri 08:00-19:00"}, nil, london)
	if err != nil {
		panic(err)
	}
	t := time.Date(2026, 3, 27, 12, 0, 0, 0, time.UTC)
	fmt.Println(office.At(t))
	for range 2 {
		next, _ := office.Next(t)
		t = next.At
		fmt.Println(next.To, "from", t.In(london).Format("Mon 15:04 MST"), "=", t.Format("15:04 MST"))
	}
	// Output:
	// running
	// stopped from Fri 19:00 GMT = 19:00 UTC
	// running from Mon 08:00 BST = 07:00 UTC
}

func ExampleParseWeekly_tag() {
	w, err := schedule.ParseWeekly([]string{"Mon-Fri_08:00-19:00;Sat_10:00-14:00_America/New_York"}, nil, time.UTC)
	fmt.Println(w, err)
	_, err = schedule.ParseWeekly([]string{"Mon-Fri 08:00-19:60"}, nil, time.UTC)
	fmt.Println(err)
	// Output:
	// running Mon-Fri 08:00-19:00; Sat 10:00-14:00 America/New_York <nil>
	// "Mon-Fri 08:00-19:60": there is no "19:60" in a day; write times as HH:MM, from 00:00 to 24:00
}

// On a holiday the machines run half a day; between the years they stay off.
func ExampleWeekly_Except() {
	parse := func(line string) *schedule.Weekly {
		w, err := schedule.ParseWeekly([]string{line}, nil, time.UTC)
		if err != nil {
			panic(err)
		}
		return w
	}
	holidays, err := schedule.ParseDates([]string{"12-23 Founder's Day"})
	if err != nil {
		panic(err)
	}
	closed, err := schedule.ParseDates([]string{"2026-12-24..2027-01-03 closed"})
	if err != nil {
		panic(err)
	}
	office := parse("Mon-Fri 08:00-19:00").Except([]schedule.Exception{
		{Calendar: closed, Use: schedule.UseNever},
		{Calendar: holidays, Use: schedule.UseSchedule, Schedule: parse("Mon-Fri 08:00-13:00")},
	})
	t := time.Date(2026, 12, 22, 20, 0, 0, 0, time.UTC)
	for range 4 {
		next, _ := office.Next(t)
		t = next.At
		fmt.Println(next.To, "from", t.Format("Mon 2 Jan 15:04"))
	}
	// Output:
	// running from Wed 23 Dec 08:00
	// stopped from Wed 23 Dec 13:00
	// running from Mon 4 Jan 08:00
	// stopped from Mon 4 Jan 19:00
}

func ExampleParseICal() {
	const file = "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nSUMMARY:Early May bank holiday\r\n" +
		"DTSTART;VALUE=DATE:20260504\r\nRRULE:FREQ=YEARLY;BYMONTH=5;BYDAY=1MO\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
	holidays, err := schedule.ParseICal([]byte(file))
	if err != nil {
		panic(err)
	}
	fmt.Println(holidays.On(2027, time.May, 3))
	// Output:
	// Early May bank holiday true
}

// A time in the gap when clocks go forward happens right after it, one in the
// overlap when they go back at its first reading.
func ExampleCron_Next() {
	london, err := schedule.LoadZone("Europe/London")
	if err != nil {
		panic(err)
	}
	c, err := schedule.ParseCron("30 1 * * SUN", london)
	if err != nil {
		panic(err)
	}
	for _, day := range []time.Time{time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC), time.Date(2026, 10, 24, 12, 0, 0, 0, time.UTC)} {
		next, _ := c.Next(day)
		fmt.Println(next.In(london).Format("Mon 2 Jan 15:04 MST"))
	}
	// Output:
	// Sun 29 Mar 02:00 BST
	// Sun 25 Oct 01:30 BST
}

func ExampleParseInstant() {
	t, err := schedule.ParseInstant("2026-12-01T18:00_Europe/Berlin", time.UTC)
	fmt.Println(t, err)
	_, err = schedule.ParseInstant("tomorrow", time.UTC)
	fmt.Println(err)
	// Output:
	// 2026-12-01 17:00:00 +0000 UTC <nil>
	// "tomorrow": there is no date; write it as 2026-12-01, 2026-12-01T18:00 or 2026-12-01T18:00_Europe/London
}

func ExampleLoadZone() {
	_, err := schedule.LoadZone("Europe/Lundon")
	fmt.Println(err)
	// Output:
	// "Europe/Lundon" is not a known zone; did you mean Europe/London?
}

func ExampleParseCron() {
	_, err := schedule.ParseCron("*/90 * * * *", time.UTC)
	fmt.Println(err)
	// Output:
	// "*/90 * * * *": the minute step 90 never comes, so "*/90" takes one value only by accident; from 0 to 59 the longest step is 59
}
