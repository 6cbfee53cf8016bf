package events

import (
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/nats-io/nats-server/v2/conf"
	"github.com/nats-io/nats-server/v2/server"
)

// admit reads the users of the embedded server from a file of NATS's own form, as
// nightshift nats permissions prints it: a block authorization with a list of
// users, and perhaps a block tls. Nothing else may stand there. The last user is
// this process, under a name and password of this run.
func admit(so *server.Options, path string, self *server.User) error {
	what := "nats.users_file"
	blocks, err := conf.ParseFile(path)
	if err != nil {
		return fileError(what, path, unquoted(err))
	}
	for name := range blocks {
		if name != "authorization" && name != "tls" {
			return fileError(what, path, fmt.Errorf("only authorization and tls may stand there, not %s", name))
		}
	}
	var read server.Options
	if err := read.ProcessConfigFile(path); err != nil {
		return fileError(what, path, unquoted(err))
	}
	if len(read.Users)+len(read.Nkeys) == 0 || read.Username != "" || read.Authorization != "" || read.AuthCallout != nil {
		return fileError(what, path, errors.New("it names no users: write authorization { users = [ … ] }, as nightshift nats permissions prints it"))
	}
	for _, u := range read.Users {
		if u.Password == "" {
			return fileError(what, path, fmt.Errorf("user %s has no password", u.Username))
		}
	}
	so.Users, so.Nkeys = append(slices.Clone(read.Users), self), read.Nkeys
	so.AuthTimeout = read.AuthTimeout
	so.TLSConfig, so.TLSTimeout, so.TLSVerify, so.TLSMap, so.TLSPinnedCerts = read.TLSConfig, read.TLSTimeout, read.TLSVerify, read.TLSMap, read.TLSPinnedCerts
	return nil
}

func newSelf() *server.User {
	return &server.User{Username: "nightshift-" + strings.ToLower(rand.Text()), Password: rand.Text()}
}

// users are those of the embedded server, and how they are read again.
type users struct {
	path string // empty: it has none
	self *server.User
	rest *server.Options // of the server; what the file says is written over
}

// ReadUsers reads the users file of the embedded server again, where it has one, and
// the certificates that it names. Who is not in it any more is disconnected. One with
// a fault leaves all as it is.
func (b *Bus) ReadUsers() error {
	if b.users.path == "" || b.embedded == nil {
		return nil
	}
	so := b.users.rest.Clone()
	if err := admit(so, b.users.path, b.users.self); err != nil {
		return err
	}
	if err := b.embedded.ReloadOptions(so); err != nil {
		return fileError("nats.users_file", b.users.path, unquoted(err))
	}
	return nil
}

var quotedText = regexp.MustCompile(`"[^"]*"|'[^']*'`)

// unquoted is an error of the parser without what it quotes: that may be a secret.
func unquoted(err error) error {
	return errors.New(quotedText.ReplaceAllString(err.Error(), "…"))
}
