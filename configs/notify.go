package configs

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"nightshift/policies"
)

// Target is who is told of something, over a webhook.
type Target struct {
	Name  string
	URL   Secret // or
	Env   string // the variable that holds it, or
	File  string // the file that holds it
	Form  string
	About []string
}

func (h *HTTP) set(s string) error {
	h.URL = strings.TrimRight(s, "/")
	return checkPublicURL(s)
}

// Secret is a text that no log, error or dump shows.
type Secret string

const hidden = "(secret)"

// String, GoString, MarshalText and Format keep the text to itself.
func (s Secret) String() string { return hidden }

// GoString is for %#v.
func (s Secret) GoString() string { return hidden }

// MarshalText is for JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Format is for every verb of fmt, %x and %d too.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }

// Reveal is the text itself, for the one who needs it.
func (s Secret) Reveal() string { return string(s) }

// Words of notify.
var (
	forms  = []string{"slack", "json", "cloudevents"}
	abouts = []string{"held", "failed", "warn"}
)

// DefaultForm is what a target gets that asks for no other.
const DefaultForm = "json"

var (
	errNoWebhook = errors.New("the address of a webhook is of the form https://host/path (it is a secret, and not repeated here)")
	envForm      = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// CheckWebhook says whether a text can be the address of a webhook, without
// repeating it.
func CheckWebhook(s string) error {
	if u, err := url.Parse(s); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return errNoWebhook
	}
	return nil
}

// readNotify reads the targets. It comes before the policies: they name them. An
// address is a secret, and may stand where something else is meant: faults here
// repeat no value.
func (r *reader) readNotify(n *yaml.Node, path string) {
	n = deref(n)
	if n.Kind != yaml.MappingNode {
		r.fault(n, path, "write it as name: { webhook_env: TEAM_CHAT_WEBHOOK }", "this is not a mapping of names to targets")
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		kn, vn := n.Content[i], deref(n.Content[i+1])
		name := kn.Value
		sub := join(path, name)
		switch {
		case !nameForm.MatchString(name):
			r.fault(kn, path, "names are [a-z0-9-], at most 64", "this is not the name of a target")
			continue
		case slices.ContainsFunc(r.cfg.Notify, func(t Target) bool { return t.Name == name }):
			r.fault(kn, sub, "", "the target stands twice")
			continue
		case vn.Kind != yaml.MappingNode:
			r.fault(vn, sub, "write it as { webhook_env: TEAM_CHAT_WEBHOOK, form: slack }", "a target is a mapping")
			continue
		}
		r.cfg.Notify = append(r.cfg.Notify, r.readTarget(vn, sub, name))
	}
}

func (r *reader) readTarget(n *yaml.Node, path, name string) Target {
	t := Target{Name: name, Form: DefaultForm, About: abouts}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if k := n.Content[i]; strings.Contains(k.Value, "/") {
			r.fault(k, path, "a blank follows the colon: webhook: \"https://…\"", "an address stands where a key is expected")
			return t
		}
	}
	word := func(into *string, words []string) func(*yaml.Node, string) {
		return func(n *yaml.Node, path string) {
			if s, ok := r.text(n, path); ok {
				if *into = s; !slices.Contains(words, s) {
					r.fault(n, path, strings.Join(words, ", "), "this is none of the words that can stand here")
				}
			}
		}
	}
	seen := r.mapping(n, path, &targetShape, keys{
		"webhook": r.str((*string)(&t.URL), CheckWebhook),
		"webhook_env": r.str(&t.Env, func(s string) error {
			switch {
			case !envForm.MatchString(s):
				return errors.New("this is not the name of a variable")
			case strings.HasPrefix(s, "NIGHTSHIFT_"):
				return errors.New("variables that begin with NIGHTSHIFT_ set keys of this file: choose another name")
			}
			return nil
		}),
		"webhook_file": r.str(&t.File, func(s string) error {
			if err := checkFilled(s); err != nil {
				return err
			}
			if strings.Contains(s, "://") {
				return errors.New("this is an address, not a path: it belongs to webhook")
			}
			return nil
		}),
		"form": word(&t.Form, forms),
		"about": func(n *yaml.Node, path string) {
			t.About = nil
			before := len(r.faults)
			r.each(n, path, func(n *yaml.Node, sub string) {
				var s string
				word(&s, abouts)(n, sub)
				t.About = append(t.About, s)
			})
			if len(r.faults) > before {
				t.About = abouts // so that its users are not faulted too
			}
		},
	})
	r.misses(n, path, &targetShape, seen)
	return t
}

// targets reads names of targets.
func (r *reader) targets(into *[]string, about string) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		r.each(n, path, func(n *yaml.Node, sub string) {
			name, ok := r.text(n, sub)
			if !ok {
				return
			}
			i := slices.IndexFunc(r.cfg.Notify, func(t Target) bool { return t.Name == name })
			switch {
			case i < 0:
				var names []string
				for _, t := range r.cfg.Notify {
					names = append(names, t.Name)
				}
				r.unknown(n, sub, name, "target", "notify", names)
			case about != "" && !slices.Contains(r.cfg.Notify[i].About, about):
				r.fault(n, sub, "add "+about+" to notify."+name+".about", "%s is not told of this: its about lists other things", name)
			case slices.Contains(*into, name):
				r.fault(n, sub, "", "%s stands twice", name)
			}
			*into = append(*into, name)
		})
	}
}

func (r *reader) readWarn(n *yaml.Node, path string) *policies.Warn {
	w := &policies.Warn{}
	seen := r.mapping(n, path, &warnShape, keys{"before": r.duration(&w.Before), "to": r.targets(&w.To, "warn")})
	r.misses(n, path, &warnShape, seen)
	if w.Before > maxWarn {
		r.fault(seen["before"], join(path, "before"), "at most "+policies.SpanWords(maxWarn), "%s is so long before that it says nothing", policies.SpanWords(w.Before))
	}
	return w
}

func checkPublicURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("this is not an address of the form https://host, without user, ? and #")
	}
	return nil
}
