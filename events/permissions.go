package events

import (
	"fmt"
	"slices"
	"strings"
)

// Role is what a user of NATS is to nightshift.
type Role string

// The roles.
const (
	Worker      Role = "worker"      // the daemon
	Commander   Role = "commander"   // acts through the daemon, under a name
	Observer    Role = "observer"    // watches and asks
	Provisioner Role = "provisioner" // runs nightshift nats setup, and nightshift backup
)

// Roles are all of them.
var Roles = []Role{Worker, Commander, Observer, Provisioner}

// Scope bounds a role.
type Scope struct {
	Who     string   // the user; needed for a commander, else the role's name by default
	Regions []string // commander: of the instances; empty: all
	Actions []string // commander: empty: all
	Manage  bool     // commander: also what is not bound to a region or action: approvals, keeps, pauses
	Publish bool     // commander: also plain publish, without asking
	History bool     // observer: also what is stored of events
}

// Grant is the least that a user of a role must be allowed.
type Grant struct {
	Role      Role     `json:"role"`
	User      string   `json:"user"`
	Inbox     string   `json:"inbox"` // where its answers come
	Publish   []string `json:"publish"`
	Subscribe []string `json:"subscribe"`
}

// Questions of the control service by what they do. Those that change something
// end with the name of who asks, <question>.<who>, so that the server's permissions
// vouch for it, as for do.<who>.<region>.<instance>.<action> and
// run.<who>.<region>.<action>.
var (
	asking   = []string{"status", "find", "plan", "check", "inventory", "explain", "runs", "dead", "unsettled", "account"}
	managing = []string{"approve", "retry", "undo", "keep", "pause", "resume", "dead-retry", "dead-drop", "settle", "account-accept"}
)

// Permissions are the rights that a role needs, and no more. None but the worker
// and the provisioner may publish where NATS itself answers: NATS would send its
// answer to any subject that the user names (see reflect.go). The worker may
// answer to inboxes only, for the same reason.
func Permissions(role Role, s Scope) (Grant, error) {
	if s.Who == "" && role != Commander {
		s.Who = string(role)
	}
	if !isToken(s.Who) {
		return Grant{}, fmt.Errorf("who %q: a %s has a name of a-z, 0-9 and -, at most %d", s.Who, role, maxToken)
	}
	g := Grant{Role: role, User: s.Who, Inbox: InboxOf(s.Who)}
	g.Subscribe = []string{g.Inbox + ".>"}
	var err error
	switch role {
	case Worker:
		g.worker()
	case Commander:
		err = g.commander(s)
	case Observer:
		g.observer(s)
	case Provisioner:
		g.provisioner()
	default:
		err = fmt.Errorf("%q is no role: worker, commander, observer or provisioner", role)
	}
	return g, err
}

func (g *Grant) may(subjects ...string)  { g.Publish = append(g.Publish, subjects...) }
func (g *Grant) hear(subjects ...string) { g.Subscribe = append(g.Subscribe, subjects...) }

func (g *Grant) worker() {
	g.may("_INBOX.>")
	for _, kind := range []string{"tick", "cmd", "sig", "run", "evt", "dlq"} {
		g.may(prefix + kind + ".>")
	}
	g.may("$KV."+Bucket+".>", "$JS.API.INFO", beatSubject)
	for _, stream := range allStreams {
		g.may("$JS.API.STREAM.INFO."+stream, "$JS.API.DIRECT.GET."+stream, "$JS.API.DIRECT.GET."+stream+".>")
	}
	g.may("$JS.API.STREAM.MSG.DELETE." + StreamDLQ) // dead letters that are dropped
	for _, c := range durables {
		of := c.stream + "." + c.name
		g.may("$JS.API.CONSUMER.INFO."+of, "$JS.API.CONSUMER.MSG.NEXT."+of, "$JS.ACK."+of+".>", "$JS.ACK.*.*."+of+".>")
	}
	// What is remembered is followed by a consumer of its own, made each time.
	g.may("$JS.API.CONSUMER.CREATE."+bucketStream+".>", "$JS.API.CONSUMER.DELETE."+bucketStream+".>", "$JS.API.CONSUMER.INFO."+bucketStream+".>", "$JS.FC."+bucketStream+".>")
	// So are the plans of other replicas, and what people are told of.
	for _, stream := range []string{StreamRun, StreamEvt} {
		for _, op := range []string{"CREATE", "INFO", "MSG.NEXT", "DELETE"} {
			g.may("$JS.API.CONSUMER." + op + "." + stream + ".>")
		}
	}
	g.may("$JS.ACK."+StreamEvt+".>", "$JS.ACK.*.*."+StreamEvt+".>")
	g.ask("find")
	g.may(ctlSubject("keep", DefaultWho)) // by the link in a warning
	g.hear(prefix+"ctl.>", beatSubject, "$SRV.*", "$SRV.*.nightshift", "$SRV.*.nightshift.*")
}

func (g *Grant) commander(s Scope) error {
	regions, actions := s.Regions, s.Actions
	if len(regions) == 0 {
		regions = []string{"*"}
	}
	if len(actions) == 0 {
		actions = []string{"*"}
	}
	for _, region := range regions {
		region = strings.ToLower(region)
		if region != "*" && !isToken(region) {
			return fmt.Errorf("region %q cannot stand in a subject", region)
		}
		for _, action := range actions {
			if action != "*" && !commandActions[action] {
				return fmt.Errorf("action %q is none of start, stop, reboot, resize, retag, firewall", action)
			}
			g.may(ctlSubject("do", s.Who+"."+region+".*."+action), RunQuestion(s.Who, region, action))
			if s.Publish {
				g.may(CommandSubject(s.Who, region, "*", action))
			}
		}
	}
	g.ask(asking...)
	if s.Manage {
		for _, q := range managing {
			g.may(ctlSubject(q, s.Who))
		}
	}
	g.hear(EvtAll)
	return nil
}

func (g *Grant) ask(questions ...string) {
	for _, q := range questions {
		g.may(ctlSubject(q, ""))
	}
}

func (g *Grant) observer(s Scope) {
	for _, verb := range []string{"PING", "INFO", "STATS"} {
		g.may("$SRV."+verb, "$SRV."+verb+".nightshift", "$SRV."+verb+".nightshift.*")
	}
	g.ask(asking...)
	if s.History {
		g.may("$JS.API.STREAM.INFO."+StreamEvt, "$JS.API.DIRECT.GET."+StreamEvt, "$JS.API.DIRECT.GET."+StreamEvt+".>")
		for _, op := range []string{"CREATE", "INFO", "MSG.NEXT", "DELETE"} {
			g.may("$JS.API.CONSUMER." + op + "." + StreamEvt + ".>")
		}
	}
	g.hear(EvtAll)
}

func (g *Grant) provisioner() {
	g.may("$JS.API.INFO")
	for _, stream := range allStreams {
		g.may("$JS.API.STREAM.INFO."+stream, "$JS.API.STREAM.CREATE."+stream, "$JS.API.STREAM.UPDATE."+stream)
		g.may("$JS.API.STREAM.SNAPSHOT."+stream, "$JS.API.DIRECT.GET."+stream, "$JS.API.DIRECT.GET."+stream+".>") // nightshift backup
	}
	g.may("$JS.SNAPSHOT.ACK.>")
	for _, c := range durables {
		of := c.stream + "." + c.name
		g.may("$JS.API.CONSUMER.INFO."+of, "$JS.API.CONSUMER.CREATE."+of, "$JS.API.CONSUMER.CREATE."+of+".>") // with a filter it stands there, too
	}
}

var (
	allStreams = []string{StreamIn, StreamRun, StreamEvt, StreamDLQ, bucketStream}
	durables   = []struct{ stream, name, filter string }{{StreamIn, durablePlanner, prefix + "tick.>"}, {StreamIn, durableCommands, prefix + "cmd.>"}, {StreamIn, durableSignals, prefix + "sig.>"}, {StreamRun, durableRunner, ""}}
)

// Consumers are the names of the durable consumers.
func Consumers() (names []string) {
	for _, d := range durables {
		names = append(names, d.name)
	}
	return names
}

// ServerConfig writes grants as a block of a NATS server's configuration. Users
// have an NKey where keys has one for their name, else a password from a variable
// of the server's environment.
func ServerConfig(grants []Grant, keys map[string]string) string {
	var b strings.Builder
	b.WriteString("authorization {\n  users = [\n")
	for _, g := range grants {
		fmt.Fprintf(&b, "    { # %s; answers come on %s\n", g.title(), g.Inbox)
		if key := keys[g.User]; key != "" {
			fmt.Fprintf(&b, "      nkey: %s\n", key)
		} else {
			fmt.Fprintf(&b, "      user: %q, password: $%s\n", g.User, PasswordVariable(g.User))
		}
		b.WriteString("      permissions: {\n")
		writeSubjects(&b, "publish", g.Publish)
		writeSubjects(&b, "subscribe", g.Subscribe)
		b.WriteString("      }\n    }\n")
	}
	b.WriteString("  ]\n}\n")
	return b.String()
}

func (g *Grant) title() string {
	if g.User == string(g.Role) {
		return g.User
	}
	return string(g.Role) + " " + g.User
}

// PasswordVariable is the variable of the server's environment with the password
// of a user.
func PasswordVariable(user string) string {
	return "NATS_PASSWORD_" + strings.ToUpper(strings.ReplaceAll(user, "-", "_"))
}

func writeSubjects(b *strings.Builder, verb string, subjects []string) {
	fmt.Fprintf(b, "        %s: [\n", verb)
	for _, s := range slices.Compact(slices.Clone(subjects)) {
		fmt.Fprintf(b, "          %q\n", s)
	}
	b.WriteString("        ]\n")
}
