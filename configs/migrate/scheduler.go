package migrate

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"nightshift/policies"
	"nightshift/policies/foreign"
	"nightshift/policies/schedule"
)

// InstanceScheduler writes a policy file from the configuration of Instance
// Scheduler on AWS: an export of its configuration table (aws dynamodb scan, typed
// or plain), what scheduler-cli describe-schedules and describe-periods print, one
// after the other, or a CloudFormation template with Custom::ServiceInstanceSchedule
// (source/app/instance_scheduler: model, handler/cfn_schedule.py).
//
// Instances name their schedule in a tag, so the schedules become schedules of
// ours under the same names, and one policy follows the tag.
func InstanceScheduler(data []byte, o Options) (Result, error) {
	docs, err := documents(data)
	if err != nil {
		return Result{}, fmt.Errorf("read %s: %w", o.File, err)
	}
	s := &scheduler{file: newFile("aws-instance-scheduler", o), tag: o.Tag, zone: o.Zone, periods: make(map[string]item), schedules: make(map[string]item)}
	for _, d := range docs {
		s.collect(d)
	}
	if len(s.schedules) == 0 {
		return Result{}, fmt.Errorf("read %s: it has no schedules: neither items of type schedule, nor Schedules, nor resources of type Custom::ServiceInstanceSchedule", s.from)
	}
	s.tag, s.zone = cmp.Or(s.tag, "Schedule"), cmp.Or(s.zone, "UTC")
	s.notes = []string{
		"Instance Scheduler looks every few minutes (5 by default) and acts where the wanted state has changed since its last look. nightshift acts at the begin and the end of a window.",
		"A new instance outside of its hours is stopped by Instance Scheduler at once (stop_new_instances), by nightshift at the next end of a window.",
		"A window in the hour that summer time skips does not happen there, one in the hour that is repeated happens twice. nightshift begins at the first instant after the gap, and takes the first reading of the repeated hour.",
		"Databases, Auto Scaling groups and maintenance windows have no counterpart.",
		"The tag key is " + s.tag + ", the zone of schedules without one is " + s.zone + ": import --tag and --timezone write others.",
	}
	s.write()
	return s.result()
}

type scheduler struct {
	*file
	tag, zone string
	periods   map[string]item
	schedules map[string]item
}

// item is a schedule or a period; its keys are in small letters without - and _.
type item map[string]any

// collect finds schedules and periods wherever a document has them.
func (s *scheduler) collect(v any) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			s.collect(x)
		}
	case map[string]any:
		if resources, ok := v["Resources"].(map[string]any); ok {
			s.template(resources)
			return
		}
		switch it := newItem(v); it["type"] {
		case "schedule":
			s.put(s.schedules, "schedule", it)
		case "period":
			s.put(s.periods, "period", it)
		case "config":
			s.tag = cmp.Or(s.tag, it.text("tagname"))
			s.zone = cmp.Or(s.zone, it.text("defaulttimezone"))
		default:
			for _, k := range slices.Sorted(maps.Keys(v)) {
				if slices.Contains([]string{"items", "item", "schedules", "schedule", "periods", "period"}, strings.ToLower(k)) {
					s.collect(v[k])
				}
			}
		}
	}
}

func (s *scheduler) put(into map[string]item, what string, it item) {
	name := it.text("name")
	switch _, twice := into[name]; {
	case name == "":
		s.leave("a %s without a name", what)
	case twice:
		s.leave("%s %s stands twice; the first counts", what, name)
	default:
		into[name] = it
	}
}

func newItem(m map[string]any) item {
	it := make(item, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		it[normalKey(k)] = untyped(m[k])
	}
	return it
}

func normalKey(k string) string {
	return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(k))
}

// untyped is a value of DynamoDB without its type: {"S": "a"} is a.
func untyped(v any) any {
	m, ok := v.(map[string]any)
	if !ok || len(m) != 1 {
		return v
	}
	for kind, x := range m {
		switch kind {
		case "S", "N", "BOOL", "SS", "NS":
			return x
		case "NULL":
			return nil
		case "L":
			var out []any
			for _, e := range list(x) {
				out = append(out, untyped(e))
			}
			return out
		}
	}
	return v
}

// text is a value that is a text, or empty.
func (it item) text(key string) string {
	s, _ := it[key].(string)
	return s
}

// texts is a list, or one text with commas.
func (it item) texts(key string) (out []string, err error) {
	for _, v := range list(it[key]) {
		s, ok := scalarText(v)
		if !ok {
			return nil, fmt.Errorf("%s is no list of texts", key)
		}
		for part := range strings.SplitSeq(s, ",") {
			out = append(out, strings.TrimSpace(part))
		}
	}
	slices.Sort(out) // sets of DynamoDB have no order
	return slices.Compact(out), nil
}

// template reads the resources of a CloudFormation template.
func (s *scheduler) template(resources map[string]any) {
	for _, id := range slices.Sorted(maps.Keys(resources)) {
		r, _ := resources[id].(map[string]any)
		if r["Type"] != "Custom::ServiceInstanceSchedule" {
			continue
		}
		props, _ := r["Properties"].(map[string]any)
		it := newItem(props)
		name := cmp.Or(it.text("name"), id)
		it["name"] = name
		if plain, _ := truth(it["nostackprefix"]); !plain {
			it["instack"] = true
		}
		delete(it, "nostackprefix")
		delete(it, "servicetoken")
		delete(it, "timeout")
		var ids []any
		for i, p := range list(it["periods"]) {
			m, _ := p.(map[string]any)
			period := newItem(m)
			id := fmt.Sprintf("%s-period-%04d", name, i+1)
			period["name"] = id
			s.put(s.periods, "period", period)
			if kind := period.text("instancetype"); kind != "" {
				id += "@" + kind
			}
			delete(period, "instancetype")
			ids = append(ids, id)
		}
		it["periods"] = ids
		s.put(s.schedules, "schedule", it)
	}
}

// spec is a schedule as package foreign reads it.
func (s *scheduler) spec(it item) (map[string]any, error) {
	spec := map[string]any{"timezone": cmp.Or(it.text("timezone"), s.zone)}
	if o := it.text("overridestatus"); o != "" {
		spec["override_status"] = o
	}
	ids, err := it.texts("periods")
	if err != nil {
		return nil, err
	}
	var periods []any
	for _, id := range ids {
		name, kind, _ := strings.Cut(id, "@")
		p, ok := s.periods[name]
		if !ok {
			return nil, fmt.Errorf("its period %s is not in the file", name)
		}
		out := map[string]any{"name": name}
		if kind != "" {
			out["instancetype"] = kind
		}
		for _, k := range []string{"begintime", "endtime"} {
			if v, ok := p[k]; ok && v != nil {
				if out[k], ok = v.(string); !ok {
					return nil, fmt.Errorf("%s of period %s is no text", k, name)
				}
			}
		}
		for _, k := range []string{"weekdays", "monthdays", "months"} {
			values, err := p.texts(k)
			if err != nil {
				return nil, fmt.Errorf("period %s: %w", name, err)
			}
			if len(values) > 0 {
				out[k] = values
			}
		}
		periods = append(periods, out)
	}
	spec["periods"] = periods
	return spec, nil
}

// write makes our schedules and policies. Schedules that share a name with ours
// are followed by one policy; the others have one each.
func (s *scheduler) write() {
	var plain, enforced []string
	for _, name := range slices.Sorted(maps.Keys(s.schedules)) {
		it := s.schedules[name]
		about := s.about(name, it)
		spec, err := s.spec(it)
		if err != nil {
			s.leave("schedule %s: %v", name, err)
			continue
		}
		settings := foreign.Settings{"schedules": map[string]any{name: spec}}
		table, list, err := foreign.Read(foreign.InstanceScheduler, name, settings, time.UTC)
		if err != nil {
			s.leave("%v%s", err, hintFor(err))
			continue
		}
		for _, w := range list {
			text := "Mind: " + w.Text
			if w.Hint != "" {
				text += "; " + w.Hint
			}
			about = append(about, text+".")
		}
		always, _ := truth(it["enforced"])
		text, ok := s.native(spec, table)
		switch {
		case !ok:
			s.alone(name, about, settings, always)
		case text == "":
			s.leave("schedule %s: no window of it ever begins", name)
		default:
			ours := s.names.unique(name)
			s.file.schedules = append(s.file.schedules, entry{ours, text, about})
			switch {
			case ours != name:
				s.renamed(name, ours, always)
			case always:
				enforced = append(enforced, name)
			default:
				plain = append(plain, name)
			}
		}
	}
	s.follow("instance-scheduler", plain, "")
	s.follow("instance-scheduler-enforced", enforced, string(policies.EnforceStrict))
}

func hintFor(err error) string {
	if strings.Contains(err.Error(), "begintime must be before endtime") {
		return ". A night needs two periods there; in nightshift it is one window, such as 22:00-06:00"
	}
	return ""
}

// follow writes the policy of schedules that instances name in their tag.
func (s *scheduler) follow(name string, schedules []string, enforce string) {
	if len(schedules) == 0 {
		return
	}
	p := &policy{name: s.names.unique(name), sel: tagIs(s.tag, schedules...), schedule: "{ from_tag: " + scalar(s.tag) + " }", enforce: enforce}
	p.about = []string{"Instances name one of the schedules above in the tag " + s.tag + "."}
	if enforce != "" {
		p.about = append(p.about, "These are enforced: what somebody starts or stops by hand is undone.")
	}
	s.policies = append(s.policies, p)
}

// renamed writes the policy of a schedule whose name is none in our form.
func (s *scheduler) renamed(name, ours string, enforced bool) {
	p := &policy{name: s.names.unique("follow-" + ours), sel: tagIs(s.tag, name), schedule: scalar(ours)}
	p.about = []string{fmt.Sprintf("Names of schedules are [a-z0-9-] here, so %q is called %s.", name, ours)}
	if policies.CheckGlob(literal(name)) != nil {
		p.sel = tagIs(s.tag, ours)
		p.about = append(p.about, "A tag of Civo cannot hold its name: tag the instances "+s.tag+"="+ours+".")
	}
	if enforced {
		p.enforce = string(policies.EnforceStrict)
	}
	s.policies = append(s.policies, p)
}

// alone writes the policy of a schedule that our windows cannot say: it is
// followed as Instance Scheduler reads it.
func (s *scheduler) alone(name string, about []string, settings foreign.Settings, enforced bool) {
	p := &policy{name: s.names.unique(name), sel: tagIs(s.tag, name), about: append(about, "Our windows cannot say this, so it is read as Instance Scheduler reads it.")}
	p.schedule = "{ from_tag: " + scalar(s.tag) + ", grammar: " + foreign.InstanceScheduler + ", settings: " + flow(map[string]any(settings)) + " }"
	if enforced {
		p.enforce = string(policies.EnforceStrict)
	}
	s.policies = append(s.policies, p)
}

// about says where a schedule comes from and what of it differs.
func (s *scheduler) about(name string, it item) []string {
	origin := fmt.Sprintf("From the schedule %q", name)
	if d := it.text("description"); d != "" {
		origin += fmt.Sprintf(" (%s)", d)
	}
	about := []string{origin + "."}
	note := func(format string, args ...any) { about = append(about, fmt.Sprintf(format, args...)) }
	for _, k := range slices.Sorted(maps.Keys(it)) {
		yes, isTruth := truth(it[k])
		switch k {
		case "type", "name", "description", "timezone", "periods", "configuredinstack", "enforced", "usemetrics", "metrics", "overwrite":
		case "instack":
			note("Instance Scheduler puts the name of the stack before it (NoStackPrefix is not true): the tags say STACK-%s. Rename it here or tag anew.", name)
		case "overridestatus":
			note("It never changes, so nothing starts or stops because of it; enforce: true mends what is otherwise.")
		case "retainrunning":
			if yes {
				note("Differs: retain_running leaves an instance on at the end of a window that was on before its begin. nightshift stops it; nightshift keep leaves it on.")
			}
		case "stopnewinstances":
			if isTruth && !yes {
				note("stop_new_instances is false, as in nightshift: a new instance is left on until the next end of a window.")
			}
		case "hibernate":
			if yes {
				note("Differs: it hibernated to disk; nightshift stops, and memory is lost.")
			}
		case "usemaintenancewindow":
		case "ssmmaintenancewindow":
			if len(list(it[k])) > 0 {
				note("Left out: the maintenance windows %s. Add them as windows.", flow(it[k]))
			}
		default:
			note("Left out: %s.", k)
		}
	}
	return about
}

var errNotNative = errors.New("our windows cannot say it")

// native writes a schedule in our windows; ok is false where that cannot be done.
// It is empty where nothing is ever wanted.
func (s *scheduler) native(spec map[string]any, table schedule.Timetable) (text string, ok bool) {
	onUTC := maps.Clone(spec)
	onUTC["timezone"] = "UTC"
	asUTC, _, err := foreign.Read(foreign.InstanceScheduler, "x", foreign.Settings{"schedules": map[string]any{"x": onUTC}}, time.UTC)
	if err != nil {
		return "", false
	}
	zone := table.Zone().String()
	if isWeekly(spec) {
		return observe(asUTC, 1).spec(zone), true
	}
	windows, err := datedWindows(spec)
	if err != nil || len(windows) == 0 || !alike(windows, asUTC, spec) {
		return "", false
	}
	return scheduleText(windows, nil, false, zone), true
}

// isWeekly reports whether each week of a schedule is like the other.
func isWeekly(spec map[string]any) bool {
	for _, p := range list(spec["periods"]) {
		m, _ := p.(map[string]any)
		if m["monthdays"] != nil || m["months"] != nil {
			return false
		}
		days, _ := m["weekdays"].([]string)
		for _, d := range days {
			d = strings.ToLower(d)
			if strings.Contains(d, "#") || len(d) > 1 && strings.HasSuffix(d, "l") {
				return false
			}
		}
	}
	return true
}

// alike compares windows with what Instance Scheduler does, at each minute around
// which something may happen, over the four years in which every date comes up.
func alike(windows []string, table schedule.Timetable, spec map[string]any) bool {
	ours, err := schedule.ParseWeekly(windows, nil, time.UTC)
	if err != nil {
		return false
	}
	minutes := []int{0, 1, dayMinutes - 2, dayMinutes - 1}
	for _, p := range list(spec["periods"]) {
		m, _ := p.(map[string]any)
		for _, k := range []string{"begintime", "endtime"} {
			if at, ok := m[k].(string); ok {
				if t, err := time.Parse("15:04", at); err == nil {
					n := t.Hour()*60 + t.Minute()
					minutes = append(minutes, max(0, n-1), n, min(dayMinutes-1, n+1))
				}
			}
		}
	}
	slices.Sort(minutes)
	minutes = slices.Compact(minutes)
	for day := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC); day.Year() < 2029; day = day.AddDate(0, 0, 1) {
		for _, m := range minutes {
			t := day.Add(time.Duration(m) * time.Minute)
			if ours.At(t) != table.At(t) {
				return false
			}
		}
	}
	return true
}
