package migrate

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"nightshift/policies/foreign"
	"nightshift/policies/schedule"
)

// Custodian writes a policy file from the policies of Cloud Custodian
// (c7n/filters/offhours.py, c7n/filters/core.py). A policy with offhour that stops
// and one with onhour that starts, alike in all else, become one of ours.
func Custodian(data []byte, o Options) (Result, error) {
	docs, err := documents(data)
	if err != nil {
		return Result{}, fmt.Errorf("read %s: %w", o.File, err)
	}
	f := newFile("c7n", o)
	f.notes = []string{
		"Custodian acts once, at some time within the hour. nightshift acts on the hour, and where it was away it catches up: a start while it is still wanted, a stop for an hour.",
		"An hour that summer time skips does not happen at Custodian, one that it repeats happens twice. Tags that are followed in its grammar keep that; windows written out here do not have it.",
		"Custodian takes the key of a schedule tag in any case (Maid_OffHours), nightshift as it is written below. A tag of Civo is KEY=VALUE without blanks, and the civo command splits tags at commas: write u2c for a comma, as in off=(m-fu2c19), which Custodian reads as well.",
		"A machine that somebody starts or stops by hand is left alone until the next hour of its schedule, as by Custodian.",
	}
	c := &custodian{file: f}
	found := false
	for _, doc := range docs {
		m, _ := doc.(map[string]any)
		for i, p := range list(m["policies"]) {
			found = true
			c.policy(p, i)
		}
	}
	if !found {
		return Result{}, fmt.Errorf("read %s: there is no list of policies, with which a file of Cloud Custodian begins", f.from)
	}
	for _, h := range c.hours {
		c.write(h)
	}
	return f.result()
}

type custodian struct {
	*file
	hours []*offhours
}

// offhours are one policy of Custodian with a time filter, or a pair of them.
type offhours struct {
	names    []string
	about    []string
	why      []string
	side     string // start, stop, or both
	key      string // what a counterpart must have in common
	tag      string
	settings map[string]any
	optOut   bool
	fallback string
	sel      selector
}

// machines are the resources that are instances in our sense.
var machines = []string{"ec2", "aws.ec2", "asg", "aws.asg", "azure.vm", "gcp.instance", "openstack.server", "tencentcloud.cvm"}

var verbs = map[string]string{"stop": "stop", "start": "start", "suspend": "stop", "resume": "start", "poweroff": "stop"}

// policy reads one policy.
func (c *custodian) policy(v any, i int) {
	p, ok := v.(map[string]any)
	if !ok {
		c.leave("policy %d: it is not a mapping", i+1)
		return
	}
	name, _ := scalarText(p["name"])
	if name == "" {
		name = fmt.Sprintf("policy %d", i+1)
	}
	resource, _ := p["resource"].(string)
	h := &offhours{names: []string{name}, settings: make(map[string]any)}
	if text, ok := p["description"].(string); ok {
		h.about = append(h.about, strings.TrimRight(text, ". ")+".")
	}
	if !slices.Contains(machines, resource) {
		c.leave("%s: it is about %s, which are no instances", name, orUnnamed(resource, "an unnamed resource"))
		return
	}
	if strings.HasSuffix(resource, "asg") {
		h.note("It is about Auto Scaling groups. Civo has none: the tags must be on the instances, and nightshift stops these one by one.")
	}
	verb, more := c.actions(p["actions"], h)
	var times []map[string]any
	h.sel = c.filters(p["filters"], h, verb, &times)
	c.surroundings(p, h)
	switch {
	case len(times) == 0 && verb == "":
		c.leave("%s: it neither starts nor stops (%s)", name, orUnnamed(strings.Join(more, ", "), "no actions"))
		return
	case len(times) == 0:
		c.leave("%s: it has no time filter, so it acts whenever Custodian is run. Write cron: and do: %s for when that is, with select: %s%s", name, verb, h.sel, because(h.why))
		return
	case len(times) > 1:
		h.refuse("it has %d time filters", len(times))
	case verb == "":
		c.leave("%s: a time filter with %s, which neither starts nor stops", name, orUnnamed(strings.Join(more, ", "), "no action"))
		return
	}
	if len(more) > 0 {
		h.note("Left out: the actions %s.", strings.Join(more, ", "))
	}
	h.time(times[0], verb)
	c.add(h)
}

func because(why []string) string {
	if len(why) == 0 {
		return ""
	}
	return " (incomplete: " + strings.Join(why, "; ") + ")"
}

func orUnnamed(s, instead string) string {
	if s == "" {
		return instead
	}
	return s
}

func (h *offhours) note(format string, args ...any) {
	h.about = append(h.about, fmt.Sprintf(format, args...))
}

func (h *offhours) refuse(format string, args ...any) {
	h.why = append(h.why, fmt.Sprintf(format, args...))
}

// actions finds whether a policy starts or stops, and what else it does.
func (c *custodian) actions(v any, h *offhours) (verb string, more []string) {
	for _, a := range list(v) {
		name, _ := a.(string)
		m, isMap := a.(map[string]any)
		if isMap {
			name, _ = m["type"].(string)
		}
		does, ok := verbs[name]
		if !ok {
			more = append(more, orUnnamed(name, "without a type"))
			continue
		}
		if verb != "" && verb != does {
			h.refuse("it both starts and stops")
		}
		verb = does
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if k != "type" {
				h.note("Left out: %s of the action %s.", k, name)
			}
		}
	}
	return verb, more
}

// surroundings are the other keys of a policy: those that narrow it refuse it.
func (c *custodian) surroundings(p map[string]any, h *offhours) {
	for _, k := range slices.Sorted(maps.Keys(p)) {
		switch k {
		case "name", "resource", "description", "actions", "filters", "comment", "comments", "tags", "metadata", "title", "max-resources", "max-resources-percent":
			if strings.HasPrefix(k, "max-") {
				h.note("Left out: %s. See limits in nightshift's own file.", k)
			}
		case "mode":
			m, _ := p[k].(map[string]any)
			if kind, _ := m["type"].(string); kind != "periodic" && kind != "pull" && kind != "schedule" && kind != "azure-periodic" && kind != "gcp-periodic" {
				h.refuse("mode %s acts on events of another cloud", orUnnamed(kind, "without a type"))
			}
		case "query":
			for _, q := range list(p[k]) {
				if m, ok := q.(map[string]any); !ok || len(m) != 1 || m["instance-state-name"] == nil {
					h.refuse("its query narrows what it selects")
				}
			}
		case "conditions", "region", "start", "end", "tz":
			h.refuse("%s narrows when or where it acts", k)
		default:
			h.note("Left out: %s.", k)
		}
	}
}

// time reads a time filter.
func (h *offhours) time(t map[string]any, verb string) {
	kind, _ := t["type"].(string)
	h.side = map[string]string{"onhour": "start", "offhour": "stop"}[kind]
	if verb != h.side {
		h.refuse("%s with %s is not what the filter is for", kind, verb)
	}
	h.tag, h.settings["default_tz"] = "maid_offhours", "et"
	for _, k := range slices.Sorted(maps.Keys(t)) {
		v := t[k]
		switch k {
		case "type":
		case "tag":
			h.tag, _ = v.(string)
		case "default_tz", "onhour", "offhour":
			h.settings[k] = v
		case "weekends", "weekends-only", "opt-out":
			yes, ok := truth(v)
			if !ok {
				h.refuse("%s is neither true nor false", k)
			}
			if k == "opt-out" {
				h.optOut = yes
			} else {
				h.settings[k] = yes
			}
		case "skip-days":
			h.settings[k] = list(v)
		case "skip-days-from":
			h.refuse("the days to skip lie at an address (%s), which import does not fetch: write them as skip-days in settings", addressOf(v))
		case "fallback-schedule":
			h.fallback, _ = v.(string)
		default:
			h.note("Left out: %s, which is no setting of a time filter; Custodian passes over it or refuses it.", k)
		}
	}
	// The side that a policy does not have is not asked for its hour.
	delete(h.settings, map[string]string{"start": "offhour", "stop": "onhour"}[h.side])
	if _, _, err := foreign.Read(foreign.CustodianOffhours, "", h.settings, time.UTC); err != nil {
		h.refuse("%v", err)
	}
	common := maps.Clone(h.settings)
	delete(common, "onhour")
	delete(common, "offhour")
	h.key = fmt.Sprint(h.tag, h.optOut, h.fallback, flow(common), h.sel)
}

func addressOf(v any) string {
	m, _ := v.(map[string]any)
	url, _ := scalarText(m["url"])
	return orUnnamed(url, "an address")
}

// add joins a policy with its counterpart, if there is one.
func (c *custodian) add(h *offhours) {
	for _, other := range c.hours {
		if len(h.why) == 0 && len(other.why) == 0 && h.key == other.key && other.side != h.side && other.side != "both" {
			other.names = append(other.names, h.names...)
			other.about = append(other.about, h.about...)
			maps.Copy(other.settings, h.settings)
			other.side = "both"
			return
		}
	}
	c.hours = append(c.hours, h)
}

// write makes our policies of one: for those with the tag, and for those without
// it where these are acted upon, too.
func (c *custodian) write(h *offhours) {
	settings := maps.Clone(h.settings)
	about := append([]string{h.origin()}, h.about...)
	if h.side != "both" {
		settings["only"] = h.side
		about = append(about, fmt.Sprintf("It has no counterpart that would %s with the same settings, so it wants something in the hours at which it acts only.", map[string]string{"start": "stop", "stop": "start"}[h.side]))
	}
	for _, w := range warnings(foreign.CustodianOffhours, "tz="+fmt.Sprint(settings["default_tz"]), settings) {
		if strings.HasPrefix(w, "tz=") {
			about = append(about, "Mind: "+strings.ReplaceAll(w, "tz=", "default_tz="))
		}
	}
	base := commonName(h.names)
	p := &policy{
		name: c.names.unique(base), about: about, why: h.why, sel: h.sel.with(tagged(h.tag)),
		schedule: "{ from_tag: " + scalar(h.tag) + ", grammar: " + foreign.CustodianOffhours + ", settings: " + flow(settings) + " }",
	}
	c.policies = append(c.policies, p)
	if h.optOut || h.fallback != "" {
		c.writeUntagged(h, settings, base)
	}
}

func (h *offhours) origin() string {
	quoted := make([]string, len(h.names))
	for i, n := range h.names {
		quoted[i] = fmt.Sprintf("%q", n)
	}
	if len(quoted) == 1 {
		return "From Custodian's policy " + quoted[0] + "."
	}
	return "From Custodian's policies " + strings.Join(quoted, " and ") + "."
}

// writeUntagged writes the windows of the instances that have no tag.
func (c *custodian) writeUntagged(h *offhours, settings map[string]any, base string) {
	p := &policy{name: c.names.unique(base + "-untagged"), about: []string{h.origin()}, why: h.why, sel: h.sel.with(untagged(h.tag))}
	c.policies = append(c.policies, p)
	how := "opt-out: true"
	if h.fallback != "" {
		how = fmt.Sprintf("fallback-schedule: %q", h.fallback)
	}
	p.about = append(p.about, "It acts on instances without the tag "+h.tag+", too ("+how+"). Whoever wants out writes the tag "+h.tag+"=off.")
	if len(h.sel.all)+len(h.sel.any) == 0 {
		p.about = append(p.about, "Mind: this selects every instance that lacks the tag.")
	}
	days := list(settings["skip-days"])
	settings = maps.Clone(settings)
	delete(settings, "skip-days")
	table, _, err := foreign.Read(foreign.CustodianOffhours, h.fallback, settings, time.UTC)
	if err != nil {
		if len(h.why) == 0 {
			p.why = append(p.why, err.Error())
		}
		return
	}
	w := observe(table, 60)
	p.schedule = w.spec(table.Zone().String())
	if p.schedule == "" {
		p.why = append(p.why, "it never acts on them")
		return
	}
	if len(days) > 0 {
		if err := c.skip(p, days, w); err != nil {
			p.why = append(p.why, err.Error())
		}
	}
}

// skip writes the days on which Custodian does nothing. Where every running
// window ends on its own day that is the same as being stopped all day.
func (c *custodian) skip(p *policy, days []any, w *week) error {
	for m := 0; m < weekMinutes; m += dayMinutes {
		if w[m] != schedule.Stopped {
			return errors.New("on a day of skip-days Custodian leaves the instances as they are, also running, which except cannot say")
		}
	}
	var dates []string
	for _, d := range days {
		text, _ := scalarText(d)
		dates = append(dates, text)
	}
	slices.Sort(dates)
	p.except = "[ { calendar: " + c.calendar("skip-days", "{ dates: "+flowList(slices.Compact(dates))+" }") + ", use: never } ]"
	return nil
}

// warnings are those of a grammar, as texts.
func warnings(grammar, value string, settings map[string]any) (out []string) {
	_, list, err := foreign.Read(grammar, value, settings, time.UTC)
	if err != nil {
		return nil
	}
	for _, w := range list {
		text := w.Text
		if w.Hint != "" {
			text += "; " + w.Hint
		}
		out = append(out, text+".")
	}
	return out
}

// commonName is what the names of a pair begin with, if that is a name.
func commonName(names []string) string {
	name := names[0]
	for _, other := range names[1:] {
		n := 0
		for n < min(len(name), len(other)) && name[n] == other[n] {
			n++
		}
		if n < len(name) { // not in the middle of a word
			n = max(0, strings.LastIndexAny(name[:n], "-_ "))
		}
		if common := strings.TrimRight(name[:n], "-_ "); len(common) >= 3 {
			name = common
		}
	}
	return name
}
