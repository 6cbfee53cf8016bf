package notify

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "write the golden files anew")

// messages are one of each kind, with all that may stand in it.
func messages() []*Message {
	at := time.Date(2026, 11, 27, 19, 0, 0, 0, time.UTC)
	key := bytes.Repeat([]byte{7}, 32)
	l := link{instance: "i-1", region: "lon1", until: at.Add(2 * time.Hour), expires: at.Add(linkGrace)}
	all := []*Message{
		{
			ID: "held-t1795806000", Kind: Held, Policy: "dev-hours", Run: "dev-hours@2026-11-27T19:00", Trigger: "t1795806000", At: at, Until: at.Add(2 * time.Hour),
			Title: "dev-hours@2026-11-27T19:00 waits for approval: 2 actions, mode is ask", Commands: []string{"nightshift approve t1795806000"}, notes: []string{"It expires at Fri 2026-11-27 21:00 GMT."},
			Instances: []Instance{{ID: "i-1", Hostname: "dev-1", Region: "LON1", Action: "stop"}, {ID: "i-2", Region: "NYC1", Action: "stop"}},
		},
		{
			ID: "failed-t1795806000-3", Kind: Failed, Policy: "dev-hours", Run: "dev-hours@2026-11-27T19:00", Trigger: "t1795806000", At: at,
			Title: "dev-hours@2026-11-27T19:00: " + sumUp(map[string]int{"done": 34, "failed": 3, "skipped": 2}, map[string]map[string]int{"failed": {"capacity": 3}}), Counts: map[string]int{"done": 34, "failed": 3, "skipped": 2},
			Commands:  []string{"nightshift runs show t1795806000", "nightshift retry t1795806000"},
			Instances: []Instance{{ID: "i-1", Hostname: "dev-<1>", Region: "LON1", Action: "start", Outcome: "failed", Reason: "start instance i-1: out_of_capacity & more"}},
			More:      2,
		},
		{
			ID: "warn-1", Kind: Warn, Policy: "dev-hours", At: at, Title: "dev-hours stops 1 instance at Fri 2026-11-27 19:00 GMT, in 15 minutes", Commands: []string{"nightshift keep i-1 running --until 2026-11-27T21:00"},
			Instances: []Instance{{ID: "i-1", Hostname: "dev-1", Region: "LON1", Postpone: "https://nightshift.example.com" + l.path(key), Until: "Fri 2026-11-27 21:00 GMT"}},
		},
		{
			ID: "notify-1", Kind: Step, Policy: "web-down", Trigger: "prometheus-1", At: at, Title: "web-down: web-1 needs somebody: alert InstanceDown since Fri 2026-11-27 18:50 GMT",
			Commands: []string{"nightshift explain i-9"}, notes: []string{"It was ACTIVE when the signal came."}, Instances: []Instance{{ID: "i-9", Hostname: "web-1", Region: "LON1"}},
		},
	}
	for _, m := range all {
		m.since = at
		m.finish()
	}
	return all
}

// TestForms compares each message in each form with what is in testdata, which is
// what the documentation promises.
func TestForms(t *testing.T) {
	for _, m := range messages() {
		for _, form := range []string{FormSlack, FormJSON, FormCloudEvents} {
			contentType, body, err := m.encode(form)
			if err != nil {
				t.Fatal(err)
			}
			if want := map[string]string{FormSlack: "application/json", FormJSON: "application/json", FormCloudEvents: "application/cloudevents+json"}[form]; !strings.HasPrefix(contentType, want) {
				t.Errorf("%s is sent as %s", form, contentType)
			}
			var pretty bytes.Buffer
			if err := json.Indent(&pretty, body, "", "  "); err != nil {
				t.Fatal(err)
			}
			pretty.WriteByte('\n')
			name := filepath.Join("testdata", m.Kind+"."+form+".json")
			if *update {
				if err := os.WriteFile(name, pretty.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(want, pretty.Bytes()) {
				t.Errorf("%s is now\n%s\nwant\n%s\n(go test ./worker/notify -update writes them)", name, pretty.Bytes(), want)
			}
			switch form {
			case FormSlack:
				checkSlack(t, body)
			case FormCloudEvents:
				checkCloudEvent(t, body)
			}
		}
	}
}

// checkSlack holds a message to what Slack accepts: only keys that its blocks have,
// within its bounds, escaped but for links.
func checkSlack(t *testing.T, body []byte) {
	t.Helper()
	var m struct {
		Text   string `json:"text"`
		Blocks []struct {
			Type string `json:"type"`
			Text *struct {
				Type string `json:"type"`
				Text string `json:"text"`
			} `json:"text"`
			Elements []struct {
				Type string `json:"type"`
				Text string `json:"text"`
			} `json:"elements"`
		} `json:"blocks"`
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil {
		t.Fatalf("not Slack's form: %v", err)
	}
	text := func(kind, s string) {
		t.Helper()
		if n := utf8.RuneCountInString(s); kind != "mrkdwn" || n == 0 || n > 3000 {
			t.Errorf("a text of the type %s with %d characters", kind, n)
		}
		for _, part := range strings.Split(s, "<")[1:] {
			if !strings.HasPrefix(part, "https://nightshift.example.com/") || strings.Count(part, ">") != 1 {
				t.Errorf("not escaped: <%s", part)
			}
		}
	}
	if m.Text == "" || utf8.RuneCountInString(m.Text) > 4000 || len(m.Blocks) == 0 || len(m.Blocks) > 50 {
		t.Errorf("%d characters of text, %d blocks", utf8.RuneCountInString(m.Text), len(m.Blocks))
	}
	for _, b := range m.Blocks {
		switch {
		case b.Type == "section" && b.Text != nil && b.Elements == nil:
			text(b.Text.Type, b.Text.Text)
		case b.Type == "context" && b.Text == nil && len(b.Elements) >= 1 && len(b.Elements) <= 10:
			for _, e := range b.Elements {
				text(e.Type, e.Text)
			}
		default:
			t.Errorf("a block of the type %s is not of Slack's form", b.Type)
		}
	}
}

func checkCloudEvent(t *testing.T, body []byte) {
	t.Helper()
	var ce map[string]any
	if err := json.Unmarshal(body, &ce); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"id", "source", "type", "time", "subject"} {
		if s, ok := ce[name].(string); !ok || s == "" {
			t.Errorf("the attribute %s is %v", name, ce[name])
		}
	}
	if ce["specversion"] != "1.0" || ce["datacontenttype"] != "application/json" || ce["data"] == nil {
		t.Errorf("not a CloudEvent 1.0: %v", ce)
	}
	if _, err := time.Parse(time.RFC3339, ce["time"].(string)); err != nil {
		t.Error(err)
	}
	for name := range ce { // CloudEvents 1.0, "Attribute naming"
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			t.Errorf("%q is not the name of an attribute", name)
		}
	}
}

func TestALargeMessageKeepsSlacksBounds(t *testing.T) {
	m := &Message{ID: "x", Kind: Failed, Title: strings.Repeat("a<b&", 1000)}
	for i := range 500 {
		m.add(Instance{ID: fmt.Sprint(i), Hostname: strings.Repeat("ü&", 100), Region: "lon1", Action: "stop", Outcome: "failed", Reason: strings.Repeat("because ", 40), Postpone: "https://nightshift.example.com/?a=1&b=2", Until: "then"})
	}
	m.finish()
	if len(m.Instances) != maxInstances || m.More != 400 || m.unlisted() != 480 {
		t.Errorf("%d instances, %d more, %d not in the text", len(m.Instances), m.More, m.unlisted())
	}
	_, body, err := m.encode(FormSlack)
	if err != nil {
		t.Fatal(err)
	}
	checkSlack(t, body)
}

func TestSumUp(t *testing.T) {
	for want, x := range map[string]struct {
		counts map[string]int
		causes map[string]map[string]int
	}{
		"34 done, 3 failed: capacity":                          {map[string]int{"done": 34, "failed": 3}, map[string]map[string]int{"failed": {"capacity": 3}}},
		"3 failed: 2 capacity and 1 quota":                     {map[string]int{"failed": 3}, map[string]map[string]int{"failed": {"capacity": 2, "quota": 1}}},
		"1 done, 2 failed, 1 expired: not approved, 4 skipped": {map[string]int{"done": 1, "failed": 2, "expired": 1, "skipped": 4}, map[string]map[string]int{"failed": {"": 2}, "expired": {"not approved": 1}}},
	} {
		if got := sumUp(x.counts, x.causes); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
