package configs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nightshift/configs"
	"nightshift/policies"
	"nightshift/policies/schedule"
)

// write puts files into a new directory and returns the path of the first.
func write(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	first := ""
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = path
		}
	}
	return first
}

const mainFile = `version: 1
regions: [LON1]
timezone: Europe/London
include: [policies.d/*.yaml]
owners: { keys: [hours] }
schedules:
  office: { running: ["Mon-Fri 08:00-19:00"] }
calendars:
  holidays: { ics: uk.ics }
policies:
  - name: dev-hours
    select: { all: [env=dev] }
    schedule: office
    except: [ { calendar: holidays, use: never } ]
`

const uk = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:1\r\nSUMMARY:Christmas\r\nDTSTART;VALUE=DATE:20261225\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"

func TestIncludedFilesStayWithinTheirScope(t *testing.T) {
	path := write(t, "nightshift.yaml", mainFile, "uk.ics", uk, "policies.d/a.yaml", `scope: { all: [team=a] }
policies:
  - name: a-hours
    select: { all: [env=dev] }
    schedule: office
  - name: a-own
    select: { all: ["nightshift.hours=*"] }
    schedule: { from_tag: nightshift.hours }
tests:
  - { instance: { name: x, tags: [env=dev] }, at: "2026-12-24 10:00", want: running, by: dev-hours }
`)
	cfg, err := configs.Load(path, nil, configs.Overrides{})
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.Policies.Validate(); err != nil {
		t.Error(err)
	}
	a, _ := cfg.Policies.Policy("a-hours")
	for _, tt := range []struct {
		tags []string
		want bool
	}{{[]string{"env=dev", "team=a"}, true}, {[]string{"env=dev"}, false}, {[]string{"team=a"}, false}} {
		if got := a.Select.Matches(policies.Instance{Tags: tt.tags}); got != tt.want {
			t.Errorf("tags %v: selected %v, want %v", tt.tags, got, tt.want)
		}
	}
	dev, _ := cfg.Policies.Policy("dev-hours")
	for when, want := range map[string]schedule.State{"2026-12-24T10:00:00Z": schedule.Running, "2026-12-25T10:00:00Z": schedule.Stopped} {
		at, _ := time.Parse(time.RFC3339, when)
		if got := dev.Schedule.At(at); got != want {
			t.Errorf("at %s %s is wanted, want %s", when, got, want)
		}
	}
	if len(cfg.Tests) != 1 || len(cfg.Files) != 3 {
		t.Errorf("%d tests, files %v", len(cfg.Tests), cfg.Files)
	}
}

func TestARevisionCoversEveryFile(t *testing.T) {
	part := "policies:\n  - { name: more, select: { all: [x] }, cron: \"0 8 * * *\", do: start }\n"
	revision := func(part, ics string) string {
		cfg, err := configs.Load(write(t, "nightshift.yaml", mainFile, "uk.ics", ics, "policies.d/a.yaml", part), nil, configs.Overrides{})
		if err != nil {
			t.Fatal(err)
		}
		return cfg.Revision
	}
	first := revision(part, uk)
	if revision(part, uk) != first {
		t.Error("the same files have two revisions")
	}
	if revision(strings.ReplaceAll(part, "8", "9"), uk) == first || revision(part, strings.ReplaceAll(uk, "1225", "1226")) == first {
		t.Error("another text has the same revision")
	}
}

func TestFaultsNameTheFileThatTheyAreIn(t *testing.T) {
	path := write(t, "nightshift.yaml", strings.ReplaceAll(mainFile, "schedule: office", "schedule: offce"), "uk.ics", "hello", "policies.d/b.yaml", `scope: {}
policies:
  - { name: dev-hours, select: { all: [x] }, cron: "61 8 * * *", do: start }
nats: {}
schedules:
  office: { running: ["09:00-10:00"] }
`)
	_, err := configs.Load(path, nil, configs.Overrides{})
	if err == nil {
		t.Fatal("no fault")
	}
	for _, want := range []string{
		"nightshift.yaml:9:20: calendars.holidays.ics: uk.ics: not an iCalendar file",
		`nightshift.yaml:13:15: policies[0].schedule: there is no schedule "offce"`,
		"b.yaml:1:8: scope: the selector has no key",
		"b.yaml:3:53: policies[0].cron: ",
		"another policy is called dev-hours, in line 11 of ",
		"b.yaml:4:1: nats: unknown key \"nats\"\n    it stands in the first file only",
		"b.yaml:6:3: schedules.office: the schedule stands twice, first in line 7 of ",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no fault %q in\n%v", want, err)
		}
	}
}

// A fleet of Instance Scheduler keeps the names in its tags: the schedules that
// they name stand in the settings. (They were not found: mappings in settings were
// read as a type that nobody asked for.)
func TestSettingsOfAForeignGrammarHoldMappings(t *testing.T) {
	cfg, err := configs.Parse("x", []byte(`version: 1
policies:
  - name: a
    select: { all: ["Schedule=*"] }
    schedule: { from_tag: Schedule, grammar: aws-instance-scheduler, settings: { schedules: { office: { timezone: UTC, periods: [ { begintime: "09:00", endtime: "17:00" } ] } } } }
`))
	if err != nil {
		t.Fatal(err)
	}
	table, err := cfg.Policies.Policies[0].FromTag.Read("office")
	if err != nil {
		t.Fatal(err)
	}
	if got := table.At(time.Date(2027, 1, 4, 9, 0, 0, 0, time.UTC)); got != schedule.Running {
		t.Errorf("at 09:00: got %s, want running", got)
	}
}

// (A date without quotes was no text, so that no tag could be read.)
func TestSkipDaysMayStandWithoutQuotes(t *testing.T) {
	cfg, err := configs.Parse("x", []byte(`version: 1
policies:
  - name: a
    select: { all: ["maid_offhours=*"] }
    schedule: { from_tag: maid_offhours, grammar: c7n-offhours, settings: { default_tz: utc, skip-days: [2027-01-04] } }
`))
	if err != nil {
		t.Fatal(err)
	}
	table, err := cfg.Policies.Policies[0].FromTag.Read("off=(M-F,19);on=(M-F,7)")
	if err != nil {
		t.Fatal(err)
	}
	for day, want := range map[int]schedule.State{4: schedule.Stopped, 5: schedule.Running} { // a Monday that is skipped, a Tuesday
		if got := table.At(time.Date(2027, 1, day, 12, 0, 0, 0, time.UTC)); got != want {
			t.Errorf("on day %d: got %s, want %s", day, got, want)
		}
	}
}

func TestATagThatNamesNoScheduleSaysSo(t *testing.T) {
	cfg, err := configs.Parse("x", []byte(`version: 1
schedules: { office: { running: ["08:00-19:00"] } }
owners: { keys: [schedule] }
policies:
  - name: a
    select: { all: ["nightshift.schedule=*"] }
    schedule: { from_tag: nightshift.schedule }
`))
	if err != nil {
		t.Fatal(err)
	}
	_, err = cfg.Policies.Policies[0].FromTag.Read("ofice")
	if err == nil || !strings.Contains(err.Error(), `there is no schedule "ofice" (did you mean office?)`) {
		t.Errorf("got %v", err)
	}
}
