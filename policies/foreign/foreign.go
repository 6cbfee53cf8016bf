package foreign

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"nightshift/policies/schedule"
)

// Native is our own language; it is no foreign grammar, but the same questions
// can be asked of it.
const Native = "native"

// Question asks of a spec what it means at an instant. It is one line of
// nightshift when --batch.
type Question struct {
	ID        string          `json:"id"`
	Grammar   string          `json:"grammar"`
	Spec      json.RawMessage `json:"spec"`       // a string, null, or for AWS an object
	DefaultTZ string          `json:"default_tz"` // as the other tool spells zones
	Policy    map[string]any  `json:"policy"`     // settings around a tag
	Env       map[string]any  `json:"env"`        // of the other tool's process, such as TZ
	Edge      Edge            `json:"edge"`
	At        time.Time       `json:"at"`
}

// Edge is what is asked.
type Edge string

// The edges.
const (
	EdgeOn       Edge = "on"       // would it start now
	EdgeOff      Edge = "off"      // would it stop now
	EdgeWindow   Edge = "window"   // is now inside
	EdgeState    Edge = "state"    // running, stopped or any
	EdgeValidate Edge = "validate" // ok or error
	EdgeDue      Edge = "due"      // is a mark due
)

// Result answers a question.
type Result struct {
	ID     string `json:"id"`
	Result any    `json:"result"` // true, false, "running", "stopped", "any", "ok" or "error"
	Reason string `json:"reason,omitempty"`
}

// Warning is something that behaves otherwise than it looks.
type Warning struct {
	Text string // what
	Hint string // what to write instead; may be empty
	// Always says that it is true of the grammar and not of this value: worth
	// saying once, not for each tag.
	Always bool
}

// Settings are what surrounds a tag in the other tool: the keys of its policy.
type Settings map[string]any

// grammar is how one other tool is read.
type grammar struct {
	answer func(Question) (any, string, error) // result, reason; an error is the result "error"
	// read makes a timetable of a tag's value. It is nil for a grammar that has
	// no timetable.
	read func(value string, set Settings, zone *time.Location) (schedule.Timetable, []Warning, error)
	// settings are the keys that it knows, with - for _.
	settings []string
}

// grammars is the table of all that are read; a line each.
var grammars = map[string]grammar{
	Native:            {answer: answerNative},
	CustodianOffhours: {answerOffhours, readOffhours, []string{"type", "tag", "default-tz", "weekends", "weekends-only", "opt-out", "onhour", "offhour", "skip-days", "skip-days-from", "fallback-schedule", "only"}},
	CustodianMark:     {answer: answerMark},
	KubeDownscaler:    {answerKube, readKube, []string{"as"}},
	InstanceScheduler: {answerAWS, readAWS, []string{"schedules"}},
}

// Grammars are the names of the grammars that a policy can follow a tag in.
func Grammars() []string {
	var names []string
	for name, g := range grammars {
		if g.read != nil {
			names = append(names, name)
		}
	}
	return slices.Sorted(slices.Values(names))
}

// Answer answers one question. It never fails: a bad question is answered with
// "error" and the reason.
func Answer(q Question) Result {
	g, ok := grammars[q.Grammar]
	if !ok {
		return Result{q.ID, "error", fmt.Sprintf("there is no grammar %q; known are %s", q.Grammar, strings.Join(slices.Sorted(maps.Keys(grammars)), ", "))}
	}
	if q.At.IsZero() && q.Edge != EdgeValidate {
		return Result{q.ID, "error", "at is missing: an instant such as 2026-11-27T19:00:00+00:00"}
	}
	result, reason, err := g.answer(q)
	if err != nil {
		return Result{q.ID, "error", err.Error()}
	}
	return Result{q.ID, result, reason}
}

// Read makes a timetable of a tag's value in the grammar of another tool. The
// zone is used where neither value nor settings name one.
func Read(name, value string, set Settings, zone *time.Location) (schedule.Timetable, []Warning, error) {
	g, ok := grammars[name]
	if !ok || g.read == nil {
		return nil, nil, fmt.Errorf("there is no grammar %q for tags; known are %s", name, strings.Join(Grammars(), ", "))
	}
	return g.read(value, set, zone)
}

// SettingKeys are the keys of the settings of a grammar, with - for _.
func SettingKeys(name string) []string { return grammars[name].settings }

// CheckSettings finds what is wrong with settings whatever the tags hold.
func CheckSettings(name string, set Settings, zone *time.Location) error {
	values := []string{"off=(m-f,19);on=(m-f,7)"}
	switch name {
	case KubeDownscaler:
		values = []string{"always"}
	case InstanceScheduler:
		all, _ := set["schedules"].(map[string]any)
		if values = slices.Sorted(maps.Keys(all)); len(values) == 0 {
			return errors.New("the settings have no schedules: write schedules: { office: { timezone: …, periods: […] } }")
		}
	}
	for _, v := range values {
		if _, _, err := Read(name, v, set, zone); err != nil {
			return err
		}
	}
	return nil
}
