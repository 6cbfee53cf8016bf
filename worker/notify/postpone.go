package notify

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"nightshift/events"
)

// PostponePath is where [Notifier.Handler] is to be found under the public URL.
const PostponePath = "/v1/postpone"

// linkGrace is how long after the stop its links still work (plan time): who reads
// the warning late may have the instance started again.
const linkGrace = 15 * time.Minute

// link is the right to keep one instance running until a time.
type link struct {
	instance, region string // region is lower case
	until, expires   time.Time
}

// path is the link without the public URL.
func (l *link) path(key []byte) string {
	q := url.Values{}
	q.Set("instance", l.instance)
	q.Set("region", l.region)
	q.Set("until", strconv.FormatInt(l.until.Unix(), 10))
	q.Set("expires", strconv.FormatInt(l.expires.Unix(), 10))
	q.Set("sig", l.signature(key))
	return PostponePath + "?" + q.Encode()
}

func (l *link) signature(key []byte) string {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "nightshift postpone 1|%d:%s|%d:%s|%d|%d", len(l.instance), l.instance, len(l.region), l.region, l.until.Unix(), l.expires.Unix())
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// readLink reads a query. Whatever is wrong with it, it is no link of ours.
func readLink(q url.Values, key []byte) (l link, ok bool) {
	until, err := strconv.ParseInt(q.Get("until"), 10, 64)
	expires, err2 := strconv.ParseInt(q.Get("expires"), 10, 64)
	if err != nil || err2 != nil {
		return l, false
	}
	l = link{instance: q.Get("instance"), region: q.Get("region"), until: time.Unix(until, 0).UTC(), expires: time.Unix(expires, 0).UTC()}
	return l, hmac.Equal([]byte(q.Get("sig")), []byte(l.signature(key)))
}

// answerWithin bounds what a click may take.
const answerWithin = 10 * time.Second

// Handler answers the links in warnings at [PostponePath]. GET only shows what the
// link would do: chat programs fetch links to show a preview. POST does it, by the
// same endpoint of the control service that the command keep asks.
func (n *Notifier) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), answerWithin)
		defer cancel()
		status, p := n.postpone(ctx, r)
		if status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", "GET, HEAD, POST")
		}
		show(w, status, p)
	})
}

func (n *Notifier) postpone(ctx context.Context, r *http.Request) (int, page) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodPost {
		return http.StatusMethodNotAllowed, page{Title: "Not so", Text: "This link is opened with a browser."}
	}
	key, err := n.signingKey(ctx)
	if err != nil {
		n.log.Warn("a link cannot be checked", zap.Error(err))
		return http.StatusServiceUnavailable, page{Title: "Not now", Text: "Nightshift cannot check this link at the moment. Try again in a minute."}
	}
	l, ok := readLink(r.URL.Query(), key)
	now := n.now()
	s, _ := n.current()
	t := &teller{n: n, settings: s}
	switch {
	case !ok:
		return http.StatusForbidden, page{Title: "Not valid", Text: "This link is not one of Nightshift's, or was cut. Open it from the warning itself."}
	case now.After(l.expires) || !now.Before(l.until):
		return http.StatusGone, page{Title: "Too late", Text: "This link was good until " + t.clock(l.expires) + ". Use: nightshift keep " + l.instance + " running --for 2h"}
	}
	name := n.hostname(ctx, l)
	if r.Method != http.MethodPost {
		return http.StatusOK, page{Title: "Keep " + name + " running?", Text: "It will not be stopped before " + t.clock(l.until) + ".", Button: "Keep it running"}
	}
	if err := n.keep(ctx, l); err != nil {
		var no *events.Refusal
		if errors.As(err, &no) && no.Code >= 400 && no.Code < 500 {
			return http.StatusConflict, page{Title: "Refused", Text: no.Error()}
		}
		n.log.Warn("an instance is not kept running as a link asked", zap.String("instance_id", l.instance), zap.Error(err))
		return http.StatusServiceUnavailable, page{Title: "Not now", Text: "Nightshift does not answer at the moment, and nothing has changed. Try again in a minute."}
	}
	n.log.Info("kept running by a link", zap.String("instance_id", l.instance), zap.String("region", strings.ToUpper(l.region)), zap.Time("until", l.until))
	return http.StatusOK, page{Title: name + " stays running", Text: "It will not be stopped before " + t.clock(l.until) + ". To end that sooner: nightshift keep " + l.instance + " --end"}
}

// keep asks for the same as the command keep.
func (n *Notifier) keep(ctx context.Context, l link) error {
	ask := map[string]string{
		"instance": l.instance, "region": strings.ToUpper(l.region), "state": "running", "until": l.until.Format(time.RFC3339),
		"who": "link", "reason": "postponed by the link in a warning",
	}
	var answer struct{}
	return n.bus.Ask(ctx, "keep", ask, &answer)
}

// hostname is what people call the instance; its id when nobody can say.
func (n *Notifier) hostname(ctx context.Context, l link) string {
	var answer struct {
		Found []struct {
			Hostname string `json:"hostname"`
		} `json:"found"`
	}
	if err := n.bus.Ask(ctx, "find", map[string]string{"name": l.instance, "region": strings.ToUpper(l.region)}, &answer); err != nil || len(answer.Found) != 1 {
		return l.instance
	}
	return cmp.Or(answer.Found[0].Hostname, l.instance)
}

// page is what a browser shows.
type page struct {
	Title, Text string
	Button      string // what may be done; empty: nothing
}

//go:embed postpone.html
var postponeHTML string

var postponePage = template.Must(template.New("postpone").Parse(postponeHTML))

func show(w http.ResponseWriter, status int, p page) {
	var body bytes.Buffer
	if err := postponePage.Execute(&body, p); err != nil {
		http.Error(w, p.Title, http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer") // the link is a right
	h.Set("X-Robots-Tag", "noindex, nofollow")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes())
}
