package migrate

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"nightshift/policies/schedule"
)

// Downscaler writes a policy file from what kube-downscaler looks at
// (py-kube-downscaler, kube_downscaler/scaler.py and cmd.py): the annotations of
// namespaces and workloads, and the defaults among the arguments, the variables or
// the Helm values of kube-downscaler itself.
//
// A workload is no instance, so each policy selects by a tag that nobody has yet:
// whoever knows which instances serve the workload tags these.
func Downscaler(data []byte, o Options) (Result, error) {
	docs, err := documents(data)
	if err != nil {
		return Result{}, fmt.Errorf("read %s: %w", o.File, err)
	}
	d := &downscaler{file: newFile("kube-downscaler", o), tag: cmp.Or(o.Tag, "downscaler"), zone: o.Zone, spaces: make(map[string]object)}
	for _, doc := range docs {
		d.collect(doc)
	}
	d.notes = []string{
		"Deployments are no instances: each policy selects a tag that no instance has yet. Give each instance that serves a workload one such tag, or write a selector of your own.",
		"kube-downscaler looks every minute or so and scales back what somebody scales by hand. nightshift acts at the begin and the end of a window; enforce: strict does the other.",
		"A time in the hour that summer time skips does not happen there, one in the hour that is repeated happens twice. nightshift begins at the first instant after the gap, and takes the first reading of the repeated hour.",
		"Its grace period (15 minutes for what is new) is half an hour here, from when an instance is first seen.",
		"A pod with downscaler/force-uptime wakes the whole cluster there. Here: nightshift keep INSTANCE running --for 3h.",
	}
	d.write()
	return d.result()
}

type downscaler struct {
	*file
	tag, zone string
	defaults  times
	excluded  []string // namespaces, as regular expressions
	passed    []string // names of workloads
	spaces    map[string]object
	workloads []object
}

// times are the specs that apply to something; nil: not given.
type times struct{ uptime, downtime, upscale, downscale, force, forceDown, replicas *string }

// over is a set of times with those of a wider scope behind it.
func (t times) over(wider times) times {
	or := func(a, b *string) *string {
		if a != nil {
			return a
		}
		return b
	}
	return times{or(t.uptime, wider.uptime), or(t.downtime, wider.downtime), or(t.upscale, wider.upscale), or(t.downscale, wider.downscale), or(t.force, wider.force), or(t.forceDown, wider.forceDown), or(t.replicas, wider.replicas)}
}

// object is a namespace or a workload.
type object struct {
	kind, namespace, name string
	times                 times
	exclude               string // the value, or empty
	until                 string
}

func (o object) String() string {
	if o.kind == "Namespace" {
		return "namespace " + o.name
	}
	return strings.ToLower(o.kind) + " " + o.namespace + "/" + o.name
}

// workloadKinds are those that a machine may stand for.
var workloadKinds = []string{"Deployment", "StatefulSet", "Stack", "Rollout", "DaemonSet"}

func (d *downscaler) collect(v any) {
	if text, ok := v.(string); ok {
		d.arguments([]any{text})
		return
	}
	if lines, ok := v.([]any); ok {
		for _, x := range lines {
			d.collect(x)
		}
		return
	}
	m, ok := v.(map[string]any)
	if !ok {
		return
	}
	kind, _ := m["kind"].(string)
	switch {
	case strings.HasSuffix(kind, "List"):
		for _, x := range list(m["items"]) {
			d.collect(x)
		}
	case kind == "ConfigMap":
		d.variables(m["data"])
	case kind == "Namespace":
		o := d.object(kind, m)
		if _, twice := d.spaces[o.name]; twice {
			d.leave("%s stands twice; the first counts", o)
			return
		}
		d.spaces[o.name] = o
	case slices.Contains(workloadKinds, kind):
		d.itself(m)
		d.workloads = append(d.workloads, d.object(kind, m))
	case kind == "":
		d.values(m)
	default:
		if o := d.object(kind, m); o.times != (times{}) || o.exclude != "" {
			d.leave("%s: instances are on or off, and have nothing like it", o)
		}
	}
}

func (d *downscaler) object(kind string, m map[string]any) object {
	meta, _ := m["metadata"].(map[string]any)
	notes, _ := meta["annotations"].(map[string]any)
	o := object{kind: kind}
	o.name, _ = scalarText(meta["name"])
	o.namespace, _ = scalarText(meta["namespace"])
	o.namespace = cmp.Or(o.namespace, "default")
	if o.name == "" {
		o.name = "unnamed"
	}
	for _, k := range slices.Sorted(maps.Keys(notes)) {
		short, ours := strings.CutPrefix(k, "downscaler/")
		value, ok := scalarText(notes[k])
		if !ours || !ok {
			continue
		}
		switch short {
		case "uptime":
			o.times.uptime = &value
		case "downtime":
			o.times.downtime = &value
		case "upscale-period":
			o.times.upscale = &value
		case "downscale-period":
			o.times.downscale = &value
		case "downtime-replicas":
			o.times.replicas = &value
		case "force-uptime":
			if kind == "Namespace" { // only there, and on pods
				o.times.force = &value
			} else {
				d.leave("%s: downscaler/force-uptime counts on namespaces and pods only, so kube-downscaler does not look at it", o)
			}
		case "force-downtime":
			if kind == "Namespace" {
				o.times.forceDown = &value
			}
		case "exclude":
			if !strings.EqualFold(value, "false") {
				o.exclude = value
			}
		case "exclude-until":
			o.until = value
		case "original-replicas":
		default:
			d.leave("%s: %s", o, k)
		}
	}
	return o
}

// itself reads the arguments and variables of a workload, which may be
// kube-downscaler's own.
func (d *downscaler) itself(m map[string]any) {
	spec, _ := m["spec"].(map[string]any)
	template, _ := spec["template"].(map[string]any)
	inner, _ := template["spec"].(map[string]any)
	for _, c := range list(inner["containers"]) {
		container, _ := c.(map[string]any)
		image, _ := container["image"].(string)
		if !strings.Contains(image, "downscaler") {
			continue
		}
		vars := make(map[string]any)
		for _, e := range list(container["env"]) {
			if pair, ok := e.(map[string]any); ok {
				name, _ := pair["name"].(string)
				vars[name] = pair["value"]
			}
		}
		d.arguments(list(container["command"]))
		d.arguments(list(container["args"])) // they win over variables, so they come first
		d.variables(vars)
	}
}

// values reads the values of kube-downscaler's Helm chart.
func (d *downscaler) values(m map[string]any) {
	d.arguments(list(m["arguments"]))
	d.arguments(list(m["args"]))
	for _, ns := range list(m["excludedNamespaces"]) {
		if s, ok := scalarText(ns); ok {
			d.excluded = append(d.excluded, s)
		}
	}
	if extra, ok := m["extraConfig"].(string); ok {
		if docs, err := documents([]byte(extra)); err == nil && len(docs) == 1 {
			d.variables(docs[0])
		}
	}
	d.variables(m)
}

var argument = regexp.MustCompile(`--(default-uptime|default-downtime|upscale-period|downscale-period|downtime-replicas|exclude-namespaces|exclude-deployments)(?:=|\s+)(?:"([^"]*)"|'([^']*)'|(.+?)\s*(?: --.*)?$)`)

// arguments reads a command line, in one text or many.
func (d *downscaler) arguments(args []any) {
	for i, a := range args {
		text, _ := a.(string)
		if i+1 < len(args) && strings.HasPrefix(text, "--") && !strings.Contains(text, "=") {
			if next, ok := args[i+1].(string); ok && !strings.HasPrefix(next, "--") {
				text += "=" + next
			}
		}
		for text != "" {
			at := argument.FindStringSubmatchIndex(text)
			if at == nil {
				break
			}
			m := argument.FindStringSubmatch(text)
			value := m[2] + m[3] + m[4]
			d.setDefault(m[1], value)
			rest := at[1]
			if at[8] >= 0 { // unquoted: up to the next flag
				if at[9] == 0 {
					break
				}
				rest = at[9]
			}
			text = text[rest:]
		}
	}
}

// variables reads kube-downscaler's environment.
func (d *downscaler) variables(v any) {
	m, _ := v.(map[string]any)
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if s, ok := scalarText(m[k]); ok && k == strings.ToUpper(k) {
			d.setDefault(strings.ReplaceAll(strings.ToLower(k), "_", "-"), s)
		}
	}
}

// setDefault sets a default, unless it is set already.
func (d *downscaler) setDefault(name, value string) {
	into := map[string]**string{
		"default-uptime": &d.defaults.uptime, "default-downtime": &d.defaults.downtime, "upscale-period": &d.defaults.upscale,
		"downscale-period": &d.defaults.downscale, "downtime-replicas": &d.defaults.replicas,
	}[name]
	switch {
	case name == "exclude-namespaces":
		d.excluded = append(d.excluded, strings.Split(value, ",")...)
	case name == "exclude-deployments":
		d.passed = append(d.passed, strings.Split(value, ",")...)
	case into != nil && *into == nil:
		*into = &value
	}
}

// write makes the policies: of each workload that has times of its own, of each
// namespace that has, and of the cluster's defaults.
func (d *downscaler) write() {
	for _, w := range d.workloads {
		if w.times == (times{}) && w.exclude == "" && w.until == "" {
			continue // its namespace or the cluster speaks for it
		}
		space := d.spaces[w.namespace]
		if d.isExcluded(w.namespace) {
			d.leave("%s: its namespace is excluded", w)
			continue
		}
		if slices.Contains(d.passed, w.name) {
			d.leave("%s: its name is excluded", w)
			continue
		}
		if w.exclude == "" && space.exclude != "" {
			w.exclude = space.exclude
		}
		w.until = cmp.Or(w.until, space.until)
		d.schedule(w, strings.ToLower(w.kind)+"/"+w.namespace+"/"+w.name, w.times.over(space.times).over(d.defaults))
	}
	for _, name := range slices.Sorted(maps.Keys(d.spaces)) {
		s := d.spaces[name]
		if s.times == (times{}) && s.exclude == "" && s.until == "" {
			continue
		}
		if d.isExcluded(name) {
			d.leave("%s: it is excluded", s)
			continue
		}
		d.schedule(s, "namespace/"+name, s.times.over(d.defaults))
	}
	if t := d.defaults; t.uptime != nil || t.downtime != nil || t.upscale != nil || t.downscale != nil {
		d.schedule(object{kind: "cluster's defaults"}, "cluster", d.defaults)
	}
}

// isExcluded reports whether kube-downscaler passes over a namespace.
func (d *downscaler) isExcluded(namespace string) bool {
	patterns := d.excluded
	if len(patterns) == 0 {
		patterns = []string{"kube-system"} // its default
	}
	for _, pattern := range patterns {
		re, err := regexp.Compile("^(?:" + strings.TrimSpace(pattern) + ")$")
		if err == nil && re.MatchString(namespace) || pattern == namespace {
			return true
		}
	}
	return false
}

// schedule writes the policies of one thing.
func (d *downscaler) schedule(o object, tag string, t times) {
	what := o.String()
	if o.name == "" {
		what = "the " + o.kind
	}
	if o.exclude != "" {
		d.leave("%s: downscaler/exclude is %q", what, o.exclude)
		return
	}
	about := []string{"From " + what + ": " + strings.Join(describe(t), ", ") + "."}
	plans, notes, err := plansOf(t, d.zone)
	if err != nil {
		d.leave("%s: %v", what, err)
		return
	}
	about = append(about, notes...)
	var why []string
	if t.replicas != nil && *t.replicas != "0" {
		why = append(why, "downtime-replicas is "+*t.replicas+", so some of it runs all the time; an instance is on or off")
	}
	if o.until != "" {
		why = append(why, "downscaler/exclude-until leaves it alone until "+o.until+"; if that is over take the # away")
	}
	if len(plans) == 0 {
		d.leave("%s: %s", what, cmp.Or(strings.Join(notes, " "), "it is always up, which needs no policy"))
		return
	}
	about = append(about, "To be completed: tag the instances that serve it "+d.tag+"="+tag+", or write a selector of your own.")
	base := strings.ReplaceAll(tag, "/", "-")
	for i, plan := range plans {
		p := &policy{name: d.names.unique(base + plan.suffix), why: why, sel: tagIs(d.tag, tag), schedule: plan.spec, priority: plan.priority}
		if i == 0 {
			p.about = about
		}
		d.policies = append(d.policies, p)
	}
}

func describe(t times) (specs []string) {
	for _, x := range []struct {
		name string
		spec *string
	}{{"uptime", t.uptime}, {"downtime", t.downtime}, {"upscale-period", t.upscale}, {"downscale-period", t.downscale}, {"force-uptime", t.force}, {"force-downtime", t.forceDown}} {
		if x.spec != nil {
			specs = append(specs, fmt.Sprintf("%s %q", x.name, *x.spec))
		}
	}
	if len(specs) == 0 {
		specs = []string{"no times"}
	}
	return specs
}

// plan is one schedule of those that a thing needs.
type plan struct {
	suffix   string
	spec     string
	priority int
}

// plansOf writes what kube-downscaler makes of its specs. Downtime wins over
// uptime, and force-uptime over all: those have a higher priority and no voice
// outside of their windows.
func plansOf(t times, zone string) (plans []plan, notes []string, err error) {
	spec := func(s *string, otherwise string) string {
		if s == nil {
			return otherwise
		}
		return *s
	}
	add := func(suffix string, list []string, priority int) {
		for _, s := range list {
			plans = append(plans, plan{suffix, s, priority})
		}
	}
	force := spec(t.force, "false")
	switch strings.ToLower(force) {
	case "true", "always":
		return nil, []string{"force-uptime keeps it up for good."}, nil
	case "false", "never":
	default:
		up, err := readSpec(force, zone, &notes)
		if err != nil {
			return nil, nil, err
		}
		add("-forced", up.only(schedule.Running), 20)
	}
	down := spec(t.forceDown, "false")
	switch strings.ToLower(down) {
	case "true", "always":
		add("-down", []string{scheduleText(nil, []string{"00:00-24:00"}, false, "")}, 15)
		return plans, notes, nil
	case "false", "never":
	default:
		off, err := readSpec(down, zone, &notes)
		if err != nil {
			return nil, nil, err
		}
		add("-forced-down", off.only(schedule.Stopped), 15)
	}
	base, err := basePlans(spec(t.uptime, "always"), spec(t.downtime, "never"), spec(t.upscale, "never"), spec(t.downscale, "never"), zone, &notes)
	if err != nil {
		return nil, nil, err
	}
	if len(base) == 0 && len(plans) > 0 && t.forceDown != nil { // something must end what was forced
		base = []plan{{"", scheduleText([]string{"00:00-24:00"}, nil, false, ""), 0}}
	}
	if len(base) == 0 {
		return nil, notes, nil // it is never down
	}
	return append(base, plans...), notes, nil
}

func basePlans(uptime, downtime, upscale, downscale, zone string, notes *[]string) (plans []plan, err error) {
	add := func(suffix string, list []string, priority int) {
		for _, s := range list {
			plans = append(plans, plan{suffix, s, priority})
		}
	}
	read := func(text string) spans {
		var s spans
		if err == nil {
			s, err = readSpec(text, zone, notes)
		}
		return s
	}
	if upscale != "never" || downscale != "never" {
		up, down := read(upscale), read(downscale)
		if err != nil {
			return nil, err
		}
		*notes = append(*notes, "Outside of its periods it has no voice. Where they overlap kube-downscaler does nothing.")
		both, err := periods(up, down)
		if err != nil {
			return nil, err
		}
		add("", both, 0)
		return plans, nil
	}
	up, down := read(uptime), read(downtime)
	if err != nil {
		return nil, err
	}
	whole := []string{scheduleText([]string{"00:00-24:00"}, nil, false, "")}
	switch {
	case up.empty() || down.always:
		if !strings.EqualFold(uptime, "never") && !down.always {
			*notes = append(*notes, "Its uptime never comes, so it is always down.")
		}
		add("", []string{scheduleText(nil, []string{"00:00-24:00"}, false, "")}, 0)
	case up.always && down.empty():
		if !strings.EqualFold(downtime, "never") {
			*notes = append(*notes, "Its downtime never comes, so it is always up, which needs no policy.")
		}
	case up.always && len(down.zones) == 1:
		add("", down.whole(schedule.Stopped), 0)
	case up.always:
		add("", whole, 0)
		add("-down", down.only(schedule.Stopped), 10)
	default:
		add("", up.whole(schedule.Running), 0)
		if !down.empty() {
			*notes = append(*notes, "Where uptime and downtime overlap downtime wins, hence the priority.")
			add("-down", down.only(schedule.Stopped), 10)
		}
	}
	return plans, nil
}

// spans is a spec in our windows, by zone.
type spans struct {
	always bool
	zones  []zoneSpans
}

type zoneSpans struct {
	zone  string
	week  *week    // Running where the spec matches
	dates []string // absolute ranges
}

func (s spans) empty() bool { return !s.always && len(s.zones) == 0 }

// whole are schedules that want one state inside and the other outside. Several
// of them are right for running windows only: running beats stopped.
func (s spans) whole(state schedule.State) []string { return s.write(state, false) }

// only are schedules without a voice outside.
func (s spans) only(state schedule.State) []string {
	if s.always {
		return s.withWhole(state)
	}
	return s.write(state, true)
}

func (spans) withWhole(state schedule.State) []string {
	w := []string{"00:00-24:00"}
	if state == schedule.Running {
		return []string{scheduleText(w, nil, false, "")}
	}
	return []string{scheduleText(nil, w, false, "")}
}

func (s spans) write(state schedule.State, only bool) (out []string) {
	for _, z := range s.zones {
		windows := z.windows()
		if state == schedule.Running {
			out = append(out, scheduleText(windows, nil, only, z.zone))
		} else {
			out = append(out, scheduleText(nil, windows, only, z.zone))
		}
	}
	return out
}

func (z zoneSpans) windows() (list []string) {
	if z.week.has(schedule.Running) {
		list = z.week.windows(schedule.Running)
	}
	return append(list, z.dates...)
}

// periods are schedules of upscale and downscale periods: nothing where both match.
func periods(up, down spans) ([]string, error) {
	switch {
	case down.empty():
		return up.only(schedule.Running), nil
	case up.empty():
		return down.only(schedule.Stopped), nil
	case up.always || down.always || len(up.zones) > 1 || len(down.zones) > 1 || up.zones[0].zone != down.zones[0].zone || len(up.zones[0].dates)+len(down.zones[0].dates) > 0:
		return nil, fmt.Errorf("its periods in several zones, always or with dates may overlap, in which kube-downscaler does nothing: write one schedule with running and stopped windows")
	}
	w := *up.zones[0].week
	for m := range w {
		switch a, b := up.zones[0].week[m] == schedule.Running, down.zones[0].week[m] == schedule.Running; {
		case a == b:
			w[m] = schedule.Any
		case a:
			w[m] = schedule.Running
		default:
			w[m] = schedule.Stopped
		}
	}
	text := w.spec(up.zones[0].zone)
	if text == "" {
		return nil, fmt.Errorf("its periods cover each other, so that it never does anything")
	}
	return []string{text}, nil
}
