package worker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"nightshift/events"
	"nightshift/policies"
)

// NamedSignal is a signal from a source that names instances in its own way: by
// id, host name or address. Exactly one of Alert, Load and Name is set.
type NamedSignal struct {
	Alert, Load, Name string
	Status            string // firing or resolved; empty: firing
	Value             *float64
	Labels            map[string]string
	ID                string // the source's own; else Fingerprint with StartsAt is the identity
	Fingerprint       string
	StartsAt, Time    time.Time
	Instance          string // as the source writes it, a port and the rest of a URL too; empty: none
	Region            string // code; empty: any
	Fault             string // why it cannot be read; empty: it can
	Trace             events.Trace
}

// InstanceKey is one of the ways to name an instance.
type InstanceKey string

// The ways to name an instance.
const (
	ByID        InstanceKey = "id"
	ByHostname  InstanceKey = "hostname"
	ByPrivateIP InstanceKey = "private_ip"
	ByPublicIP  InstanceKey = "public_ip"
)

// Taken is what became of a signal. It is stored, ignored because no policy hears
// it, or refused with a reason, which is an event, too.
type Taken struct {
	Signal   string `json:"signal,omitempty"` // its name
	Result   string `json:"result"`           // one of Stored, Ignored, Refused
	Reason   string `json:"reason,omitempty"`
	Detail   string `json:"detail,omitempty"`
	Region   string `json:"region,omitempty"`
	Instance string `json:"instance,omitempty"` // id
	Hostname string `json:"hostname,omitempty"`
	Trigger  string `json:"trigger,omitempty"` // id, where the signal has an identity
}

// What becomes of a signal.
const (
	Stored  = "stored"
	Ignored = "ignored"
	Refused = "refused"
)

// maxName bounds what is repeated of a name that a source gives.
const maxName = 120

// TakeSignals stores signals of a source on NS_IN, each for the one instance that
// it names. It returns when all are stored; an error says that some may not be and
// that a repeat, which is harmless, would do. Those that no policy hears are left
// out. One that does not name exactly one instance inside of the selectors of the
// policies that hear it, and that its source may trigger, is refused.
func (w *Worker) TakeSignals(ctx context.Context, source string, by []InstanceKey, signals []NamedSignal) ([]Taken, error) {
	if err := w.bus.StoreFault(); err != nil { // before instances are looked for
		return nil, err
	}
	set := w.set()
	taken := make([]Taken, len(signals))
	ready := make([]events.Signal, len(signals))
	for i := range signals {
		sig, t, err := w.resolve(ctx, set, source, by, &signals[i])
		if err != nil {
			return nil, err
		}
		ready[i], taken[i] = sig, t
	}
	for i := range taken {
		ctx := events.WithTrace(ctx, signals[i].Trace)
		var err error
		switch taken[i].Result {
		case Stored:
			_, err = w.bus.PublishSignal(ctx, ready[i])
			if errors.Is(err, events.ErrTooLarge) {
				taken[i].Result, taken[i].Reason, taken[i].Detail = Refused, string(policies.ReasonInvalid), err.Error()
				err = w.refuseSignal(ctx, &ready[i], taken[i])
			}
		case Refused:
			err = w.refuseSignal(ctx, &ready[i], taken[i])
		}
		if err != nil {
			return nil, fmt.Errorf("store the signals of %s: %w", source, err)
		}
	}
	return taken, nil
}

// resolve says which instance a signal is about, or why it is not stored.
func (w *Worker) resolve(ctx context.Context, set *policies.Set, source string, by []InstanceKey, n *NamedSignal) (events.Signal, Taken, error) {
	sig := events.Signal{
		ID: n.ID, Alert: n.Alert, Status: n.Status, Labels: n.Labels, Fingerprint: n.Fingerprint, StartsAt: n.StartsAt, Load: n.Load, Name: n.Name,
		Value: n.Value, Time: n.Time, Webhook: true, Source: source, Region: events.None, Instance: events.None,
	}
	t := Taken{Signal: clip(n.Alert + n.Load + n.Name), Trigger: sig.Trigger(), Result: Stored}
	end := func(result string, reason policies.Reason, detail string) (events.Signal, Taken, error) {
		t.Result, t.Reason, t.Detail = result, string(reason), detail
		return sig, t, nil
	}
	fault := n.Fault
	if fault == "" {
		if err := sig.Check(); err != nil {
			fault = err.Error()
		}
	}
	if fault != "" {
		return end(Refused, policies.ReasonInvalid, clip(fault))
	}
	hears, barred := w.hearers(set, &sig)
	switch {
	case len(hears) == 0 && barred != "" && !sig.Resolved():
		return end(Refused, policies.ReasonNotAllowed, "source "+source+" may not trigger policy "+barred)
	case len(hears) == 0:
		return end(Ignored, "", "no policy is triggered by it")
	}
	regions := set.Regions
	if n.Region != "" {
		if !w.inv.Has(n.Region) {
			return end(Refused, policies.ReasonInvalid, fmt.Sprintf("region %s is not one of the daemon's (%s)", clip(n.Region), strings.Join(regions, ", ")))
		}
		regions = []string{strings.ToUpper(n.Region)}
		sig.Region = strings.ToLower(n.Region)
	}
	if n.Instance == "" {
		if !sig.Resolved() && !slices.ContainsFunc(hears, func(p *policies.Policy) bool { return p.Pick != nil }) {
			return end(Refused, policies.ReasonAmbiguous, "the signal names no instance, and policy "+hears[0].Name+" has no pick")
		}
		return sig, t, nil
	}
	found, unread, err := w.goBy(ctx, regions, n.Instance, by)
	if err != nil {
		return sig, t, err
	}
	inside := slices.DeleteFunc(slices.Clone(found), func(i policies.Instance) bool {
		return !slices.ContainsFunc(hears, func(p *policies.Policy) bool { return p.Select.Matches(i) })
	})
	switch {
	case len(inside) == 1 && (len(unread) == 0 || inside[0].ID == n.Instance):
		sig.Region, sig.Instance = strings.ToLower(inside[0].Region), inside[0].ID
		t.Region, t.Instance, t.Hostname = inside[0].Region, inside[0].ID, inside[0].Hostname
		return sig, t, nil
	case sig.Resolved() && t.Trigger != "": // it is the firing that is over, whatever the instance is called by now
		sig.Region = events.None
		return sig, t, nil
	case len(inside) > 1:
		return end(Refused, policies.ReasonAmbiguous, fmt.Sprintf("%d instances go by %q: %s", len(inside), clip(n.Instance), namesOf(inside)))
	case len(unread) > 0:
		return sig, t, fmt.Errorf("which instance %q is cannot be told: %w", clip(n.Instance), errors.Join(unread...))
	case len(found) > 0:
		return end(Refused, policies.ReasonAmbiguous, fmt.Sprintf("%s is not in the select of %s", namesOf(found), policyNames(hears)))
	}
	return end(Refused, policies.ReasonAmbiguous, fmt.Sprintf("no instance of %s goes by %q (%s)", strings.Join(regions, ", "), clip(n.Instance), join(by)))
}

// hearers are the policies that a signal triggers whatever its value, and one that
// hears it, too, but that its source may not trigger.
func (w *Worker) hearers(set *policies.Set, s *events.Signal) (hears []*policies.Policy, barred string) {
	sig := policies.Signal{Source: s.Source, Bound: s.Webhook, Alert: s.Alert, Load: s.Load, Name: s.Name, Labels: s.Labels}
	for i := range set.Policies {
		switch p := &set.Policies[i]; {
		case !p.Signal.Hears(&sig):
		case set.MayTrigger(&sig, p.Name):
			hears = append(hears, p)
		default:
			barred = p.Name
		}
	}
	return hears, barred
}

// goBy are the instances of a fresh inventory that go by a name. A region that
// cannot be read does not count as empty.
func (w *Worker) goBy(ctx context.Context, regions []string, name string, by []InstanceKey) (found []policies.Instance, unread []error, err error) {
	host := hostOf(name)
	for _, region := range regions {
		reading, err := w.inv.Reading(ctx, region, time.Now().Add(-planReadingAge))
		if err != nil {
			if ctx.Err() != nil {
				return nil, nil, context.Cause(ctx)
			}
			unread = append(unread, err)
			continue
		}
		found = append(found, reading.named(host, by)...)
	}
	return found, unread, nil
}

// named are the instances of a reading that go by a name. The first question
// makes the index that all later ones use.
func (r *Reading) named(name string, by []InstanceKey) (found []policies.Instance) {
	r.naming.Do(func() {
		r.byName = make(map[string][]int, 4*len(r.Instances))
		for n := range r.Instances {
			i := &r.Instances[n]
			names := []string{strings.ToLower(i.ID), strings.ToLower(i.Hostname), i.PrivateIP, i.PublicIP}
			slices.Sort(names)
			for _, name := range slices.Compact(names) {
				if name != "" {
					r.byName[name] = append(r.byName[name], n)
				}
			}
		}
	})
	for _, n := range r.byName[strings.ToLower(name)] {
		if i := r.Instances[n]; goesBy(&i, name, by) {
			found = append(found, i)
		}
	}
	return found
}

func goesBy(i *policies.Instance, name string, by []InstanceKey) bool {
	return slices.ContainsFunc(by, func(k InstanceKey) bool {
		switch k {
		case ByID:
			return strings.EqualFold(i.ID, name)
		case ByHostname:
			return strings.EqualFold(i.Hostname, name)
		case ByPrivateIP:
			return i.PrivateIP == name
		case ByPublicIP:
			return i.PublicIP == name
		}
		return false
	})
}

// hostOf is the host in what a source writes: web-1, web-1:9100, [fd00::7]:9100,
// http://web-1:8080/healthz.
func hostOf(name string) string {
	if strings.Contains(name, "://") {
		if u, err := url.Parse(name); err == nil && u.Hostname() != "" {
			return u.Hostname()
		}
	}
	if host, _, err := net.SplitHostPort(name); err == nil && host != "" {
		name = host
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	if ip, err := netip.ParseAddr(name); err == nil {
		return ip.Unmap().String()
	}
	return name
}

// refuseSignal stores why a signal is not taken: once for the same signal.
func (w *Worker) refuseSignal(ctx context.Context, s *events.Signal, t Taken) error {
	trigger := t.Trigger
	if trigger == "" { // no stored message has given it a number
		trigger = "sig-" + events.TokenOf(s.Source, t.Signal, t.Reason, t.Detail)
	}
	outcome := events.Skipped
	if t.Reason == string(policies.ReasonInvalid) {
		outcome = events.Failed
	}
	rec := events.Record{
		ActionID: policies.ActionID(trigger, 0, events.None, "plan"), Action: "plan", Outcome: outcome, Reason: t.Reason, Detail: t.Detail,
		Trigger: trigger, Who: s.Source, Region: events.None, Instance: events.None, Planned: w.o.Clock.Now(),
	}
	stored, err := w.bus.PublishOutcome(ctx, rec)
	if err == nil && stored {
		w.o.Log.Warn("signal refused", zap.String("source", s.Source), zap.String(keyTrigger, trigger), zap.String(keyDetail, t.Detail))
	}
	return err
}

// NotReady is why the daemon is not ready; empty: it is.
func (w *Worker) NotReady(ctx context.Context) (why []string) {
	if !w.ready.Load() {
		why = append(why, "not started yet, or stopping")
	}
	if err := w.bus.Ready(ctx); err != nil {
		why = append(why, err.Error())
	} else if err := w.wall.fault(); err != nil {
		why = append(why, err.Error())
	}
	return why
}

func namesOf(all []policies.Instance) string {
	var words []string
	for _, i := range all[:min(len(all), 5)] {
		words = append(words, fmt.Sprintf("%s (%s, %s)", i.Hostname, i.Region, i.ID))
	}
	if len(all) > 5 {
		words = append(words, "…")
	}
	return strings.Join(words, ", ")
}

func policyNames(all []*policies.Policy) string {
	var names []string
	for _, p := range all {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

func join(keys []InstanceKey) string {
	var words []string
	for _, k := range keys {
		words = append(words, string(k))
	}
	return strings.Join(words, ", ")
}

// clip bounds a text of somebody else's.
func clip(s string) string {
	if len(s) <= maxName {
		return strings.ToValidUTF8(s, "�")
	}
	return strings.ToValidUTF8(s[:maxName], "�") + "…"
}
