package events_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"nightshift/events"
)

// natsServer starts a server; with the port of one that has ended it is a restart.
func natsServer(t *testing.T, o server.Options) *server.Server {
	t.Helper()
	o.Host, o.JetStream, o.NoSigs, o.NoLog = "127.0.0.1", true, true, true
	if o.Port == 0 {
		o.Port = server.RANDOM_PORT
	}
	s, err := server.NewServer(&o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("not ready")
	}
	t.Cleanup(func() { end(s) })
	return s
}

func end(s *server.Server) { s.Shutdown(); s.WaitForShutdown() }

func port(s *server.Server) int { return s.Addr().(*net.TCPAddr).Port }

func file(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func rewrite(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// untilReady waits until the bus can be used again.
func untilReady(t *testing.T, b *events.Bus) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for b.Ready(ctx) != nil {
		if ctx.Err() != nil {
			t.Fatalf("not ready again: %v", b.Ready(t.Context()))
		}
	}
}

// aLog is a log whose text can be searched.
func aLog(t *testing.T) (*zap.Logger, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.Lock(f), zap.DebugLevel)), path
}

// rotate is one way to show who one is: two secrets, and a server that knows one.
type rotate struct {
	first, second []byte // of the file
	server        func(second bool) server.Options
	auth          func(path string) events.Auth
	secrets       []string
}

// TestFilesAreReadAgainWhenNATSComesBack changes the secret while a server
// restarts that knows only the new one.
func TestFilesAreReadAgainWhenNATSComesBack(t *testing.T) {
	for name, make := range map[string]func(*testing.T) rotate{"creds": rotateCreds, "nkey": rotateNKey, "token": rotateToken} {
		t.Run(name, func(t *testing.T) {
			r := make(t)
			path := file(t, "secret", r.first)
			dir := t.TempDir()
			first := r.server(false)
			first.StoreDir = dir
			s := natsServer(t, first)
			log, logged := aLog(t)
			b := open(t, events.Options{URL: s.ClientURL(), Auth: r.auth(path), Log: log})

			at := port(s)
			end(s)
			second := r.server(true)
			second.StoreDir, second.Port = dir, at
			natsServer(t, second)
			refused := time.Now()
			for b.Ready(t.Context()) == nil || !strings.Contains(contents(t, logged), "refuses the credentials") { // the old ones are tried, and told of
				if time.Since(refused) > 20*time.Second {
					t.Fatalf("the log does not say that NATS refuses the credentials: %s", contents(t, logged))
				}
			}
			rewrite(t, path, r.second)
			untilReady(t, b)
			if _, err := b.PublishCommand(t.Context(), events.Command{Who: "local", Region: "lon1", Instance: "i-1", Action: "stop"}); err != nil {
				t.Error(err)
			}
			if _, err := events.Dial(t.Context(), b.URL(), r.auth(file(t, "old", r.first))); !errors.Is(err, events.ErrRefused) || errors.Is(err, events.ErrNoDaemon) {
				t.Errorf("got %v, want ErrRefused", err)
			}
			for _, secret := range r.secrets {
				if strings.Contains(contents(t, logged), secret) {
					t.Errorf("the log has the secret %q", secret)
				}
			}
		})
	}
}

func contents(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func rotateToken(*testing.T) rotate {
	return rotate{
		first: []byte("t0ken-one\n"), second: []byte("t0ken-two\n"), secrets: []string{"t0ken-one", "t0ken-two"},
		server: func(second bool) server.Options {
			if second {
				return server.Options{Authorization: "t0ken-two"}
			}
			return server.Options{Authorization: "t0ken-one"}
		},
		auth: func(path string) events.Auth { return events.Auth{TokenFile: path} },
	}
}

func userKey(t *testing.T) (public string, seed []byte) {
	t.Helper()
	key, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	if public, err = key.PublicKey(); err != nil {
		t.Fatal(err)
	}
	if seed, err = key.Seed(); err != nil {
		t.Fatal(err)
	}
	return public, seed
}

func rotateNKey(t *testing.T) rotate {
	public1, seed1 := userKey(t)
	public2, seed2 := userKey(t)
	return rotate{
		first: seed1, second: seed2, secrets: []string{string(seed1), string(seed2)},
		server: func(second bool) server.Options {
			if second {
				return server.Options{Nkeys: []*server.NkeyUser{{Nkey: public2}}}
			}
			return server.Options{Nkeys: []*server.NkeyUser{{Nkey: public1}}}
		},
		auth: func(path string) events.Auth { return events.Auth{NKey: path} },
	}
}

func rotateCreds(t *testing.T) rotate {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	operator, err := nkeys.CreateOperator()
	must(err)
	operatorPublic, err := operator.PublicKey()
	must(err)
	oc := jwt.NewOperatorClaims(operatorPublic)
	account, err := nkeys.CreateAccount()
	must(err)
	accountPublic, err := account.PublicKey()
	must(err)
	system, err := nkeys.CreateAccount()
	must(err)
	systemPublic, err := system.PublicKey()
	must(err)
	oc.SystemAccount = systemPublic
	encoded, err := oc.Encode(operator)
	must(err)
	oc, err = jwt.DecodeOperatorClaims(encoded)
	must(err)
	public1, seed1 := userKey(t)
	public2, seed2 := userKey(t)
	creds := func(name, public string, seed []byte) []byte {
		uc := jwt.NewUserClaims(public)
		uc.Name = name
		encoded, err := uc.Encode(account)
		must(err)
		text, err := jwt.FormatUserConfig(encoded, seed)
		must(err)
		return text
	}
	return rotate{
		first: creds("oncall", public1, seed1), second: creds("oncall", public2, seed2), secrets: []string{string(seed1), string(seed2)},
		server: func(second bool) server.Options {
			ac := jwt.NewAccountClaims(accountPublic)
			ac.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
			if second {
				ac.Revoke(public1)
			}
			resolver := &server.MemAccResolver{}
			for _, c := range []*jwt.AccountClaims{ac, jwt.NewAccountClaims(systemPublic)} {
				encoded, err := c.Encode(operator)
				must(err)
				must(resolver.Store(c.Subject, encoded))
			}
			return server.Options{TrustedOperators: []*jwt.OperatorClaims{oc}, SystemAccount: systemPublic, AccountResolver: resolver}
		},
		auth: func(path string) events.Auth { return events.Auth{Creds: path} },
	}
}

func TestTheCredentialsSayWho(t *testing.T) {
	a := rotateCreds(t)
	auth := a.auth(file(t, "c", a.first))
	for address, want := range map[string]string{"nats://h:1": "oncall", "nats://alice:pw@h:1": "alice", "nats://Alice:pw@h:1": "oncall", "nats://t0ken@h:1": "oncall"} {
		if got := auth.Who(address); got != want {
			t.Errorf("%s: got %q, want %q", address, got, want)
		}
	}
	if got := (&events.Auth{Creds: "/none"}).Who("nats://h"); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestWhatIsWrongWithCredentialsIsSaidAtOnce(t *testing.T) {
	_, seed := userKey(t)
	broken := file(t, "broken", []byte("hunter2"))
	accountKey, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	accountSeed, err := accountKey.Seed()
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		url  string
		auth events.Auth
		want string
	}{
		"a creds file that is not there": {"", events.Auth{Creds: "/none/x.creds"}, "NATS creds file /none/x.creds cannot be read: no such file"},
		"a creds file with something":    {"", events.Auth{Creds: broken}, "no user JWT and seed"},
		"a seed file with something":     {"", events.Auth{NKey: broken}, "it has no seed"},
		"the seed of an account":         {"", events.Auth{NKey: file(t, "a", accountSeed)}, "not that of a user"},
		"an empty token file":            {"", events.Auth{TokenFile: file(t, "e", []byte("\n"))}, "it is empty"},
		"two proofs":                     {"", events.Auth{Token: "hunter2", NKey: file(t, "s", seed)}, "one proof only, not an NKey seed file and a token"},
		"a user and a token":             {"nats://u:hunter2@127.0.0.1:1", events.Auth{Token: "hunter2"}, "a token and a user in the address"},
		"half a certificate":             {"", events.Auth{Cert: "x"}, "needs both files"},
		"a CA with something":            {"", events.Auth{CA: broken}, "no certificate in PEM form"},
	} {
		if tt.url == "" {
			tt.url = "nats://127.0.0.1:1"
		}
		for _, try := range []func() (*events.Bus, error){
			func() (*events.Bus, error) { return events.Dial(t.Context(), tt.url, tt.auth) },
			func() (*events.Bus, error) {
				return events.Open(t.Context(), events.Options{URL: tt.url, Auth: tt.auth})
			},
		} {
			_, err := try()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: got %v, want %q", name, err, tt.want)
			} else if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), string(seed)) {
				t.Errorf("%s: the error has the secret: %v", name, err)
			}
		}
	}
}

// authority signs certificates for this machine.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	a.cert, a.key, a.pem, _ = a.sign(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

func (a *authority) sign(t *testing.T, c *x509.Certificate) (cert *x509.Certificate, key *ecdsa.PrivateKey, certPEM, keyPEM []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber, c.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: "test"}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	by, with := c, key
	if a.cert != nil {
		by, with = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, &key.PublicKey, with)
	if err != nil {
		t.Fatal(err)
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func (a *authority) client(t *testing.T) (cert, key []byte) {
	_, _, cert, key = a.sign(t, &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return cert, key
}

// TestClientCertificatesAreShownAndReadAgain restarts a server that from then on
// is of another authority, and knows the clients of that one only.
func TestClientCertificatesAreShownAndReadAgain(t *testing.T) {
	serverOf := func(a *authority) server.Options {
		_, _, cert, key := a.sign(t, &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		return server.Options{TLSVerify: true, TLSTimeout: 5, TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.pool(), MinVersion: tls.VersionTLS12}}
	}
	first, second := newAuthority(t), newAuthority(t)
	cert, key := first.client(t)
	auth := events.Auth{CA: file(t, "ca", first.pem), Cert: file(t, "cert", cert), Key: file(t, "key", key)}
	dir := t.TempDir()
	o := serverOf(first)
	o.StoreDir = dir
	s := natsServer(t, o)
	b := open(t, events.Options{URL: s.ClientURL(), Auth: auth})
	if _, err := events.Dial(t.Context(), s.ClientURL(), events.Auth{}); err == nil || errors.Is(err, events.ErrNoDaemon) || !strings.Contains(err.Error(), "x509") {
		t.Errorf("got %v, want that the server's certificate is not known", err)
	}
	if _, err := events.Dial(t.Context(), s.ClientURL(), events.Auth{CA: auth.CA}); err == nil {
		t.Error("a client without a certificate is let in")
	}
	at := port(s)
	end(s)
	o = serverOf(second)
	o.StoreDir, o.Port = dir, at
	natsServer(t, o)
	cert, key = second.client(t)
	rewrite(t, auth.CA, second.pem)
	rewrite(t, auth.Cert, cert)
	rewrite(t, auth.Key, key)
	untilReady(t, b)
}
