package configs

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"nightshift/policies"
)

var ports = bounds{1, 65535}

const (
	perForm  = `^tag:[^ \t\n,*?\[=]+$`
	pageForm = `^:[0-9]{1,5}(/\S*)?$`
)

const orderSuch = "{ name: shop, stages: [ { select: { all: [role=db] }, ready: { tcp: 5432 } }, { select: { all: [role=app] } } ] }"

var orderShape = shape{
	name: "order", the: "the order",
	about: "In which order the instances of one run start; they stop in the reverse of it. See [order](order.md).",
	such:  orderSuch,
	fields: []field{
		{name: "name", is: nameKind, needed: true, example: "shop",
			about: "Its name, in events and in `plan`."},
		{name: "per", is: text("`tag:` and the key of a tag", perForm), example: "tag:project",
			about: "Instances whose tag `<key>=<value>` is the same wait for each other, and for no others. Those without the tag are a group of their own. Default: all wait for each other."},
		{name: "stages", is: list(a(&stageShape)), needed: true, example: "[ { select: { all: [role=db] } }, { select: { all: [role=app] } } ]",
			about: "The stages, at least two, in the order in which they start. An instance belongs to the first that selects it."},
	},
}

var stageShape = shape{
	name: "stage", the: "the stage",
	about: "Some of the instances of an order. A stage is reached when each of them has its outcome and, having started, is ready.",
	such:  "{ select: { all: [role=db] }, ready: { tcp: 5432 } }",
	fields: []field{
		{name: "select", is: a(&selectorShape), needed: true, example: "{ all: [role=db] }",
			about: "Which instances."},
		{name: "ready", is: a(&readyShape), example: "{ tcp: 5432 }",
			about: "What a started instance answers to, once it is up. Default: it is ready when the API says `" + policies.StatusActive + "`."},
		{name: "deadline", is: duration(), clock: machineTime, standard: policies.SpanWords(policies.DefaultStageDeadline), example: "10m",
			about: "So long after the newest of its actions has begun the next stage goes on, reached or not. It does not pass while a canary, `limits.per_hour` or `pace` keeps one of them back. An event says so."},
	},
}

var readyShape = shape{
	name: "ready", the: "ready",
	about: "How it is seen that a started instance is up: a port that takes a connection, or a page over HTTP. The daemon asks, so it must be able to reach the address.",
	such:  `{ tcp: 5432 } or { http: ":8080/healthz" }`,
	one:   []string{"tcp", "http"},
	fields: []field{
		{name: "tcp", is: whole(ports), example: "5432", about: "A port that takes a connection."},
		{name: "http", is: text("`:port/path`", pageForm), example: `":8080/healthz"`,
			about: "A page that answers with 2xx or 3xx; a redirection is not followed."},
		{name: "address", is: oneOf("public", "private"), standard: "public", example: "private",
			about: "Which address of the instance is asked. An instance without a public one is asked at its private one."},
	},
}

var paceShape = shape{
	name: "pace", the: "pace",
	about: "How fast the actions of one run begin that start, stop, reboot or resize. What waits by it does not grow too old.",
	such:  "{ at_once: 5, apart: 30s }",
	some:  true,
	fields: []field{
		{name: "at_once", is: whole(anyCount), example: "5", about: "How many of a run are under way at once, from the call until its effect is seen. Default: no bound."},
		{name: "apart", is: duration(), clock: machineTime, example: "30s", about: "From the beginning of one action of a run to that of the next. Default: none."},
	},
}

func (r *reader) readPace(n *yaml.Node, path string) {
	p := &r.cfg.Policies.Pace
	r.misses(n, path, &paceShape, r.mapping(n, path, &paceShape, keys{"at_once": r.whole(&p.AtOnce, anyCount), "apart": r.duration(&p.Apart)}))
}

func (r *reader) readOrders(n *yaml.Node, path string) {
	named := make(map[string]int)
	r.each(n, path, func(n *yaml.Node, sub string) {
		o := r.readOrder(n, sub)
		if line, dup := named[o.Name]; dup && o.Name != "" {
			r.fault(n, sub+".name", "", "another order is called %s, in line %d", o.Name, line)
		}
		named[o.Name] = n.Line
		r.cfg.Policies.Orders = append(r.cfg.Policies.Orders, o)
	})
}

func (r *reader) readOrder(n *yaml.Node, path string) (o policies.Order) {
	seen := r.mapping(n, path, &orderShape, keys{
		"name": r.name(&o.Name),
		"per": func(n *yaml.Node, path string) {
			s, ok := r.text(n, path)
			if !ok {
				return
			}
			key, isTag := strings.CutPrefix(s, "tag:")
			if !isTag || !perKey.MatchString(s) {
				r.fault(n, path, "write it as tag:project, for tags such as project=shop", "%q is not tag: and the key of a tag", s)
				return
			}
			o.Per = key
		},
		"stages": func(n *yaml.Node, path string) {
			r.each(n, path, func(n *yaml.Node, sub string) { o.Stages = append(o.Stages, r.readStage(n, sub)) })
			if len(o.Stages) == 1 {
				r.fault(n, path, "such as "+orderSuch, "an order has at least two stages")
			}
		},
	})
	r.misses(n, path, &orderShape, seen)
	return o
}

var perKey = regexp.MustCompile(perForm)

func (r *reader) readStage(n *yaml.Node, path string) (s policies.OrderStage) {
	seen := r.mapping(n, path, &stageShape, keys{
		"select":   func(n *yaml.Node, path string) { s.Select = r.readSelector(n, path) },
		"ready":    func(n *yaml.Node, path string) { s.Ready = r.readReady(n, path) },
		"deadline": r.duration(&s.Deadline),
	})
	r.misses(n, path, &stageShape, seen)
	return s
}

func (r *reader) readReady(n *yaml.Node, path string) (ready policies.Ready) {
	seen := r.mapping(n, path, &readyShape, keys{
		"tcp": r.whole(&ready.TCP, ports),
		"http": func(n *yaml.Node, path string) {
			if s, ok := r.text(n, path); ok {
				if err := checkPage(s); err != nil {
					r.fault(n, path, `a port and a path, such as ":8080/healthz"; the address is the instance's`, "%v", err)
					return
				}
				ready.HTTP = s
			}
		},
		"address": func(n *yaml.Node, path string) {
			switch s, ok := r.text(n, path); {
			case !ok:
			case s != "public" && s != "private":
				r.fault(n, path, "public or private", "%q is no address of an instance", s)
			default:
				ready.Private = s == "private"
			}
		},
	})
	r.misses(n, path, &readyShape, seen)
	return ready
}

var pagePath = regexp.MustCompile(pageForm)

// checkPage checks the port and path of a page.
func checkPage(s string) error {
	port, _, _ := strings.Cut(strings.TrimPrefix(s, ":"), "/")
	n, err := strconv.Atoi(port)
	if !pagePath.MatchString(s) || err != nil || n < ports.least || n > ports.most {
		return fmt.Errorf("%q is not :port/path", s)
	}
	if _, err := url.Parse("http://192.0.2.1" + s); err != nil {
		return fmt.Errorf("%q is not :port/path: it has something that an address cannot have", s)
	}
	return nil
}
