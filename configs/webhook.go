package configs

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"

	"go.yaml.in/yaml/v3"

	"nightshift/policies"
)

// HTTP says where the daemon answers over HTTP, and how it is reached.
type HTTP struct {
	Listen string // host:port, or none
	URL    string // from outside, without a slash at its end; empty: links are not offered
}

// Webhook is a source of signals over HTTP. The secret itself is never here.
type Webhook struct {
	Source        string
	Form          string   // one of WebhookForms
	SecretFile    string   // beside the policy file, or absolute
	SecretEnv     string   // at most one of the two; neither: no secret
	Signature     string   // one of WebhookSignatures
	Policies      []string // that it may trigger
	InstanceLabel string   // alertmanager: which label names the instance
	RegionLabel   string   // alertmanager: which label names the region; empty: none does
	InstanceIs    []string // what such a name may be, of WebhookInstanceIs
	Map           *policies.Mapping

	place Fault // where it stands in the file
}

// What a webhook may be.
var (
	WebhookForms      = []string{"alertmanager", "cloudevents", "json"}
	WebhookSignatures = []string{"bearer", "github", "civo", "none"}
	WebhookInstanceIs = []string{"id", "hostname", "private_ip", "public_ip"}
)

// Defaults of the file.
const (
	DefaultHTTPListen    = "127.0.0.1:8422"
	DefaultInstanceLabel = "instance"
)

func (r *reader) readHTTP(n *yaml.Node, path string) {
	seen := r.mapping(n, path, &httpShape, keys{"listen": r.str(&r.cfg.HTTP.Listen, checkListen), "url": r.str(new(string), r.cfg.HTTP.set)})
	if seen != nil && r.cfg.HTTP.Listen == "" {
		r.cfg.HTTP.Listen = DefaultHTTPListen
	}
}

func (r *reader) readWebhooks(n *yaml.Node, path string) {
	n = deref(n)
	if n.Kind != yaml.MappingNode {
		r.fault(n, path, "such as webhooks: { alerts: "+webhookShape.such+" }", "%s is not a mapping", describeNode(n))
		return
	}
	lines := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		kn := deref(n.Content[i])
		name, sub := kn.Value, join(path, kn.Value)
		if line, dup := lines[name]; dup {
			r.fault(kn, sub, "", "the webhook stands twice, first in line %d", line)
			continue
		}
		lines[name] = kn.Line
		if !nameForm.MatchString(name) {
			r.fault(kn, sub, "use a-z, 0-9 and -, at most 64", "%q is not a name", name)
		}
		r.readWebhook(kn, n.Content[i+1], sub, name)
	}
}

func (r *reader) readWebhook(kn, n *yaml.Node, path, name string) {
	w := Webhook{Source: name, InstanceLabel: DefaultInstanceLabel, place: Fault{File: r.file, Line: kn.Line, Col: kn.Column, Path: path}}
	among := func(into *string, values []string) func(*yaml.Node, string) {
		return r.str(into, func(s string) error {
			if !slices.Contains(values, s) {
				return fmt.Errorf("%q is none of %s", s, listed(values))
			}
			return nil
		})
	}
	seen := r.mapping(n, path, &webhookShape, keys{
		"form": among(&w.Form, WebhookForms), "signature": among(&w.Signature, WebhookSignatures),
		"secret_file": r.str(&w.SecretFile, checkFilled), "secret_env": r.str(&w.SecretEnv, func(s string) error {
			if !envForm.MatchString(s) { // it may be the secret itself: it is not repeated
				return errors.New("it is not the name of a variable of the environment")
			}
			return nil
		}),
		"policies":       r.texts(&w.Policies, nil),
		"instance_label": r.str(&w.InstanceLabel, checkFilled), "region_label": r.str(&w.RegionLabel, checkFilled),
		"instance_is": r.texts(&w.InstanceIs, func(s string) error {
			if !slices.Contains(WebhookInstanceIs, s) {
				return fmt.Errorf("%q is none of %s", s, listed(WebhookInstanceIs))
			}
			return nil
		}),
		"map": func(n *yaml.Node, path string) { w.Map = r.readMap(n, path) },
	})
	if seen == nil {
		return
	}
	r.misses(n, path, &webhookShape, seen)
	if w.SecretFile != "" && !filepath.IsAbs(w.SecretFile) {
		w.SecretFile = filepath.Join(filepath.Dir(r.file), w.SecretFile)
	}
	r.checkWebhook(path, &w, seen)
	r.cfg.Webhooks = append(r.cfg.Webhooks, w)
}

// checkWebhook finds keys that do not go together, and fills in the defaults.
func (r *reader) checkWebhook(path string, w *Webhook, seen map[string]*yaml.Node) {
	hasSecret := seen["secret_file"] != nil || seen["secret_env"] != nil
	switch {
	case seen["secret_file"] != nil && seen["secret_env"] != nil:
		r.fault(seen["secret_env"], join(path, "secret_env"), "", "the secret is in secret_file or in secret_env, not in both")
	case hasSecret && w.Signature == "none":
		r.fault(seen["signature"], join(path, "signature"), "leave it out, or the secret", "signature none says that nothing is secret, and there is a secret")
	case !hasSecret && w.Signature != "" && w.Signature != "none":
		r.fault(seen["signature"], join(path, "signature"), "name a file with secret_file, or a variable with secret_env", "a signature needs a secret")
	case w.Signature == "" && hasSecret:
		w.Signature = "bearer"
	case w.Signature == "":
		w.Signature = "none"
	}
	if w.Form != "" && w.Form != "alertmanager" {
		for _, key := range []string{"instance_label", "region_label"} {
			if seen[key] != nil {
				r.fault(seen[key], join(path, key), "", "%s goes with form alertmanager only", key)
			}
		}
	}
	if w.Form == "alertmanager" && seen["map"] != nil {
		r.fault(seen["map"], join(path, "map"), "use form json for an alert of another form", "form alertmanager needs no map")
	}
	if len(w.InstanceIs) == 0 {
		w.InstanceIs = slices.Clone(WebhookInstanceIs)
	}
}

func (r *reader) readMap(n *yaml.Node, path string) *policies.Mapping {
	parts := make(map[string]*policies.MappingExpr)
	read := make(keys)
	for _, key := range policies.MappingKeys {
		read[key] = func(n *yaml.Node, path string) {
			text, ok := r.text(n, path)
			if !ok {
				return
			}
			program, err := policies.ParseMappingExpr(key, text)
			if err != nil {
				hint := "the names are " + code(policies.MappingVars)
				r.fault(n, path, hint, "%v", err)
				return
			}
			parts[key] = program
		}
	}
	seen := r.mapping(n, path, &mapShape, read)
	r.misses(n, path, &mapShape, seen)
	if seen["load"] != nil && seen["value"] == nil {
		r.fault(seen["load"], path, "", "a load needs a value")
	}
	return policies.NewMapping(parts)
}

// checkSources finds policies of webhooks that there are none of, or that no
// signal triggers, and binds each source to its own.
func (r *reader) checkSources() {
	set := &r.cfg.Policies
	for i := range r.cfg.Webhooks {
		w := &r.cfg.Webhooks[i]
		if set.Sources == nil {
			set.Sources = make(map[string][]string)
		}
		set.Sources[w.Source] = w.Policies
		at := w.place
		for j, name := range w.Policies {
			p, ok := set.Policy(name)
			at.Path = fmt.Sprintf("%s.policies[%d]", w.place.Path, j)
			switch at.Hint = ""; {
			case !ok && r.named[name].line == 0:
				at.Msg = fmt.Sprintf("there is no policy %q", name)
				if near := nearest(name, slices.Sorted(maps.Keys(r.named))); near != "" {
					at.Hint = "did you mean " + near + "?"
				}
			case ok && p.Signal == nil:
				at.Msg = fmt.Sprintf("policy %s has no trigger, so no signal can trigger it", name)
			default:
				continue
			}
			r.faults = append(r.faults, at)
		}
	}
	if len(r.cfg.Webhooks) > 0 && r.cfg.HTTP.Listen == "" {
		r.cfg.HTTP.Listen = DefaultHTTPListen
	}
}

// exposed are the webhooks without a secret that others than this machine reach.
func (c *Config) exposed() (faults Faults) {
	if c.HTTP.Listen == "" || c.HTTP.Listen == "none" || IsLoopback(c.HTTP.Listen) {
		return nil
	}
	for _, w := range c.Webhooks {
		if w.Signature == "none" {
			at := w.place
			at.Msg = fmt.Sprintf("the webhook has no secret, and http.listen %s is reached from beyond this machine", c.HTTP.Listen)
			at.Hint = "give it a secret (secret_file or secret_env), or listen on " + DefaultHTTPListen
			faults = append(faults, at)
		}
	}
	return faults
}

// IsLoopback reports whether an address to listen on is reached from this machine
// only.
func IsLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}
