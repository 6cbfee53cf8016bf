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

func ExampleParseCron() {
	_, err := schedule.ParseCron("*/90 * * * *", time.UTC)
	fmt.Println(err)
	// Output:
	// "*/90 * * * *": the minute step 90 never comes, so "*/90" takes one value only by accident; from 0 to 59 the longest step is 59
}
