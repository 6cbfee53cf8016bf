package policies_test

import (
	"strings"
	"testing"
	"time"

	"nightshift/policies"
	"nightshift/policies/schedule"
)

// The rules of language.md, "Tags for owners".

func TestTheValueOfAKeepTag(t *testing.T) {
	for _, tt := range []struct {
		value string
		state schedule.State
		until string // empty: none
		wrong bool
	}{
		{"running@2026-11-27T22:00", schedule.Running, "2026-11-27 22:00", false},
		{"stopped@2026-11-27", schedule.Stopped, "2026-11-27 00:00", false},
		{"asis@2026-11-27_22:00", schedule.Any, "2026-11-27 22:00", false},
		{"running", schedule.Running, "", false},
		{"asis", schedule.Any, "", false},
		{"running@2026-11-27T22:00_America/New_York", schedule.Running, "2026-11-28 03:00", false},
		{"running@", "", "", true}, {"", "", "", true}, {"Running", "", "", true}, {"up@2026-11-27", "", "", true}, {"running@tomorrow", "", "", true}, {"running@2026-02-30", "", "", true},
	} {
		k, err := policies.ParseKeep(tt.value, london)
		if (err != nil) != tt.wrong {
			t.Errorf("%q: %v", tt.value, err)
			continue
		}
		if !tt.wrong && (k.State != tt.state || k.Until.IsZero() != (tt.until == "") || tt.until != "" && !k.Until.Equal(at(tt.until))) {
			t.Errorf("%q: %+v", tt.value, k)
		}
	}
}

func TestTheValueOfAMarkTag(t *testing.T) {
	for _, tt := range []struct {
		value string
		verb  policies.Verb
		at    string
		wrong bool
	}{
		{"stop@2026-12-01", policies.Stop, "2026-12-01 00:00", false},
		{"start@2026-12-01T18:00", policies.Start, "2026-12-01 18:00", false},
		{"stop", "", "", true}, {"reboot@2026-12-01", "", "", true}, {"stop@", "", "", true}, {"", "", "", true},
	} {
		verb, when, err := policies.ParseMark(tt.value, london)
		if (err != nil) != tt.wrong || !tt.wrong && (verb != tt.verb || !when.Equal(at(tt.at))) {
			t.Errorf("%q: %s %s %v", tt.value, verb, when, err)
		}
	}
}

func TestAKeepByTagReachesNoFurtherThanMax(t *testing.T) {
	watched := at("2026-03-01 00:00")
	seen := at("2026-03-04 18:00")
	for _, tt := range []struct {
		name, tag string
		max       time.Duration
		facts     func(tag string) policies.Facts
		want      string // until, as of the last minute that it holds
		not       string // the first at which it does not
	}{
		{"until its time", "running@2026-03-04T22:00", 0, func(tag string) policies.Facts {
			return policies.Facts{WatchedSince: watched, TagsSeen: map[string]time.Time{policies.TagKey("a", tag): seen}}
		}, "2026-03-04 21:59", "2026-03-04 22:00"},
		{"or until max, 12 h", "running@2026-03-09T22:00", 0, func(tag string) policies.Facts {
			return policies.Facts{WatchedSince: watched, TagsSeen: map[string]time.Time{policies.TagKey("a", tag): seen}}
		}, "2026-03-05 05:59", "2026-03-05 06:00"},
		{"or what owners may", "running@2026-03-09T22:00", 2 * time.Hour, func(tag string) policies.Facts {
			return policies.Facts{WatchedSince: watched, TagsSeen: map[string]time.Time{policies.TagKey("a", tag): seen}}
		}, "2026-03-04 19:59", "2026-03-04 20:00"},
		{"without a time for max", "running", 0, func(tag string) policies.Facts {
			return policies.Facts{WatchedSince: watched, TagsSeen: map[string]time.Time{policies.TagKey("a", tag): seen}}
		}, "2026-03-05 05:59", "2026-03-05 06:00"},
		{"of a tag that was there when watching began, from then", "running", 0, func(string) policies.Facts { return policies.Facts{WatchedSince: seen} }, "2026-03-05 05:59", "2026-03-05 06:00"},
		{"of one that nobody has watched, to its time", "running@2026-03-04T22:00", 0, func(string) policies.Facts { return policies.Facts{} }, "2026-03-04 21:59", "2026-03-04 22:00"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := owned(set())
			s.Owners.Max = tt.max
			tag := "nightshift.keep=" + tt.tag
			if _, ok := s.Kept(instance("a", "ACTIVE", tag), tt.facts(tag), at(tt.want)); !ok {
				t.Errorf("it does not hold at %s", tt.want)
			}
			if k, ok := s.Kept(instance("a", "ACTIVE", tag), tt.facts(tag), at(tt.not)); ok {
				t.Errorf("it holds at %s: %+v", tt.not, k)
			}
			if known := tt.facts(tag).TagsSeen != nil; known {
				if _, ok := s.Kept(instance("a", "ACTIVE", tag), tt.facts(tag), seen.Add(-time.Minute)); ok {
					t.Error("it holds before it was seen")
				}
			}
		})
	}
}

func TestOwnersTagsCountOnlyWhereTheyAreListedAndNeverOutrankProtect(t *testing.T) {
	keep, mark := "nightshift.keep=stopped@2026-03-04T22:00", "nightshift.mark=stop@2026-03-04T11:00"
	office := level(t, "office", 0, "Mon-Fri 08:00-19:00")
	for _, tt := range []struct {
		name string
		keys []string
		pfx  string
		tags []string
		want string
	}{
		{"none is listed", nil, "", []string{keep, mark}, "running by office"},
		{"keep is", []string{"keep"}, "", []string{keep, mark}, "stopped by _keep"},
		{"mark is", []string{"mark"}, "", []string{keep, mark}, "stopped by _mark"},
		{"another prefix", []string{"keep"}, "ns/", []string{keep}, "running by office"},
		{"a tag of that prefix", []string{"keep"}, "ns/", []string{"ns/keep=stopped@2026-03-04T22:00"}, "stopped by _keep"},
		{"a key that only begins so", []string{"keep"}, "", []string{"nightshift.keeper=stopped@2026-03-04T22:00"}, "running by office"},
		{"a bad value does nothing", []string{"keep", "mark"}, "", []string{"nightshift.keep=off", "nightshift.mark=stop"}, "running by office"},
		{"a mark of later", []string{"mark"}, "", []string{"nightshift.mark=stop@2026-03-04T13:00"}, "running by office"},
		{"the later of two marks", []string{"mark"}, "", []string{mark, "nightshift.mark=start@2026-03-04T11:30"}, "running by _mark"},
		{"a mark is ended by the next edge", []string{"mark"}, "", []string{"nightshift.mark=stop@2026-03-04T07:00"}, "running by office"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := set(office)
			s.Owners = policies.Owners{Keys: tt.keys, Prefix: tt.pfx}
			if got := want(s, instance("a", "ACTIVE", tt.tags...), policies.Facts{}, "2026-03-04 12:00"); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
	s := owned(set(office))
	inst := instance("a", "ACTIVE", keep, "protected")
	if plan := policies.Decide(s, []policies.Instance{inst}, policies.Facts{}, policies.Trigger{ID: "look"}, at("2026-03-04 12:00")); lines(plan) != "skip a protected" {
		t.Errorf("got %s", lines(plan))
	}
	if got := want(owned(set(level(t, "base", -5, "Mon-Fri 08:00-19:00"))), instance("a", "ACTIVE", "nightshift.mark=stop@2026-03-03T18:00"), policies.Facts{}, "2026-03-04 12:00"); got != "running by base" {
		t.Errorf("a mark that was forgotten holds over edges of negative priority: %s", got)
	}
}

func TestATagThatDoesNothingIsAFault(t *testing.T) {
	s := set(policies.Policy{Name: "own", FromTag: drawnHours, Select: policies.Selector{All: []string{"env=dev"}}}, policies.Policy{Name: "theirs", FromTag: drawnHours, Select: policies.Selector{All: []string{"other"}}})
	s.Owners.Keys = []string{"keep", "mark", "hours"}
	for _, tt := range []struct{ tag, want string }{
		{"nightshift.keep=running@2026-03-04T22:00", ""},
		{"nightshift.keep=up", `"up" is none of running, stopped and asis`},
		{"nightshift.keep", "is none of running, stopped and asis"},
		{"nightshift.mark=stop@2026-03-04", ""},
		{"nightshift.mark=halt@2026-03-04", "is neither start nor stop"},
		{"nightshift.mark=stop@soon", "there is no date"},
		{"nightshift.hours=08:00-19:00", ""},
		{"nightshift.hours=nonsense", "policy own cannot follow it"},
		{"nightshift.schedule=office", "it does not count: owners.keys does not list schedule"},
		{"nightshift.keeps=running", `the key "keeps" is none of keep, hours, schedule, mark`},
		{"nightshift.hibernate=yes", ""},
		{"nightshifts", ""},
	} {
		var got []string
		for _, f := range s.TagFaults(instance("a", "ACTIVE", tt.tag)) {
			got = append(got, f.Msg)
			if f.Tag != tt.tag {
				t.Errorf("the fault of %s names %s", tt.tag, f.Tag)
			}
		}
		if tt.want == "" && len(got) != 0 || tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)) {
			t.Errorf("%s: got %q, want %q", tt.tag, got, tt.want)
		}
	}
}

func TestOfSeveralTagsWithHoursTheFirstInOrderCounts(t *testing.T) {
	s := set(policies.Policy{Name: "own", FromTag: drawnHours, Select: policies.Selector{All: []string{"env=dev"}}})
	for _, tags := range [][]string{{"nightshift.hours=07:00-12:00", "nightshift.hours=08:00-19:00"}, {"nightshift.hours=08:00-19:00", "nightshift.hours=07:00-12:00"}} {
		if got := want(s, instance("a", "ACTIVE", tags...), policies.Facts{}, "2026-03-04 15:00"); got != "stopped by own" {
			t.Errorf("%v: %s", tags, got)
		}
	}
	foreign := &policies.FromTag{Tag: "maid_offhours", Grammar: "c7n-offhours", Read: func(v string) (schedule.Timetable, error) {
		return schedule.ParseWeekly([]string{"08:00-19:00"}, nil, london)
	}}
	s.Policies[0].FromTag = foreign
	if got := want(s, instance("a", "ACTIVE", "maid_offhours"), policies.Facts{}, "2026-03-04 15:00"); got != "running by own" {
		t.Errorf("a tag without a value, in the grammar of another tool: %s", got)
	}
	if got := want(s, instance("a", "ACTIVE", "maid_offhours_x"), policies.Facts{}, "2026-03-04 15:00"); got != "nothing" {
		t.Errorf("a tag that only begins so: %s", got)
	}
}
