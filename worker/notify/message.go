package notify

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"nightshift/events"
)

// Message is what people are told. Its JSON is the form json, and the data of the
// form cloudevents: fields are added to it, and none goes.
type Message struct {
	ID        string         `json:"id"`   // the same for the same message sent twice
	Kind      string         `json:"kind"` // held, failed, warn, notify
	Title     string         `json:"title"`
	Text      string         `json:"text"` // all of it, in lines; the first is the title
	Policy    string         `json:"policy,omitempty"`
	Run       string         `json:"run,omitempty"`     // its name: dev-hours@2026-11-27T19:00
	Trigger   string         `json:"trigger,omitempty"` // its id
	At        time.Time      `json:"at"`                // plan time: of the run, or of the stop that comes
	Until     time.Time      `json:"until,omitzero"`    // held: machine time
	Counts    map[string]int `json:"counts,omitempty"`  // failed: by outcome
	Instances []Instance     `json:"instances"`
	More      int            `json:"more,omitempty"`     // instances that are not listed
	Commands  []string       `json:"commands,omitempty"` // what one may do about it

	since time.Time // machine time of what is told
	notes []string  // lines beside title, instances and commands
}

// Instance is one that a message is about.
type Instance struct {
	ID       string `json:"id"`
	Hostname string `json:"hostname,omitempty"`
	Region   string `json:"region"`
	Action   string `json:"action,omitempty"`
	Outcome  string `json:"outcome,omitempty"`
	Reason   string `json:"reason,omitempty"`
	Postpone string `json:"postpone,omitempty"` // a link
	Until    string `json:"postpone_until,omitempty"`
}

// Bounds of a message.
const (
	maxInstances = 100 // listed at all
	maxLines     = 20  // of them in texts
	maxReason    = 300
	maxEdges     = 3 // in a run's name
)

func (m *Message) trigger() string { return cmp.Or(m.Trigger, m.Kind) }

// compose makes the message of an event, or says when to look again. No message:
// nobody need be told.
func (t *teller) compose(ctx context.Context, rec *events.Record) (m *Message, again time.Duration, err error) {
	switch {
	case rec.Outcome == events.Noticed && rec.Action == events.ActionRun:
		m, again, err = t.held(ctx, rec)
	case rec.Outcome == events.Noticed && rec.Action == events.ActionStage && rec.Reason == events.StageLate:
		m, err = t.late(ctx, rec)
	case rec.Outcome == events.Noticed && rec.Action == events.ActionWarn:
		m, err = t.warning(ctx, rec)
	case rec.Outcome == events.Done && rec.Action == events.ActionNotify:
		m = t.step(rec)
	case isFailed(rec.Outcome):
		m, again, err = t.failed(ctx, rec)
	}
	if m != nil {
		m.finish()
	}
	return m, again, err
}

func isFailed(o events.Outcome) bool {
	return o == events.Failed || o == events.Expired || o == events.Unknown
}

// held tells of a run that waits, once for all its regions.
func (t *teller) held(ctx context.Context, rec *events.Record) (*Message, time.Duration, error) {
	if age := time.Since(rec.StoredAt); age < gather {
		return nil, gather - age, nil
	}
	runs, err := t.n.bus.RunsOf(ctx, rec.Trigger)
	if err != nil {
		return nil, 0, err
	}
	runs = slices.DeleteFunc(runs, func(r events.Run) bool { return r.Held == "" })
	if len(runs) == 0 {
		return nil, 0, nil
	}
	m := &Message{ID: "held-" + rec.Trigger, Kind: Held, Policy: rec.Policy, Run: t.runName(&runs[0]), Trigger: rec.Trigger, At: runs[0].Planned, since: rec.StoredAt}
	n := 0
	for _, r := range runs {
		if r.HeldUntil.After(m.Until) {
			m.Until = r.HeldUntil
		}
		for _, it := range r.Items {
			m.add(Instance{ID: it.Instance, Hostname: it.Hostname, Region: it.Region, Action: it.Action})
			n++
		}
	}
	if !time.Now().Before(m.Until) {
		return nil, 0, nil // it is over
	}
	m.Title = fmt.Sprintf("%s waits for approval: %s, %s", m.Run, counted(n, "action"), runs[0].Held)
	m.notes = []string{"It expires at " + t.clock(m.Until) + "."}
	m.Commands = []string{"nightshift approve " + rec.Trigger}
	return m, 0, nil
}

// late tells at once of a stage that was not reached by its deadline: what comes
// after it begins now, without what it needs.
func (t *teller) late(ctx context.Context, rec *events.Record) (*Message, error) {
	runs, err := t.n.bus.RunsOf(ctx, rec.Trigger)
	if err != nil || len(runs) == 0 {
		return nil, err
	}
	m := &Message{ID: "late-" + rec.ActionID, Kind: Failed, Policy: rec.Policy, Run: t.runName(&runs[0]), Trigger: rec.Trigger, At: runs[0].Planned, since: rec.StoredAt}
	m.Title = m.Run + ": " + rec.Detail
	m.Commands = []string{"nightshift runs show " + rec.Trigger}
	return m, nil
}

// failed tells of a run that did not come to all that was wanted, once it has ended.
func (t *teller) failed(ctx context.Context, rec *events.Record) (m *Message, again time.Duration, err error) {
	if !t.watch(rec) {
		return nil, 0, nil // another event of the run waits for its end
	}
	defer func() {
		if err == nil && again == 0 {
			t.unwatch(rec)
		}
	}()
	runs, err := t.n.bus.RunsOf(ctx, rec.Trigger)
	if err != nil || len(runs) == 0 {
		return nil, 0, err // refused before there was a run: its sender knows
	}
	ends, err := t.ends(ctx, runs)
	if err != nil {
		return nil, 0, err
	}
	m = &Message{Kind: Failed, Policy: rec.Policy, Run: t.runName(&runs[0]), Trigger: rec.Trigger, At: runs[0].Planned, since: rec.StoredAt, Counts: make(map[string]int)}
	causes := make(map[string]map[string]int) // by outcome
	failed := 0
	for _, r := range runs {
		if r.Held != "" && !slices.ContainsFunc(r.Items, func(it events.Item) bool { _, ok := ends[it.ID]; return ok }) {
			continue // it waits for approval, which may take long
		}
		for _, it := range r.Items {
			end, ok := ends[it.ID]
			if !ok {
				return nil, lookAgain, nil
			}
			m.Counts[string(end.Outcome)]++
			if end.StoredAt.After(m.since) {
				m.since = end.StoredAt
			}
			if !isFailed(end.Outcome) {
				continue
			}
			failed++
			if causes[string(end.Outcome)] == nil {
				causes[string(end.Outcome)] = make(map[string]int)
			}
			causes[string(end.Outcome)][end.Reason]++
			m.add(Instance{ID: it.Instance, Hostname: it.Hostname, Region: it.Region, Action: it.Action, Outcome: string(end.Outcome),
				Reason: short(cmp.Or(end.Error, end.Reason, end.Detail))})
		}
	}
	if failed == 0 {
		return nil, 0, nil
	}
	m.ID = fmt.Sprintf("failed-%s-%d", rec.Trigger, failed) // a region that comes late is told of anew
	m.Title = m.Run + ": " + sumUp(m.Counts, causes)
	m.Commands = []string{"nightshift runs show " + rec.Trigger, "nightshift retry " + rec.Trigger}
	return m, 0, nil
}

// watch lets one event of a run wait for its end. The others are done with: this
// one is not acknowledged before, so a restart finds it again.
func (t *teller) watch(rec *events.Record) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if seq, ok := t.watched[rec.Trigger]; ok && seq != rec.Seq {
		return false
	}
	t.watched[rec.Trigger] = rec.Seq
	return true
}

func (t *teller) unwatch(rec *events.Record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.watched, rec.Trigger)
}

// ends are the outcomes of the actions of some plans, by action.
func (t *teller) ends(ctx context.Context, runs []events.Run) (map[string]events.Record, error) {
	since := runs[0].StoredAt
	own := make(map[string]bool)
	for _, r := range runs {
		if r.StoredAt.Before(since) {
			since = r.StoredAt
		}
		for _, it := range r.Items {
			own[it.ID] = true
		}
	}
	ends := make(map[string]events.Record)
	for rec, err := range t.n.bus.Records(ctx, "", since.Add(-time.Minute)) {
		if err != nil {
			return nil, err
		}
		if own[rec.ActionID] && rec.Outcome.Ends() {
			ends[rec.ActionID] = rec
		}
	}
	return ends, nil
}

// sumUp says how a run ended: "34 done, 3 failed: capacity". A skip that was meant
// is at the end.
func sumUp(counts map[string]int, causes map[string]map[string]int) string {
	order := []string{string(events.Done), string(events.Failed), string(events.Expired), string(events.Unknown)}
	for _, o := range slices.Sorted(maps.Keys(counts)) {
		if !slices.Contains(order, o) {
			order = append(order, o)
		}
	}
	var parts []string
	for _, o := range order {
		if counts[o] == 0 {
			continue
		}
		part := fmt.Sprintf("%d %s", counts[o], o)
		var why []string
		for _, cause := range slices.Sorted(maps.Keys(causes[o])) {
			if cause == "" {
				continue
			}
			if n := causes[o][cause]; n < counts[o] {
				cause = fmt.Sprintf("%d %s", n, cause)
			}
			why = append(why, cause)
		}
		if len(why) > 0 {
			part += ": " + strings.Join(why, " and ")
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}

// warning tells of a stop that comes, with a link for each instance.
func (t *teller) warning(ctx context.Context, rec *events.Record) (*Message, error) {
	now := t.n.now()
	if !now.Before(rec.Planned) {
		return nil, nil // it has come
	}
	m := &Message{ID: "warn-" + rec.ActionID, Kind: Warn, Policy: rec.Policy, At: rec.Planned, since: rec.StoredAt}
	m.Title = fmt.Sprintf("%s stops %s at %s, in %s", rec.Policy, counted(rec.Count, "instance"), t.clock(rec.Planned), minutes(rec.Planned.Sub(now)))
	for _, i := range rec.About {
		inst := Instance{ID: i.Instance, Hostname: i.Hostname, Region: i.Region}
		if t.settings.PublicURL != "" && !rec.Postpone.IsZero() {
			key, err := t.n.signingKey(ctx)
			if err != nil {
				return nil, err
			}
			l := link{instance: i.Instance, region: i.Region, until: rec.Postpone, expires: rec.Planned.Add(linkGrace)}
			inst.Postpone, inst.Until = t.settings.PublicURL+l.path(key), t.clock(l.until)
		}
		m.add(inst)
	}
	m.More += rec.Count - len(rec.About)
	if len(rec.About) > 0 {
		until := cmp.Or(rec.Postpone, rec.Planned.Add(time.Hour)).In(t.zone()).Format("2006-01-02T15:04")
		m.Commands = []string{fmt.Sprintf("nightshift keep %s running --until %s", rec.About[0].Instance, until)}
	}
	return m, nil
}

// step tells what a step of a trigger says.
func (t *teller) step(rec *events.Record) *Message {
	m := &Message{ID: "notify-" + rec.ActionID, Kind: Step, Policy: rec.Policy, Trigger: rec.Trigger, At: rec.Planned, since: rec.StoredAt}
	m.add(Instance{ID: rec.Instance, Hostname: rec.Hostname, Region: rec.Region})
	m.Title = fmt.Sprintf("%s: %s needs somebody: %s", rec.Policy, cmp.Or(rec.Hostname, rec.Instance), rec.Why)
	if rec.Before != "" {
		m.notes = []string{"It was " + rec.Before + " when the signal came."}
	}
	m.Commands = []string{"nightshift explain " + rec.Instance}
	return m
}

func (m *Message) add(i Instance) {
	if len(m.Instances) == maxInstances {
		m.More++
		return
	}
	i.Region = strings.ToUpper(i.Region)
	m.Instances = append(m.Instances, i)
}

// finish writes the text.
func (m *Message) finish() {
	if m.Instances == nil {
		m.Instances = []Instance{}
	}
	lines := append([]string{m.Title}, m.notes...)
	for _, i := range m.listed() {
		line := "- " + i.words()
		if i.Postpone != "" {
			line += "; keep it running until " + i.Until + ": " + i.Postpone
		}
		lines = append(lines, line)
	}
	if more := m.unlisted(); more > 0 {
		lines = append(lines, fmt.Sprintf("- and %d more", more))
	}
	m.Text = strings.Join(append(lines, m.Commands...), "\n")
}

// listed are the instances that texts name.
func (m *Message) listed() []Instance { return m.Instances[:min(len(m.Instances), maxLines)] }

func (m *Message) unlisted() int { return m.More + len(m.Instances) - len(m.listed()) }

// words are an instance with what was to be done and what became of it.
func (i *Instance) words() string {
	w := cmp.Or(i.Hostname, i.ID) + " (" + i.Region + ")"
	if i.Action != "" {
		w += ": " + i.Action
	}
	if i.Outcome != "" {
		w += " " + i.Outcome
	}
	if i.Reason != "" {
		w += ", " + i.Reason
	}
	return w
}

// runName is what a run is called: its edges, or its trigger.
func (t *teller) runName(run *events.Run) string {
	var names []string
	for _, e := range run.Edges {
		at := strings.LastIndexByte(e, '@')
		if at < 0 {
			continue
		}
		if unix, err := strconv.ParseInt(e[at+1:], 10, 64); err == nil {
			names = append(names, strings.TrimPrefix(e[:at], "_")+"@"+time.Unix(unix, 0).In(t.zone()).Format("2006-01-02T15:04"))
		}
	}
	switch {
	case len(names) == 0:
		return run.Origin()
	case len(names) > maxEdges:
		names = append(names[:maxEdges], fmt.Sprintf("and %d more", len(names)-maxEdges))
	}
	return strings.Join(names, " ")
}

func (t *teller) zone() *time.Location { return cmp.Or(t.settings.Zone, time.UTC) }

func (t *teller) clock(at time.Time) string {
	return at.In(t.zone()).Format("Mon 2006-01-02 15:04 MST")
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// minutes is a span as people say it.
func minutes(d time.Duration) string {
	switch m := int(d.Round(time.Minute) / time.Minute); {
	case m < 1:
		return "less than a minute"
	case m > 90:
		return fmt.Sprintf("%d h %d min", m/60, m%60)
	default:
		return counted(m, "minute")
	}
}

// short is a text that fits a line.
func short(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > maxReason {
		return string(r[:maxReason]) + "…"
	}
	return s
}
