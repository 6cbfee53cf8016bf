package configs

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"nightshift/policies"
	"nightshift/policies/schedule"
)

func (r *reader) readPolicies(n *yaml.Node, path string) {
	r.each(n, path, func(c *yaml.Node, sub string) {
		p, ok := r.readPolicy(c, sub)
		if old, dup := r.named[p.Name]; dup && p.Name != "" {
			r.fault(c, sub+".name", "", "another policy is called %s, %s", p.Name, old.in(r.file))
			return
		}
		r.named[p.Name] = place{r.file, c.Line}
		if ok {
			r.cfg.Policies.Policies = append(r.cfg.Policies.Policies, p)
		}
	})
}

// readPolicy reads one policy; ok is false when it has a fault.
func (r *reader) readPolicy(n *yaml.Node, path string) (p policies.Policy, ok bool) {
	before := len(r.faults)
	nodes := r.mapping(n, path, &policyShape, keys{
		"name": r.name(&p.Name), "was": r.name(&p.Was),
		"select":   func(c *yaml.Node, sub string) { p.Select = r.readSelector(c, sub) },
		"priority": r.whole(&p.Priority, priority),
		"mode":     func(c *yaml.Node, sub string) { p.Mode = r.readMode(c, sub) },
		"schedule": func(c *yaml.Node, sub string) { r.policySchedule(c, sub, &p) },
		"except":   nil, // read below: it needs the schedule
		"cron": func(c *yaml.Node, sub string) {
			if s, ok := r.text(c, sub); ok {
				cron, err := schedule.ParseCron(s, r.zone)
				if err != nil {
					r.scheduleError(c, sub, err)
				}
				p.Cron = cron
			}
		},
		"trigger": func(c *yaml.Node, sub string) { p.Signal = r.readTrigger(c, sub) },
		"do":      func(c *yaml.Node, sub string) { p.Do = r.readDo(c, sub) },
		"lasts":   r.duration(&p.Lasts), "canary": r.duration(&p.Canary), "give_up_after": r.duration(&p.GiveUpAfter), "cooldown": r.duration(&p.Cooldown),
		"spread": r.span(&p.Spread), "stop_again_after": r.duration(&p.StopAgainAfter), "respect_stop": r.span(&p.RespectStop),
		"enforce": func(c *yaml.Node, sub string) { p.Enforce = r.readEnforce(c, sub) },
		"at_most": func(c *yaml.Node, sub string) { p.AtMost = r.readAtMost(c, sub) },
		"warn":    func(c *yaml.Node, sub string) { p.Warn = r.readWarn(c, sub) },
		"pick":    func(c *yaml.Node, sub string) { p.Pick = r.readPick(c, sub) },
	})
	if nodes == nil {
		return p, false
	}
	if was := nodes["was"]; was != nil && p.Was != "" {
		r.former = append(r.former, former{p.Was, place{r.file, was.Line}, was, join(path, "was")})
	}
	if nodes["name"] == nil {
		r.fault(n, path, "", "the policy has no name")
	}
	if nodes["select"] == nil {
		r.fault(n, join(path, "select"), `name a tag: select: { all: [env=dev] }; every instance is { all: ["*"] }`, "policy%s has no selector", named(p.Name))
	}
	r.checkCause(n, path, &p, nodes)
	r.checkAllowed(path, &p, nodes)
	if c := nodes["except"]; c != nil {
		r.readExcept(c, join(path, "except"), &p)
	}
	r.defaults(&p, nodes)
	return p, len(r.faults) == before
}

func (r *reader) name(into *string) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		if s, ok := r.text(n, path); ok {
			if *into = s; !nameForm.MatchString(s) {
				r.fault(n, path, "names are [a-z0-9-], at most 64", "%q is not a name", s)
			}
		}
	}
}

// former is a name that a policy had.
type former struct {
	name string
	place
	node *yaml.Node
	path string
}

// checkFormer finds former names whose history cannot be carried on: a policy has
// the name still, or two claim it. It is called when all files are read.
func (r *reader) checkFormer() {
	first := make(map[string]former)
	for _, f := range r.former {
		at := *r
		at.file = f.file
		if now, ok := r.named[f.name]; ok {
			at.fault(f.node, f.path, "was is a name that no policy has any more", "a policy is called %s, %s", f.name, now.in(f.file))
		} else if old, ok := first[f.name]; ok {
			at.fault(f.node, f.path, "one policy carries the history on", "another policy was %s, too, %s", f.name, old.in(f.file))
		} else {
			first[f.name] = f
		}
		r.faults = at.faults
	}
}

func named(name string) string {
	if name == "" {
		return ""
	}
	return " " + name
}

func (r *reader) checkCause(n *yaml.Node, path string, p *policies.Policy, nodes map[string]*yaml.Node) {
	causes := policyShape.given(policyShape.one, nodes)
	switch {
	case len(causes) == 0:
		r.fault(n, path, "give it one of schedule, cron and trigger", "policy%s has no cause", named(p.Name))
		return
	case len(causes) > 1:
		r.fault(nodes[causes[1]], path, "make two policies", "policy%s has %s: it may have one cause", named(p.Name), strings.Join(causes, " and "))
		return
	}
	if nodes["schedule"] == nil && nodes["do"] == nil {
		r.fault(n, join(path, "do"), "such as do: start", "policy%s does nothing", named(p.Name))
	}
	r.strays(path, &policyShape, nodes)
	r.checkSteps(path, p, nodes)
}

// checkSteps finds parts that do not go together.
func (r *reader) checkSteps(path string, p *policies.Policy, nodes map[string]*yaml.Node) {
	power := slices.ContainsFunc(p.Do, func(s policies.Step) bool { return policies.KindOf(s.Verb) == policies.KindPower })
	if stops := slices.ContainsFunc(p.Do, func(s policies.Step) bool { return s.Verb == policies.Stop }); nodes["warn"] != nil && nodes["cron"] != nil && len(p.Do) > 0 && !stops {
		r.fault(nodes["warn"], join(path, "warn"), "", "warn goes with a schedule, or with do: stop")
	}
	if nodes["lasts"] != nil && len(p.Do) > 0 && !power {
		r.fault(nodes["lasts"], join(path, "lasts"), "", "lasts goes with start or stop, which this policy does not do")
	}
	if nodes["pick"] != nil && len(p.Do) > 0 && !power {
		r.fault(nodes["pick"], join(path, "pick"), "", "pick goes with start or stop, which this policy does not do")
	}
	for i, s := range p.Do {
		if nodes["trigger"] == nil && s.Verb == policies.Notify {
			r.fault(nodes["do"], fmt.Sprintf("%s[%d]", join(path, "do"), i), "a stop is told of by warn", "notify goes with trigger only")
		}
		if nodes["trigger"] == nil && (s.After > 0 || s.IfFiring) {
			r.fault(nodes["do"], fmt.Sprintf("%s[%d]", join(path, "do"), i), "", "after and if go with trigger only")
		}
		if s.IfFiring && p.Signal != nil && p.Signal.Name != "" {
			r.fault(nodes["do"], fmt.Sprintf("%s[%d]", join(path, "do"), i), "", "if: still-firing goes with an alert or a load")
		}
	}
}

// defaults are those that depend on the rest of a policy.
func (r *reader) defaults(p *policies.Policy, nodes map[string]*yaml.Node) {
	if nodes["schedule"] != nil && nodes["respect_stop"] == nil {
		p.RespectStop = policies.DefaultRespectStop
	}
	if p.Signal == nil {
		return
	}
	if nodes["cooldown"] == nil {
		p.Cooldown = policies.DefaultCooldown
	}
	harms := slices.ContainsFunc(p.Do, func(s policies.Step) bool { return s.Verb == policies.Reboot || s.Verb == policies.Resize })
	if nodes["at_most"] == nil && harms {
		p.AtMost = policies.AtMost{Instances: policies.DefaultAtMost, Within: policies.DefaultAtMostIn}
	}
}

// checkAllowed refuses a policy that could never act.
func (r *reader) checkAllowed(path string, p *policies.Policy, nodes map[string]*yaml.Node) {
	for _, s := range p.Do {
		if s.Verb != policies.Notify && !slices.Contains(r.cfg.Policies.Allow, s.Verb) {
			r.fault(nodes["do"], join(path, "do"), "add "+string(s.Verb)+" to allow", "%s is not in allow (%s)", s.Verb, joinVerbs(r.cfg.Policies.Allow))
		}
	}
	if p.IsLevel() {
		for _, v := range []policies.Verb{policies.Start, policies.Stop} {
			if !slices.Contains(r.cfg.Policies.Allow, v) {
				r.fault(nodes["schedule"], join(path, "schedule"), "add "+string(v)+" to allow", "a schedule starts and stops, and %s is not in allow (%s)", v, joinVerbs(r.cfg.Policies.Allow))
			}
		}
	}
}

func joinVerbs(v []policies.Verb) string {
	var s []string
	for _, x := range v {
		s = append(s, string(x))
	}
	return strings.Join(s, ", ")
}

// policySchedule reads the name of a schedule, one written in place, or the tag
// that each instance carries its own in.
func (r *reader) policySchedule(n *yaml.Node, path string, p *policies.Policy) {
	n = deref(n)
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == "from_tag" {
				p.FromTag = r.readFromTag(n, path)
				return
			}
		}
		if w := r.readSchedule(n, path); w != nil {
			p.Schedule = w
		}
		return
	}
	name, ok := r.text(n, path)
	if !ok {
		return
	}
	s, ok := r.schedules[name]
	if !ok {
		r.unknown(n, path, name, "schedule", "schedules", keysOf(r.schedules))
	}
	if s.weekly != nil {
		p.Schedule = s.weekly
	}
}

// unknown is the fault of a name that nothing has.
func (r *reader) unknown(n *yaml.Node, path, name, what, where string, names []string) {
	hint := "define it under " + where + ":"
	if near := nearest(name, names); near != "" {
		hint = "did you mean " + near + "?"
	} else if len(names) > 0 {
		hint = "known are: " + strings.Join(names, ", ")
	}
	r.fault(n, path, hint, "there is no %s %q", what, name)
}

func keysOf[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }

func (r *reader) readTrigger(n *yaml.Node, path string) *policies.SignalCause {
	c := &policies.SignalCause{}
	before := len(r.faults)
	seen := r.mapping(n, path, &triggerShape, keys{
		"alert": r.str(&c.Alert, checkFilled), "load": r.str(&c.Load, checkFilled),
		"signal": func(n *yaml.Node, path string) {
			if s, ok := r.text(n, path); ok {
				if c.Name = s; !signalForm.MatchString(s) {
					r.fault(n, path, "such as ci.queued", "%q is not the name of a signal", s)
				}
			}
		},
		"labels": func(n *yaml.Node, path string) { c.Labels = r.labels(n, path) },
		"matchers": func(n *yaml.Node, path string) {
			r.each(n, path, func(n *yaml.Node, sub string) {
				if s, ok := r.text(n, sub); ok {
					m, err := policies.ParseMatcher(s)
					if err != nil {
						r.fault(n, sub, `such as severity="critical" or team=~"web|api"`, "%v", err)
						return
					}
					c.Matchers = append(c.Matchers, m)
				}
			})
		},
		"for": r.duration(&c.For), "above": r.number(&c.Above), "clear_below": r.number(&c.ClearBelow),
	})
	whole := len(r.faults) == before
	r.misses(n, path, &triggerShape, seen)
	if len(triggerShape.given(triggerShape.one, seen)) == 1 {
		r.strays(path, &triggerShape, seen)
	}
	switch {
	case seen["load"] != nil && seen["above"] == nil:
		r.fault(n, path, "such as { load: cpu, above: 85 }", "a load needs above")
	case whole && seen["above"] != nil && seen["clear_below"] != nil && c.ClearBelow > c.Above:
		r.fault(seen["clear_below"], join(path, "clear_below"), "such as { load: cpu, above: 85, clear_below: 60 }", "clear_below %g is not below above (%g)", c.ClearBelow, c.Above)
	}
	if len(r.faults) > before {
		return nil
	}
	return c
}

func (r *reader) number(into *float64) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		if s, ok := r.text(n, path); ok {
			v, err := strconv.ParseFloat(s, 64)
			if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
				r.fault(n, path, "", "%q is not a number", s)
			}
			*into = v
		}
	}
}

// signalForm is what a signal may be called.
var signalForm = regexp.MustCompile(`^[a-zA-Z0-9_.:-]{1,64}$`)

func (r *reader) labels(n *yaml.Node, path string) map[string]string {
	n = deref(n)
	if n.Kind != yaml.MappingNode {
		r.fault(n, path, "such as { severity: critical }", "%s is not a mapping", describeNode(n))
		return nil
	}
	labels := make(map[string]string)
	for i := 0; i+1 < len(n.Content); i += 2 {
		sub := join(path, n.Content[i].Value)
		if _, dup := labels[n.Content[i].Value]; dup {
			r.fault(n.Content[i], sub, "", "the label stands twice")
		}
		if v, ok := r.text(n.Content[i+1], sub); ok {
			labels[n.Content[i].Value] = v
		}
	}
	return labels
}

const doHint = "such as start, stop, {reboot: soft}, {resize: [g3.small, g3.medium]}, {retag: {add: [a]}}, {firewall: ID}"

// readDo reads one step or a list of them.
func (r *reader) readDo(n *yaml.Node, path string) []policies.Step {
	n = deref(n)
	var steps []policies.Step
	add := func(c *yaml.Node, sub string) {
		if s, ok := r.readStep(deref(c), sub); ok {
			steps = append(steps, s)
		}
	}
	if n.Kind == yaml.SequenceNode {
		r.each(n, path, add)
	} else {
		add(n, path)
	}
	power := 0
	for _, s := range steps {
		if policies.KindOf(s.Verb) == policies.KindPower {
			power++
		}
	}
	if power > 1 {
		r.fault(n, path, "", "a policy starts or stops, not both")
	}
	return steps
}

func (r *reader) readStep(n *yaml.Node, path string) (s policies.Step, ok bool) {
	if n.Kind == yaml.ScalarNode {
		if v := policies.Verb(n.Value); slices.Contains(plainSteps, v) {
			return policies.Step{Verb: v}, true
		}
		r.fault(n, path, doHint, "%s is not something to do", describeNode(n))
		return s, false
	}
	before, count := len(r.faults), 0
	step := func(verb policies.Verb, read func(*yaml.Node, string)) func(*yaml.Node, string) {
		return func(c *yaml.Node, sub string) {
			count++
			s.Verb = verb
			read(c, sub)
		}
	}
	if r.mapping(n, path, &stepShape, keys{
		"start": step(policies.Start, r.nothing), "stop": step(policies.Stop, r.nothing),
		"after": r.duration(&s.After),
		"if": func(c *yaml.Node, sub string) {
			if v, ok := r.text(c, sub); ok {
				if s.IfFiring = v == stillFiring; !s.IfFiring {
					r.fault(c, sub, "write if: "+stillFiring, "%q is not a condition", v)
				}
			}
		},
		"reboot": step(policies.Reboot, func(c *yaml.Node, sub string) {
			switch v, ok := r.text(c, sub); {
			case !ok:
			case !slices.Contains(reboots, v):
				r.fault(c, sub, strings.Join(reboots, " or "), "%q is no kind of reboot", v)
			default:
				s.Hard = v == "hard"
			}
		}),
		"resize": step(policies.Resize, func(c *yaml.Node, sub string) { r.readLadder(c, sub, &s) }),
		"retag":  step(policies.Retag, func(c *yaml.Node, sub string) { r.readRetag(c, sub, &s) }),
		"notify": step(policies.Notify, r.targets(&s.To, "")),
		"firewall": step(policies.Firewall, func(c *yaml.Node, sub string) {
			if v, ok := r.text(c, sub); ok {
				if s.Firewall = v; strings.TrimSpace(v) == "" {
					r.fault(c, sub, "give its id", "a blank firewall would open the default one")
				}
			}
		}),
	}) == nil {
		return s, false
	}
	if count != 1 && len(r.faults) == before {
		r.fault(n, path, "make a list: [ {…}, {…} ]", "a step does one thing, this one does %d", count)
	}
	return s, len(r.faults) == before
}

func (r *reader) readRetag(n *yaml.Node, path string, s *policies.Step) {
	seen := r.mapping(n, path, &retagShape, keys{"add": r.texts(&s.Add, checkTag), "remove": r.texts(&s.Remove, checkTag)})
	r.misses(n, path, &retagShape, seen)
	for _, t := range s.Add {
		if slices.Contains(s.Remove, t) {
			r.fault(n, path, "leave one of the two", "the tag %s is both added and removed", t)
		}
	}
}

// readLadder reads the sizes of a resize, from small to large.
func (r *reader) readLadder(n *yaml.Node, path string, s *policies.Step) {
	r.texts(&s.Ladder, nil)(n, path)
	if len(s.Ladder) == 1 {
		r.fault(n, path, "such as [g3.small, g3.medium, g3.large]", "a ladder has at least two sizes, from small to large")
	}
	seen := make(map[string]bool)
	for _, size := range s.Ladder {
		if seen[size] {
			r.fault(n, path, "", "size %s stands twice in the ladder", size)
		}
		seen[size] = true
	}
	if a, b := downwards(s.Ladder); a != "" {
		r.fault(n, path, "Civo resizes upwards only: order the sizes from small to large", "the ladder goes down from %s to %s", a, b)
	}
}

// downwards finds a step down between two sizes whose names tell.
func downwards(ladder []string) (from, to string) {
	order := []string{"xsmall", "small", "medium", "large", "xlarge", "2xlarge"}
	for i := 1; i < len(ladder); i++ {
		fa, a, okA := strings.Cut(ladder[i-1], ".")
		fb, b, okB := strings.Cut(ladder[i], ".")
		if ia, ib := slices.Index(order, a), slices.Index(order, b); okA && okB && fa == fb && ia >= 0 && ib >= 0 && ib < ia {
			return ladder[i-1], ladder[i]
		}
	}
	return "", ""
}

func checkTag(t string) error {
	if strings.ContainsAny(t, "*?[") {
		return errGlobTag
	}
	return policies.CheckGlob(t)
}
