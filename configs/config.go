package configs

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"nightshift/policies"
)

// Config is a checked configuration, with one plain section per part.
type Config struct {
	Policies policies.Set
	NATS     NATS
	Civo     Civo
	DataDir  string
	Workers  int
	Verify   Verify
	Notify   []Target // in the order of the file
	HTTP     HTTP
	Webhooks []Webhook
	Tests    []Test
	Revision string   // short hash of the texts of the file and of those that it names
	Files    []string // all that were read
	looks    looks
}

// NATS says where the bus is.
type NATS struct {
	URL                    string // of an external one; empty: embedded
	Creds, NKey, TokenFile string // files that show it who we are; at most one
	Token                  string // from the environment only
	TLSCA, TLSCert, TLSKey string // files
	Inbox                  string // beginning of the subjects of answers; empty: the worker's
	Listen                 string // of the embedded one: host:port, or none
	UsersFile              string // of the embedded one
	Replicas               int    // 0: by what is there
	EventsSize             Size   // bound of NS_EVT; 0: the default
}

// Civo says how the API is called.
type Civo struct {
	APIURL  string
	Rate    float64       // requests a second
	Timeout time.Duration // of one attempt, machine time
}

// Verify says how accepted calls are settled, in machine time.
type Verify struct{ Within, Settle, Apart time.Duration }

// Defaults of the file.
const (
	DefaultAPIURL  = "https://api.civo.com"
	DefaultDataDir = "./nightshift-data"
	DefaultFile    = "nightshift.yaml"

	DefaultNATSListen   = "127.0.0.1:4222"
	DefaultWorkers      = 8
	DefaultRate         = 5 // requests a second
	DefaultTimeout      = 30 * time.Second
	DefaultVerifyWithin = 10 * time.Minute
	DefaultVerifySettle = 2 * time.Minute
	DefaultVerifyApart  = 30 * time.Second
)

var errGlobTag = errors.New("a tag to add or remove is written out, without * ? [")

//go:embed example.yaml
var example []byte

// Example is the commented example file: what demo runs.
func Example() []byte { return slices.Clone(example) }

// Overrides are flags that win over environment and file; empty: not given.
type Overrides struct {
	DataDir, APIURL, NATSURL, NATSCreds, NATSListen, HTTPListen string
}

func defaults() *Config {
	return &Config{
		NATS:    NATS{Listen: DefaultNATSListen, EventsSize: defaultEventsSize},
		Civo:    Civo{APIURL: DefaultAPIURL, Rate: DefaultRate, Timeout: DefaultTimeout},
		DataDir: DefaultDataDir, Workers: DefaultWorkers,
		Verify: Verify{Within: DefaultVerifyWithin, Settle: DefaultVerifySettle, Apart: DefaultVerifyApart},
	}
}

// Parse reads a file's text, without the environment. What is wrong is returned
// as [Faults].
func Parse(name string, data []byte) (*Config, error) {
	c, err := parse(name, data, func(string) ([]byte, error) { return nil, errNoFiles }, func(string) ([]string, error) { return nil, errNoFiles })
	if err != nil {
		return nil, err
	}
	if faults := c.exposed(); len(faults) > 0 {
		return nil, faults
	}
	return c, nil
}

func parse(name string, data []byte, files func(string) ([]byte, error), glob func(string) ([]string, error)) (*Config, error) {
	return newReader(name, files, glob).config(data)
}

func newReader(name string, files func(string) ([]byte, error), glob func(string) ([]string, error)) *reader {
	return &reader{file: name, cfg: defaults(), files: files, glob: glob}
}

// config reads the text of the first file, and what it names.
func (r *reader) config(data []byte) (*Config, error) {
	if n := r.document(data); n != nil {
		r.top(deref(n))
	}
	if len(r.faults) > 0 {
		return nil, r.faults.sorted()
	}
	sum := sha256.Sum256(append(slices.Clone(data), r.read...))
	r.cfg.Revision = hex.EncodeToString(sum[:6])
	return r.cfg, nil
}

// Load reads the file at path, then the environment (as os.Environ gives it),
// then the flags. What is wrong is returned as [Faults].
func Load(path string, environ []string, over Overrides) (*Config, error) {
	var seen looks
	data, err := seen.read(path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("there is no policy file %s: nightshift init writes a first one, nightshift demo --print-config prints an example", path)
		}
		return nil, fmt.Errorf("read the policy file: %w", err)
	}
	read := []string{path}
	c, err := parse(path, data, func(name string) ([]byte, error) {
		read = append(read, name)
		return seen.read(name)
	}, seen.match)
	var faults Faults
	if err != nil && !errors.As(err, &faults) {
		return nil, err
	}
	if c == nil {
		c = defaults()
	}
	faults = append(faults, c.environment(environ)...)
	c.override(over)
	faults = append(faults, c.exposed()...)
	c.Files, c.looks = read, seen
	if len(faults) == 0 && len(c.Policies.Regions) == 0 {
		faults = append(faults, Fault{File: path, Line: 1, Col: 1, Path: "regions", Msg: "no region is named", Hint: "write regions: [LON1], or set CIVO_REGION"})
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return c, nil
}

func (c *Config) override(o Overrides) {
	for _, x := range []struct {
		into  *string
		value string
	}{{&c.DataDir, o.DataDir}, {&c.Civo.APIURL, o.APIURL}, {&c.NATS.URL, o.NATSURL}, {&c.NATS.Creds, o.NATSCreds}, {&c.NATS.Listen, o.NATSListen}, {&c.HTTP.Listen, o.HTTPListen}} {
		if x.value != "" {
			*x.into = x.value
		}
	}
}

// variables are those of the environment that set a value of the file.
func (c *Config) variables() map[string]func(string) error {
	text := func(into *string, check func(string) error) func(string) error {
		return func(s string) error {
			*into = s
			if check == nil {
				return nil
			}
			return check(s)
		}
	}
	span := func(into *time.Duration) func(string) error {
		return func(s string) (err error) { *into, err = ParseDuration(s); return err }
	}
	whole := func(into *int, b bounds) func(string) error {
		return func(s string) error {
			n, err := strconv.Atoi(s)
			if err != nil || n < b.least || n > b.most {
				return fmt.Errorf("%q is not a whole number from %d to %d", s, b.least, b.most)
			}
			*into = n
			return nil
		}
	}
	return map[string]func(string) error{
		"NIGHTSHIFT_NATS_URL": text(&c.NATS.URL, nil), "NIGHTSHIFT_NATS_CREDS": text(&c.NATS.Creds, nil), "NIGHTSHIFT_NATS_LISTEN": text(&c.NATS.Listen, checkListen),
		"NIGHTSHIFT_NATS_NKEY": text(&c.NATS.NKey, nil), "NIGHTSHIFT_NATS_TOKEN_FILE": text(&c.NATS.TokenFile, nil),
		"NIGHTSHIFT_NATS_TLS_CA": text(&c.NATS.TLSCA, nil), "NIGHTSHIFT_NATS_TLS_CERT": text(&c.NATS.TLSCert, nil), "NIGHTSHIFT_NATS_TLS_KEY": text(&c.NATS.TLSKey, nil),
		"NIGHTSHIFT_NATS_INBOX": text(&c.NATS.Inbox, checkInbox), "NIGHTSHIFT_NATS_USERS_FILE": text(&c.NATS.UsersFile, nil),
		"NIGHTSHIFT_HTTP_LISTEN":      text(&c.HTTP.Listen, checkListen),
		"NIGHTSHIFT_NATS_EVENTS_SIZE": func(s string) (err error) { c.NATS.EventsSize, err = ParseSize(s); return err },
		"NIGHTSHIFT_NATS_REPLICAS":    whole(&c.NATS.Replicas, replicas), "NIGHTSHIFT_CIVO_API_URL": text(&c.Civo.APIURL, checkAPIURL),
		"NIGHTSHIFT_CIVO_RATE":    func(s string) (err error) { c.Civo.Rate, err = parseRate(s); return err },
		"NIGHTSHIFT_CIVO_TIMEOUT": span(&c.Civo.Timeout), "NIGHTSHIFT_DATA_DIR": text(&c.DataDir, checkFilled), "NIGHTSHIFT_WORKERS": whole(&c.Workers, workers),
		"NIGHTSHIFT_HTTP_URL":      func(s string) error { return c.HTTP.set(s) },
		"NIGHTSHIFT_VERIFY_WITHIN": span(&c.Verify.Within), "NIGHTSHIFT_VERIFY_SETTLE": span(&c.Verify.Settle), "NIGHTSHIFT_VERIFY_APART": span(&c.Verify.Apart),
		"NIGHTSHIFT_MODE": func(s string) error {
			if !slices.Contains(modes, policies.Mode(s)) {
				return fmt.Errorf("%q is not a mode: observe, ask or act", s)
			}
			c.Policies.Mode = policies.Mode(s)
			return nil
		},
	}
}

// ofKubernetes are the variables that Kubernetes gives to every pod for a service
// called nightshift or nightshift-…: they are not meant for us.
var ofKubernetes = regexp.MustCompile(`^NIGHTSHIFT_([A-Z0-9_]+_)?(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// environment applies the variables that are set. An empty one counts as not set.
func (c *Config) environment(environ []string) Faults {
	known := c.variables()
	var names []string
	for n := range known {
		names = append(names, strings.ToLower(n))
	}
	slices.Sort(names)
	var faults Faults
	own := slices.Clone(environ)
	slices.Sort(own) // CIVO_* before NIGHTSHIFT_*: the closer name wins
	for _, pair := range own {
		name, value, _ := strings.Cut(pair, "=")
		if value == "" {
			continue
		}
		switch {
		case name == "CIVO_API_URL":
			if err := checkAPIURL(value); err != nil {
				faults = append(faults, Fault{File: name, Msg: err.Error()})
			}
			c.Civo.APIURL = value
		case name == "CIVO_REGION":
			if err := checkRegion(value); err != nil {
				faults = append(faults, Fault{File: name, Msg: err.Error()})
			} else if len(c.Policies.Regions) == 0 {
				c.Policies.Regions = []string{strings.ToUpper(value)}
				c.testIn(strings.ToUpper(value))
			}
		case name == "NIGHTSHIFT_NATS_TOKEN":
			c.NATS.Token = value
		case ofKubernetes.MatchString(name), name == "NIGHTSHIFT_NATS_WHO": // of the command line, which may share its environment
		case strings.HasPrefix(name, "NIGHTSHIFT_"):
			set, ok := known[name]
			if !ok {
				hint := ""
				if near := nearest(name, names); near != "" {
					hint = "did you mean " + strings.ToUpper(near) + "?"
				}
				faults = append(faults, Fault{File: name, Msg: "unknown variable", Hint: hint})
				continue
			}
			if err := set(value); err != nil {
				faults = append(faults, Fault{File: name, Msg: err.Error()})
			}
		}
	}
	return faults
}
