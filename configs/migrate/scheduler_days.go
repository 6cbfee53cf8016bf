package migrate

import (
	"regexp"
	"strings"
	"time"

	"nightshift/policies/foreign"
	"nightshift/policies/schedule"
)

// datedWindows writes periods with months, days of the month and nth weekdays. It
// may be wrong where fields combine in a way that ours do not; [alike] finds that.
func datedWindows(spec map[string]any) (windows []string, err error) {
	for _, p := range list(spec["periods"]) {
		m, _ := p.(map[string]any)
		begin, hasBegin := m["begintime"].(string)
		end, hasEnd := m["endtime"].(string)
		times := "00:00-24:00"
		switch {
		case hasBegin != hasEnd:
			return nil, errNotNative // it has no voice for a part of the day
		case hasBegin && begin == end:
			continue // empty there, a whole day here
		case hasBegin:
			times = begin + "-" + end
		}
		days, err := daysOf(m)
		if err != nil {
			return nil, err
		}
		windows = append(windows, strings.TrimSpace(days+" "+times))
	}
	return windows, nil
}

// daysOf writes the days of a period.
func daysOf(period map[string]any) (string, error) {
	var months, days []string
	if period["months"] != nil {
		for n := 1; n <= 12; n++ {
			if hasDay(map[string]any{"months": period["months"]}, time.Date(2027, time.Month(n), 15, 12, 0, 0, 0, time.UTC)) {
				months = append(months, time.Month(n).String()[:3])
			}
		}
	}
	weekdays, _ := period["weekdays"].([]string)
	monthdays, _ := period["monthdays"].([]string)
	if weekdays != nil && monthdays != nil {
		return "", errNotNative // both must hold there
	}
	for _, d := range weekdays {
		days = append(days, weekdayItems(strings.ToLower(d))...)
	}
	for _, d := range monthdays {
		items, err := monthdayItems(strings.ToLower(d))
		if err != nil {
			return "", err
		}
		days = append(days, items...)
	}
	if len(months) == 12 {
		months = nil
	}
	if len(days) == 0 && (weekdays != nil || monthdays != nil) {
		return "", errNotNative
	}
	return strings.TrimSpace(strings.Join(months, "+") + " " + strings.Join(days, "+")), nil
}

// hasDay asks what Instance Scheduler makes of a field on a day.
func hasDay(field map[string]any, at time.Time) bool {
	table, _, err := foreign.Read(foreign.InstanceScheduler, "x", foreign.Settings{"schedules": map[string]any{"x": map[string]any{"periods": []any{field}}}}, time.UTC)
	return err == nil && table.At(at) == schedule.Running
}

// weekdayItems writes mon#1 as Mon#1, fril as FriL, anything else as the weekdays
// that it means.
func weekdayItems(d string) (items []string) {
	day, nth, isNth := strings.Cut(d, "#")
	last := !isNth && len(d) > 1 && strings.HasSuffix(d, "l")
	if last {
		day, nth = d[:len(d)-1], "L"
	} else if isNth {
		nth = "#" + nth
	}
	for n := range 7 {
		if hasDay(map[string]any{"weekdays": []string{day}}, time.Date(2027, 3, 1+n, 12, 0, 0, 0, time.UTC)) { // a Monday
			items = append(items, dayName(n)+nth)
		}
	}
	return items
}

var (
	dayRange   = regexp.MustCompile(`^\d+(-\d+)?$`)
	dayToLast  = regexp.MustCompile(`^(\d+)-l$`)
	nearestDay = regexp.MustCompile(`^\d+w$`)
)

// monthdayItems writes 1-7, L, and steps as the days that they mean.
func monthdayItems(d string) (items []string, err error) {
	switch {
	case d == "l":
		return []string{"L"}, nil
	case dayRange.MatchString(d):
		return []string{d}, nil
	case nearestDay.MatchString(d):
		return nil, errNotNative
	}
	if m := dayToLast.FindStringSubmatch(d); m != nil {
		return []string{m[1] + "-L"}, nil
	}
	for n := 1; n <= 31; n++ {
		at := time.Date(2027, 1, n, 12, 0, 0, 0, time.UTC)
		if hasDay(map[string]any{"monthdays": []string{d}}, at) {
			items = append(items, at.Format("2"))
		}
	}
	return items, nil
}
