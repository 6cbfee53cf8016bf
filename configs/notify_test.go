package configs

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"nightshift/policies"
)

const hush = "https://hooks.example.com/services/T000/B000/hush"

func TestNotifyIsRead(t *testing.T) {
	cfg, err := Parse("f", []byte(`version: 1
regions: [LON1]
notify:
  team-chat: { webhook: "`+hush+`", form: slack, about: [warn, held] }
  oncall: { webhook_file: /run/secrets/oncall }
http: { url: "https://nightshift.example.com/ns/" }
policies:
  - { name: a, select: { all: [x] }, schedule: { running: ["08:00-19:00"] }, warn: { before: 15m, to: [team-chat] } }
  - { name: b, select: { all: [x] }, trigger: { alert: A }, do: [ { reboot: soft }, { notify: [oncall, team-chat], after: 10m, if: still-firing } ] }
`))
	if err != nil {
		t.Fatal(err)
	}
	chat, oncall := cfg.Notify[0], cfg.Notify[1]
	if chat.URL.Reveal() != hush || chat.Form != "slack" || fmt.Sprint(chat.About) != "[warn held]" {
		t.Errorf("team-chat is not as written: form %s, about %v", chat.Form, chat.About)
	}
	if oncall.File != "/run/secrets/oncall" || oncall.Form != "json" || fmt.Sprint(oncall.About) != "[held failed warn]" {
		t.Errorf("oncall is %+v", oncall)
	}
	if cfg.HTTP.URL != "https://nightshift.example.com/ns" {
		t.Errorf("http.url is %s", cfg.HTTP.URL)
	}
	if w := cfg.Policies.Policies[0].Warn; w == nil || w.Before.String() != "15m0s" || fmt.Sprint(w.To) != "[team-chat]" {
		t.Errorf("warn is %+v", w)
	}
	if s := cfg.Policies.Policies[1].Do[1]; s.Verb != policies.Notify || s.String() != "notify oncall, team-chat" || !s.IfFiring {
		t.Errorf("the step is %+v", s)
	}
}

// TestAWebhookIsNeverShown dumps a configuration in every way that comes to mind,
// and reads all faults that a file with a misplaced address may have.
func TestAWebhookIsNeverShown(t *testing.T) {
	cfg := &Config{Notify: []Target{{Name: "chat", URL: hush}}}
	j, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	y, err := yaml.Marshal(cfg.Notify)
	if err != nil {
		t.Fatal(err)
	}
	for form, text := range map[string]string{
		"json": string(j), "yaml": string(y), "%v": fmt.Sprintf("%v", *cfg), "%+v": fmt.Sprintf("%+v", *cfg), "%#v": fmt.Sprintf("%#v", *cfg),
		"%s": fmt.Sprintf("%s", cfg.Notify), "%q": fmt.Sprintf("%q", cfg.Notify), "%x": fmt.Sprintf("%x", cfg.Notify[0].URL), "error": CheckWebhook("ftp" + hush).Error(),
	} {
		if strings.Contains(text, "hush") || strings.Contains(text, fmt.Sprintf("%x", "hush")) {
			t.Errorf("%s shows it: %s", form, text)
		}
	}
	faults, err := os.ReadFile("testdata/faults/notify.txt")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(faults), "hush") {
		t.Errorf("a fault shows it:\n%s", faults)
	}
}
