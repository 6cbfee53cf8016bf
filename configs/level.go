package configs

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"nightshift/policies"
	"nightshift/policies/foreign"
	"nightshift/policies/schedule"
)

type namedCalendar struct {
	calendar *schedule.Calendar // nil when it has a fault
	place
}

func (r *reader) readCalendars(n *yaml.Node, path string) {
	n = deref(n)
	if n.Kind != yaml.MappingNode {
		r.fault(n, path, "write it as name: { dates: [2026-12-24..2027-01-01] }", "%s is not a mapping", describeNode(n))
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		kn, vn := n.Content[i], n.Content[i+1]
		sub := join(path, kn.Value)
		if old, dup := r.calendars[kn.Value]; dup {
			r.fault(kn, sub, "", "the calendar stands twice, first %s", old.in(r.file))
			continue
		}
		if !nameForm.MatchString(kn.Value) {
			r.fault(kn, sub, "names are [a-z0-9-]", "%q is not a name", kn.Value)
		}
		r.calendars[kn.Value] = namedCalendar{r.readCalendar(vn, sub), place{r.file, kn.Line}}
	}
}

// readCalendar reads { dates: […] } or { ics: FILE }.
func (r *reader) readCalendar(n *yaml.Node, path string) (c *schedule.Calendar) {
	seen := r.mapping(n, path, &calendarShape, keys{
		"dates": func(n *yaml.Node, path string) {
			var lines []string
			before := len(r.faults)
			r.each(n, path, func(n *yaml.Node, sub string) {
				if s, ok := r.text(n, sub); ok {
					if _, err := schedule.ParseDates([]string{s}); err != nil {
						r.scheduleError(n, sub, err)
					}
					lines = append(lines, s)
				}
			})
			if len(r.faults) == before {
				var err error
				if c, err = schedule.ParseDates(lines); err != nil {
					r.fault(n, path, "", "%v", err)
				}
			}
		},
		"ics": func(n *yaml.Node, path string) {
			name, ok := r.text(n, path)
			if !ok {
				return
			}
			data, err := r.files(r.beside(name))
			if err != nil {
				r.fault(n, path, "the path counts from the policy file", "the calendar %s cannot be read: %v", name, err)
				return
			}
			r.read = append(r.read, data...)
			if c, err = schedule.ParseICal(data); err != nil {
				r.fault(n, path, "export it again as iCalendar (.ics)", "%s: %v", name, err)
			}
		},
	})
	r.misses(deref(n), path, &calendarShape, seen)
	return c
}

// beside is the path of a file that the policy file names.
func (r *reader) beside(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(r.file), name)
}

func (r *reader) readOwners(n *yaml.Node, path string) {
	o := &r.cfg.Policies.Owners
	r.mapping(n, path, &ownersShape, keys{
		"keys": r.texts(&o.Keys, func(s string) error {
			if !slices.Contains(policies.OwnerKeys, s) {
				return fmt.Errorf("%q is none of %s", s, strings.Join(policies.OwnerKeys, ", "))
			}
			return nil
		}),
		"max": r.duration(&o.Max),
		"prefix": func(n *yaml.Node, path string) {
			if s, ok := r.text(n, path); ok {
				if o.Prefix = s; checkTag(s) != nil || strings.Contains(s, "=") {
					r.fault(n, path, "such as nightshift.", "%q is not the beginning of a tag", s)
				}
			}
		},
	})
}

// readExcept reads what a schedule does on the dates of calendars.
func (r *reader) readExcept(n *yaml.Node, path string, p *policies.Policy) {
	var rules []schedule.Exception
	before := len(r.faults)
	r.each(n, path, func(n *yaml.Node, sub string) {
		var e schedule.Exception
		seen := r.mapping(n, sub, &exceptShape, keys{
			"calendar": func(n *yaml.Node, path string) {
				name, ok := r.text(n, path)
				if !ok {
					return
				}
				c, known := r.calendars[name]
				if !known {
					r.unknown(n, path, name, "calendar", "calendars", keysOf(r.calendars))
				}
				e.Calendar, e.Name = c.calendar, name
			},
			"use": func(n *yaml.Node, path string) { r.readUse(n, path, &e) },
		})
		r.misses(n, sub, &exceptShape, seen)
		rules = append(rules, e)
	})
	if len(r.faults) > before || slices.ContainsFunc(rules, func(e schedule.Exception) bool {
		return e.Calendar == nil || e.Use == schedule.UseSchedule && e.Schedule == nil
	}) {
		return
	}
	switch {
	case p.FromTag != nil:
		read := p.FromTag.Read
		p.FromTag.Form += fmt.Sprint(rules)
		p.FromTag.Read = func(value string) (schedule.Timetable, error) {
			table, err := read(value)
			if w, ok := table.(*schedule.Weekly); ok && err == nil {
				return w.Except(rules), nil
			}
			return table, err
		}
		if p.FromTag.Grammar != "" {
			r.fault(n, path, "import the tags, or leave the days to the other tool's own skip-days", "except does not go with the grammar %s", p.FromTag.Grammar)
		}
	case p.Schedule != nil:
		p.Schedule = p.Schedule.(*schedule.Weekly).Except(rules) // all that a file can name
	}
}

func (r *reader) readUse(n *yaml.Node, path string, e *schedule.Exception) {
	s, ok := r.text(n, path)
	if !ok {
		return
	}
	switch u := schedule.Use(s); u {
	case schedule.UseNever, schedule.UseAlways, schedule.UseUnchanged:
		e.Use = u
	default:
		w, known := r.schedules[s]
		if !known {
			r.unknown(n, path, s, "schedule", "schedules", append(keysOf(r.schedules), "always", "never", "unchanged"))
		}
		e.Use, e.Schedule, e.As = schedule.UseSchedule, w.weekly, s
	}
}

func (r *reader) readEnforce(n *yaml.Node, path string) policies.Enforce {
	switch s, ok := r.text(n, path); {
	case !ok, s == "false":
	case s == string(policies.EnforceMend) || s == string(policies.EnforceStrict):
		return policies.Enforce(s)
	default:
		r.fault(n, path, "true, strict or false", "%q is none of them", s)
	}
	return policies.EnforceNot
}

func (r *reader) readAtMost(n *yaml.Node, path string) (a policies.AtMost) {
	seen := r.mapping(n, path, &atMostShape, keys{"instances": r.whole(&a.Instances, anyCount), "within": r.duration(&a.Within)})
	r.misses(n, path, &atMostShape, seen)
	return a
}

func (r *reader) readPick(n *yaml.Node, path string) *policies.Pick {
	p := &policies.Pick{}
	seen := r.mapping(n, path, &pickShape, keys{
		"count": func(n *yaml.Node, path string) {
			if s, ok := r.text(n, path); ok && s != "signal.value" {
				r.whole(&p.Count, anyCount)(n, path)
			}
		},
		"at_most": r.whole(&p.AtMost, anyCount),
	})
	r.misses(n, path, &pickShape, seen)
	return p
}

// nothing reads the value of a key that needs none.
func (r *reader) nothing(n *yaml.Node, path string) {
	if n = deref(n); n.Kind != yaml.MappingNode && n.Tag != "!!null" || len(n.Content) > 0 {
		r.fault(n, path, "write it as start: {}", "%s means nothing here", describeNode(n))
	}
}

// span reads a duration that may be 0.
func (r *reader) span(into *time.Duration) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		if isNothing(deref(n).Value) {
			*into = 0
			return
		}
		r.duration(into)(n, path)
	}
}

// isNothing reports whether a duration is 0, in whichever unit.
func isNothing(s string) bool {
	if s == "0" {
		return true
	}
	return s != "" && durationForm.MatchString(s) && !strings.ContainsAny(s, "123456789")
}

// readFromTag reads { from_tag: KEY, grammar: G, settings: {…}, timezone: Z }.
func (r *reader) readFromTag(n *yaml.Node, path string) *policies.FromTag {
	f := &policies.FromTag{}
	zone := r.zone
	var settings map[string]any // not foreign.Settings: mappings inside would be of that type, too
	around := n                 // where the settings stand
	before := len(r.faults)
	r.mapping(n, path, &fromTagShape, keys{
		"from_tag": func(n *yaml.Node, path string) {
			if s, ok := r.text(n, path); ok {
				if f.Tag = s; checkTag(s) != nil || strings.Contains(s, "=") {
					r.fault(n, path, "such as nightshift.hours", "%q is not the key of a tag", s)
				}
				r.checkCounts(n, path, s)
			}
		},
		"grammar": func(n *yaml.Node, path string) {
			if s, ok := r.text(n, path); ok {
				if f.Grammar = s; s == foreign.Native {
					f.Grammar = ""
				} else if !slices.Contains(grammars, s) {
					r.unknown(n, path, s, "grammar", "schedule", grammars)
				}
			}
		},
		"settings": func(n *yaml.Node, path string) {
			if n = deref(n); n.Kind == yaml.MappingNode {
				around = n
			}
			if n.Kind != yaml.MappingNode {
				r.fault(n, path, "write the settings of the other tool's policy, such as { onhour: 8 }", "%s is not a mapping", describeNode(n))
			} else if err := n.Decode(&settings); err != nil {
				r.fault(n, path, "", "the settings cannot be read: %v", err)
			}
		},
		"timezone": func(n *yaml.Node, path string) {
			if z, ok := r.readZone(n, path); ok {
				zone = z
			}
		},
	})
	if settings != nil && f.Grammar == "" && len(r.faults) == before {
		r.fault(n, path, "", "settings go with a grammar of another tool")
	}
	if len(r.faults) > before {
		return nil
	}
	form, err := json.Marshal(settings)
	if err != nil {
		r.fault(n, join(path, "settings"), "", "%v", err)
		return nil
	}
	f.Form = string(form) + " " + zone.String()
	if f.Grammar != "" {
		known := foreign.SettingKeys(f.Grammar)
		for _, key := range keysOf(settings) {
			if !slices.Contains(known, strings.ReplaceAll(key, "_", "-")) {
				r.unknown(around, join(path, "settings"), key, "setting", "settings", known)
			}
		}
		if err := foreign.CheckSettings(f.Grammar, settings, zone); err != nil {
			r.fault(around, join(path, "settings"), "", "the settings cannot be used: %v", err)
		}
		f.Read = func(value string) (schedule.Timetable, error) {
			table, _, err := foreign.Read(f.Grammar, value, settings, zone)
			return table, err
		}
		f.Warn = func(value string) (list []policies.TagWarning) {
			_, warnings, _ := foreign.Read(f.Grammar, value, settings, zone) // that it cannot be read is a fault of the tag
			for _, w := range warnings {
				if !w.Always {
					list = append(list, policies.TagWarning{Text: w.Text, Hint: w.Hint})
				}
			}
			return list
		}
		return f
	}
	named := r.schedules
	for _, name := range keysOf(named) {
		if w := named[name].weekly; w != nil {
			f.Form += " " + name + "=" + w.String()
		}
	}
	f.Read = func(value string) (schedule.Timetable, error) {
		if s, ok := named[value]; ok && s.weekly != nil {
			return s.weekly, nil
		}
		w, err := schedule.ParseWeekly([]string{value}, nil, zone)
		if err != nil { // not w: a nil pointer in an interface is not nil
			if nameForm.MatchString(value) {
				known := "none is named"
				if near := nearest(value, keysOf(named)); near != "" {
					known = "did you mean " + near + "?"
				} else if len(named) > 0 {
					known = "known are " + strings.Join(keysOf(named), ", ")
				}
				return nil, fmt.Errorf("there is no schedule %q (%s), and it is no hours such as Mon-Fri_08:00-19:00", value, known)
			}
			return nil, err
		}
		return w, nil
	}
	return f
}

// checkCounts refuses a policy that follows an owner's tag which does not count.
func (r *reader) checkCounts(n *yaml.Node, path, tag string) {
	set := &r.cfg.Policies
	own, ok := strings.CutPrefix(tag, set.OwnerPrefix())
	if !ok || set.Owners.Counts(own) {
		return
	}
	if slices.Contains([]string{policies.OwnHours, policies.OwnSchedule}, own) {
		r.fault(n, path, "add owners: { keys: ["+strings.Join(append(slices.Clone(set.Owners.Keys), own), ", ")+"] }", "the tag %s does not count: owners.keys does not list %s", tag, own)
		return
	}
	r.fault(n, path, "nightshift.hours and nightshift.schedule hold schedules", "no schedule is in the tag %s", tag)
}

// readExpr reads a CEL expression over an instance.
func (r *reader) readExpr(n *yaml.Node, path string) *policies.Expr {
	s, ok := r.text(n, path)
	if !ok {
		return nil
	}
	x, err := policies.ParseExpr(s)
	if err == nil {
		return x
	}
	hint := "fields are: " + strings.Join(policies.ExprFields, ", ")
	at := *deref(n)
	e, ok := errors.AsType[*policies.ExprError](err)
	if ok && e.Unknown != "" {
		if near := nearest(e.Unknown, policies.ExprFields); near != "" {
			hint = "did you mean " + near + "?"
		}
	}
	if ok && e.Line == 1 && at.Style&(yaml.LiteralStyle|yaml.FoldedStyle) == 0 {
		at.Column += e.Col - 1
		if at.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
			at.Column++
		}
	}
	r.fault(&at, path, hint, "%v", err)
	return nil
}
