package civo

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// TokenSource gives the API token for a request. It is asked for each one, so
// that a token can be rotated without a restart.
type TokenSource func() (string, error)

// ErrNoToken is returned by [DefaultToken] when there is none where it looks.
var ErrNoToken = errors.New("no API token: set CIVO_TOKEN, or name a file with it in CIVO_CREDENTIAL_FILE, or sign in with the official CLI, which leaves one in ~/.civo.json")

// StaticToken always gives the same token.
func StaticToken(token string) TokenSource {
	return func() (string, error) { return token, nil }
}

// TokenFile reads the token from a file and again whenever the file changed: a
// file with nothing but the token, or one in the form of the official CLI's
// ~/.civo.json, of which the current key is used. It is only read, never written.
func TokenFile(path string) TokenSource {
	var mu sync.Mutex
	var token string
	var modified time.Time
	var size int64
	return func() (string, error) {
		mu.Lock()
		defer mu.Unlock()
		info, err := os.Stat(path)
		if err != nil {
			return "", fmt.Errorf("read the API token: %w", err)
		}
		if token != "" && info.ModTime().Equal(modified) && info.Size() == size {
			return token, nil
		}
		if info.Size() > maxTokenFile {
			return "", fmt.Errorf("the token file %s is larger than %d bytes", path, maxTokenFile)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("read the API token: %w", err)
		}
		read, err := parseTokenFile(data)
		if err != nil {
			return "", fmt.Errorf("the token file %s: %w", path, err)
		}
		token, modified, size = read, info.ModTime(), info.Size()
		return token, nil
	}
}

const maxTokenFile = 1 << 20

// parseTokenFile reads either form. Its errors never quote the file.
func parseTokenFile(data []byte) (string, error) {
	text := strings.TrimSpace(string(data))
	if !strings.HasPrefix(text, "{") {
		return text, checkToken(text)
	}
	var file struct {
		APIKeys map[string]string `json:"apikeys"`
		Meta    struct {
			Current string `json:"current_apikey"`
		} `json:"meta"`
	}
	if json.Unmarshal([]byte(text), &file) != nil {
		return "", errors.New("is not the official CLI's JSON")
	}
	if file.Meta.Current == "" {
		return "", errors.New("names no current_apikey")
	}
	token, ok := file.APIKeys[file.Meta.Current]
	if !ok {
		return "", errors.New("has no key under the name of its current_apikey")
	}
	return token, checkToken(token)
}

func checkToken(token string) error {
	switch {
	case token == "":
		return errors.New("no API token: set CIVO_TOKEN")
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return errors.New("the API token has a blank or a control character: check CIVO_TOKEN")
	}
	return nil
}

// DefaultToken looks where the official tools look: CIVO_TOKEN, then the file
// named by CIVO_CREDENTIAL_FILE, then the one named by CIVO_CONFIG, else
// .civo.json in the home directory. getenv is os.Getenv.
func DefaultToken(getenv func(string) string) (TokenSource, error) {
	if token := getenv("CIVO_TOKEN"); token != "" {
		return StaticToken(token), checkToken(token)
	}
	for _, name := range []string{"CIVO_CREDENTIAL_FILE", "CIVO_CONFIG"} {
		if path := getenv(name); path != "" {
			source := TokenFile(path)
			_, err := source()
			return source, err
		}
	}
	source := TokenFile(filepath.Join(getenv("HOME"), ".civo.json"))
	if _, err := source(); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, ErrNoToken
		}
		return nil, err
	}
	return source, nil
}
