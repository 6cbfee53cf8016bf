package policies

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Order says in which order the instances of one run start: those of the first
// stage, and once they are ready those of the next. When they stop it is the
// other way round.
type Order struct {
	Name string
	// Per is the key of a tag: instances whose tag has the same value are a group,
	// and only those of one group wait for each other. Those without the tag are a
	// group, too. Empty: all are one group.
	Per    string
	Stages []OrderStage
}

// OrderStage is one stage of an order. An instance belongs to the first stage
// that selects it.
type OrderStage struct {
	Select   Selector
	Ready    Ready         // when it starts
	Deadline time.Duration // machine time; the next stage goes on then. 0: DefaultStageDeadline
}

// DefaultStageDeadline is how long a stage may take (machine time).
const DefaultStageDeadline = 10 * time.Minute

// Ready is how a started instance shows that it is up, beside its status. The
// zero Ready asks for nothing more.
type Ready struct {
	TCP     int    // a port that takes a connection; or
	HTTP    string // a port and a path, :8080/healthz, that answer with 2xx or 3xx
	Private bool   // at its private address; else at its public one, where it has one
}

// Pace bounds how fast the actions of one run begin. The zero Pace bounds nothing.
type Pace struct {
	AtOnce int           // so many are under way, from the call until its effect is seen; 0: no bound
	Apart  time.Duration // from the beginning of one to that of the next; machine time
}

// IsZero reports whether a pace bounds nothing.
func (p Pace) IsZero() bool { return p == Pace{} }

// Place is where an instance stands in an order. The zero Place is in none.
type Place struct {
	Order *Order
	Group string // the tag that makes the group, project=shop, or "no project"; empty: the order has no per
	Stage int    // index in Order.Stages
}

// PlaceOf is where an instance stands: in the first order of the file one of
// whose stages selects it.
func (s *Set) PlaceOf(inst Instance) Place { return s.placeOf(&inst) }

func (s *Set) placeOf(inst *Instance) Place {
	for i := range s.Orders {
		o := &s.Orders[i]
		for n := range o.Stages {
			if o.Stages[n].Select.matches(inst) {
				return Place{Order: o, Group: o.group(inst), Stage: n}
			}
		}
	}
	return Place{}
}

// group is the tag of an instance that makes its group; of several the first in
// the alphabet, so that it does not depend on the order of the tags.
func (o *Order) group(inst *Instance) string {
	tags := tagsOf(inst, o.Per)
	switch {
	case o.Per == "":
		return ""
	case len(tags) == 0:
		return "no " + o.Per // a tag has no blanks
	}
	return tags[0]
}

// tagsOf are the tags of an instance with a key, sorted.
func tagsOf(inst *Instance, key string) (tags []string) {
	for _, t := range inst.Tags {
		if key != "" && strings.HasPrefix(t, key+"=") {
			tags = append(tags, t)
		}
	}
	slices.Sort(tags)
	return tags
}

// Turn is when, counted from 1, a stage has its turn among those of its order:
// as they are written when instances start, in reverse when they stop. It is 0 for
// what waits for nobody.
func (p Place) Turn(verb Verb) int {
	switch {
	case p.Order == nil:
		return 0
	case verb == Stop:
		return len(p.Order.Stages) - p.Stage
	}
	return p.Stage + 1
}

// Words say where an action has its turn: "order shop (project=a), turn 1 of 2".
// They are empty where it has none.
func (p Place) Words(verb Verb) string {
	if p.Order == nil || KindOf(verb) != KindPower {
		return ""
	}
	return fmt.Sprintf("%s, turn %d of %d", p.name(), p.Turn(verb), len(p.Order.Stages))
}

func (p Place) name() string {
	if p.Group == "" {
		return "order " + p.Order.Name
	}
	return "order " + p.Order.Name + " (" + p.Group + ")"
}

// explain says what an instance waits for, and what waits for it.
func (p Place) explain() string {
	if p.Order == nil {
		return ""
	}
	last := len(p.Order.Stages) - 1
	var starts, stops string
	switch p.Stage {
	case 0:
		starts, stops = "it starts first", "stops last"
	case last:
		starts, stops = "it starts last", "stops first"
	default:
		starts, stops = fmt.Sprintf("it starts after stage %d", p.Stage), fmt.Sprintf("stops after stage %d", p.Stage+2)
	}
	words := fmt.Sprintf("%s, stage %d of %d: %s and %s", p.name(), p.Stage+1, last+1, starts, stops)
	if r := p.Order.Stages[p.Stage].Ready; r != (Ready{}) {
		words += "; started it is ready when " + r.String()
	}
	return words
}

// String says when an instance is ready.
func (r Ready) String() string {
	at := ""
	if r.Private {
		at = " at its private address"
	}
	if r.HTTP != "" {
		return r.HTTP + at + " answers"
	}
	return fmt.Sprintf("port %d%s answers", r.TCP, at)
}
