package events

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"go.uber.org/zap"
)

// Auth says how this process shows NATS who it is. At most one of Creds, NKey,
// Token, TokenFile and a user in the address is given; the zero value shows
// nothing. Files are read again for every connection, so that credentials are
// changed without a restart. What files hold is never part of an error or log.
type Auth struct {
	Creds     string // file with a user's JWT and seed
	NKey      string // file with a seed
	Token     string // from the environment
	TokenFile string

	CA        string // file with the certificates that the server's is signed by; empty: those of the system
	Cert, Key string // files of the client's certificate

	Inbox string // beginning of the subjects on which answers come; empty: [InboxOf] the role or who
	Name  string // under which [Bus.Ask] asks for what is recorded with a name; empty: [DefaultWho]
}

// InboxOf is where answers come for who asks, or for the role "worker". Permissions
// grant each only its own, and the worker may publish nowhere else on request.
func InboxOf(who string) string { return nats.InboxPrefix + who }

// DefaultWho is the publisher of commands where nobody says otherwise: without
// authentication nobody vouches for a name.
const DefaultWho = "local"

// Who is the name that the credentials have for their holder, if it can stand in a
// subject: the user of the address or of the creds file. Else it is empty.
func (a *Auth) Who(address string) string {
	if user := userOf(address); user != nil {
		if _, ok := user.Password(); ok && isToken(user.Username()) {
			return user.Username()
		}
	}
	text, err := os.ReadFile(a.Creds)
	if a.Creds == "" || err != nil {
		return ""
	}
	jwt, err := nkeys.ParseDecoratedJWT(text)
	parts := strings.Split(jwt, ".")
	if err != nil || len(parts) != 3 {
		return ""
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Name string `json:"name"`
	}
	if err != nil || json.Unmarshal(body, &claims) != nil || !isToken(claims.Name) {
		return ""
	}
	return claims.Name
}

// userOf is what an address, or the first of several, has before an @.
func userOf(address string) *url.Userinfo {
	for one := range strings.SplitSeq(address, ",") {
		if u, err := url.Parse(strings.TrimSpace(one)); err == nil && u.User != nil {
			return u.User
		}
	}
	return nil
}

// HasUser reports whether an address holds a user, password or token.
func HasUser(address string) bool { return userOf(address) != nil }

// check finds what can be wrong before anybody is asked.
func (a *Auth) check(address string) error {
	var given []string
	for _, x := range []struct {
		what string
		is   bool
	}{
		{"a creds file", a.Creds != ""}, {"an NKey seed file", a.NKey != ""}, {"a token", a.Token != ""}, {"a token file", a.TokenFile != ""},
		{"a user in the address", HasUser(address)},
	} {
		if x.is {
			given = append(given, x.what)
		}
	}
	if len(given) > 1 {
		return fmt.Errorf("NATS is shown one proof only, not %s: leave out all but one", strings.Join(given, " and "))
	}
	if (a.Cert == "") != (a.Key == "") {
		return errors.New("a client certificate for NATS needs both files, the certificate and its key")
	}
	if a.Creds != "" {
		if err := checkCreds(a.Creds); err != nil {
			return err
		}
	}
	if a.NKey != "" {
		if _, err := publicKey(a.NKey); err != nil {
			return err
		}
	}
	if a.TokenFile != "" {
		if _, err := readToken(a.TokenFile); err != nil {
			return err
		}
	}
	return nil
}

// fileError says which file, and never what is in it.
func fileError(what, path string, err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return fmt.Errorf("%s %s cannot be read: %w", what, path, p.Err)
	}
	return fmt.Errorf("%s %s: %w", what, path, err)
}

func checkCreds(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fileError("NATS creds file", path, err)
	}
	defer wipe(text)
	_, jwtErr := nkeys.ParseDecoratedJWT(text)
	key, err := nkeys.ParseDecoratedUserNKey(text)
	if jwtErr != nil || err != nil {
		return fileError("NATS creds file", path, errors.New("it has no user JWT and seed: write it with nsc generate creds"))
	}
	key.Wipe()
	return nil
}

// seed reads an NKey seed file.
func seed(path string) (nkeys.KeyPair, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fileError("NKey seed file", path, err)
	}
	defer wipe(text)
	key, err := nkeys.ParseDecoratedNKey(text)
	if err != nil {
		return nil, fileError("NKey seed file", path, errors.New("it has no seed: write it with nk -gen user"))
	}
	return key, nil
}

func publicKey(path string) (string, error) {
	key, err := seed(path)
	if err != nil {
		return "", err
	}
	defer key.Wipe()
	public, err := key.PublicKey()
	if err != nil || !nkeys.IsValidPublicUserKey(public) {
		return "", fileError("NKey seed file", path, errors.New("the seed is not that of a user: it begins with SU"))
	}
	return public, nil
}

// IsUserKey reports whether a text is the public NKey of a user.
func IsUserKey(s string) bool { return nkeys.IsValidPublicUserKey(s) }

func wipe(b []byte) {
	for i := range b {
		b[i] = 'x'
	}
}

func readToken(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fileError("NATS token file", path, err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", fileError("NATS token file", path, errors.New("it is empty"))
	}
	return token, nil
}

// options are those of a connection. nc is set by the caller once there is one:
// the public key of an NKey belongs to the connection, and changes with its file.
func (a *Auth) options(log *zap.Logger, nc *atomic.Pointer[nats.Conn]) ([]nats.Option, error) {
	var opts []nats.Option
	switch {
	case a.Creds != "":
		opts = append(opts, nats.UserCredentials(a.Creds))
	case a.NKey != "":
		public, err := publicKey(a.NKey)
		if err != nil {
			return nil, err
		}
		opts = append(opts, nats.Nkey(public, a.sign), nats.SetCustomDialer(&keyDialer{path: a.NKey, log: log, nc: nc}))
	case a.TokenFile != "":
		opts = append(opts, nats.TokenHandler(func() string {
			token, err := readToken(a.TokenFile)
			if err != nil {
				log.Error("no token for NATS", zap.Error(err))
			}
			return token
		}))
	case a.Token != "":
		opts = append(opts, nats.Token(a.Token))
	}
	if a.Cert != "" || a.CA != "" {
		var cert nats.TLSCertHandler
		var roots nats.RootCAsHandler
		if a.Cert != "" {
			cert = a.certificate
		}
		if a.CA != "" {
			roots = a.roots
		}
		opts = append(opts, nats.ClientTLSConfig(cert, roots))
	}
	return opts, nil
}

func (a *Auth) sign(nonce []byte) ([]byte, error) {
	key, err := seed(a.NKey)
	if err != nil {
		return nil, err
	}
	defer key.Wipe()
	return key.Sign(nonce)
}

func (a *Auth) certificate() (tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(a.Cert, a.Key)
	if err != nil {
		return cert, fmt.Errorf("client certificate for NATS (%s, %s): %w", a.Cert, a.Key, err)
	}
	return cert, nil
}

func (a *Auth) roots() (*x509.CertPool, error) {
	text, err := os.ReadFile(a.CA)
	if err != nil {
		return nil, fileError("CA file for NATS", a.CA, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fileError("CA file for NATS", a.CA, errors.New("it has no certificate in PEM form"))
	}
	return pool, nil
}

// keyDialer reads the public key of an NKey again before each connection. It is
// called by the connection that it sets the key of, under that one's lock.
type keyDialer struct {
	path string
	log  *zap.Logger
	nc   *atomic.Pointer[nats.Conn]
}

// dialTimeout bounds one attempt to connect.
const dialTimeout = 3 * time.Second

// Dial is called by nats.go.
func (d *keyDialer) Dial(network, address string) (net.Conn, error) {
	if nc := d.nc.Load(); nc != nil {
		public, err := publicKey(d.path)
		if err != nil {
			d.log.Error("no key for NATS", zap.Error(err))
			return nil, err
		}
		nc.Opts.Nkey = public
	}
	return net.DialTimeout(network, address, dialTimeout)
}

// ErrRefused says that NATS does not take what it was shown.
var ErrRefused = errors.New("NATS refuses the credentials")

// refusedBy makes an error of a connection say that it is about credentials, when
// it is, and which they were.
func (a *Auth) refusedBy(address string, err error) error {
	if err == nil || errors.Is(err, ErrRefused) || !isRefusal(err) {
		return err
	}
	shown := "none were shown: name them with --nats-creds, --nats-nkey or --nats-token-file, or in the environment"
	switch {
	case a.Creds != "":
		shown = "those of the creds file " + a.Creds
	case a.NKey != "":
		shown = "the key of " + a.NKey
	case a.TokenFile != "":
		shown = "the token of " + a.TokenFile
	case a.Token != "":
		shown = "the token of the environment"
	case HasUser(address):
		shown = "the user or token of the address"
	case a.Cert != "":
		shown = "the client certificate " + a.Cert
	}
	return fmt.Errorf("%w (%s): %w", ErrRefused, shown, err)
}

func isRefusal(err error) bool {
	for _, kind := range []error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// isTLS reports whether somebody answered, and TLS did not come about.
func isTLS(err error) bool {
	for _, kind := range []error{nats.ErrTLS, nats.ErrSecureConnWanted, nats.ErrSecureConnRequired} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// Denied says what the permissions of NATS refuse.
type Denied struct {
	Verb    string // publish or subscribe
	Subject string
}

func (d *Denied) Error() string {
	verb := "publish on"
	if d.Verb != "publish" {
		verb = "subscribe to"
	}
	return "the permissions of NATS refuse this user to " + verb + " " + d.Subject
}

// Hint is what to do about it.
func (d *Denied) Hint() string {
	return "nightshift nats permissions prints the rights that each role needs; --as says as whom you ask"
}

// deniedIn reads what the server says of a refusal. The client library has no
// type for it.
func deniedIn(err error) *Denied {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return nil
	}
	_, rest, _ := strings.Cut(err.Error(), " for ")
	verb, rest, _ := strings.Cut(rest, " to ")
	_, rest, _ = strings.Cut(rest, `"`)
	subject, _, ok := strings.Cut(rest, `"`)
	if !ok {
		return nil
	}
	if strings.EqualFold(verb, "publish") {
		return &Denied{"publish", subject}
	}
	return &Denied{"subscribe", subject}
}

// refusable is an operation under way that permissions may refuse.
type refusable struct {
	subject string // on which it publishes, or the beginning
	refuse  context.CancelCauseFunc
}

// guard lets an operation end at once when permissions refuse to publish on its
// subject (or one that begins so), or to hear the answer. Its caller hears nothing
// of that but a timeout: only the connection is told. end gives back what guard
// took, and the reason in place of an error that came of it.
func (b *Bus) guard(ctx context.Context, subject string) (guarded context.Context, end func(error) error) {
	guarded, refuse := context.WithCancelCause(ctx)
	r := &refusable{subject, refuse}
	b.mu.Lock()
	if b.guarded == nil {
		b.guarded = make(map[*refusable]struct{})
	}
	b.guarded[r] = struct{}{}
	b.mu.Unlock()
	return guarded, func(err error) error {
		b.mu.Lock()
		delete(b.guarded, r)
		b.mu.Unlock()
		cause := context.Cause(guarded)
		refuse(nil)
		var denied *Denied
		if err != nil && errors.As(cause, &denied) {
			return denied
		}
		if err != nil && errors.Is(cause, ErrStore) {
			return cause
		}
		return b.explain(err)
	}
}

// refuse ends the operations that a refusal is about.
func (b *Bus) refuse(d *Denied) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for r := range b.guarded {
		if d.Verb == "publish" && strings.HasPrefix(d.Subject, r.subject) || d.Verb == "subscribe" && strings.HasPrefix(d.Subject, b.inbox) {
			r.refuse(d)
		}
	}
}
