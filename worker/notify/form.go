package notify

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Forms of messages.
const (
	FormSlack       = "slack"
	FormJSON        = "json"
	FormCloudEvents = "cloudevents"
)

// encode writes a message in a form.
func (m *Message) encode(form string) (contentType string, body []byte, err error) {
	switch form {
	case FormSlack:
		body, err = json.Marshal(m.slack())
		return "application/json; charset=utf-8", body, err
	case FormCloudEvents:
		body, err = json.Marshal(m.cloudEvent())
		return "application/cloudevents+json; charset=utf-8", body, err
	}
	body, err = json.Marshal(m)
	return "application/json; charset=utf-8", body, err
}

// cloudEvent is CloudEvents 1.0 in structured mode.
func (m *Message) cloudEvent() map[string]any {
	ce := map[string]any{
		"specversion": "1.0", "id": m.ID, "source": "nightshift", "type": "nightshift.v1.message." + m.Kind,
		"time": m.since.UTC(), "datacontenttype": "application/json", "data": m,
	}
	if m.Policy != "" {
		ce["subject"] = m.Policy
	}
	return ce
}

// Slack's bounds (docs.slack.dev/reference/block-kit/blocks): a section's text
// has 1 to 3000 characters, a message at most 50 blocks. Of text, 4000 are shown.
const (
	slackSection = 3000
	slackText    = 4000
)

type slackMessage struct {
	Text   string       `json:"text"` // for notifications, and for those that know no blocks
	Blocks []slackBlock `json:"blocks"`
}

type slackBlock struct {
	Type     string       `json:"type"`
	Text     *slackWords  `json:"text,omitempty"`
	Elements []slackWords `json:"elements,omitempty"`
}

type slackWords struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

func mrkdwn(s string) slackWords { return slackWords{"mrkdwn", s} }

// slackEscape is all that Slack asks to be escaped.
var slackEscape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

func (m *Message) slack() slackMessage {
	title := slackEscape.Replace(m.Title)
	lines := []string{"*" + title + "*"}
	plain := []string{title}
	for _, note := range m.notes {
		lines, plain = append(lines, slackEscape.Replace(note)), append(plain, slackEscape.Replace(note))
	}
	for _, i := range m.listed() {
		line := "• " + slackEscape.Replace(i.words())
		if i.Postpone != "" {
			line += " – <" + slackEscape.Replace(i.Postpone) + "|keep it running until " + slackEscape.Replace(i.Until) + ">"
		}
		lines, plain = append(lines, line), append(plain, line)
	}
	if more := m.unlisted(); more > 0 {
		lines = append(lines, fmt.Sprintf("• and %d more", more))
	}
	out := slackMessage{Text: cut(strings.Join(plain, "\n"), slackText)}
	for _, text := range sections(lines) {
		words := mrkdwn(text)
		out.Blocks = append(out.Blocks, slackBlock{Type: "section", Text: &words})
	}
	if len(m.Commands) > 0 {
		var commands []string
		for _, c := range m.Commands {
			commands = append(commands, "`"+slackEscape.Replace(c)+"`")
		}
		out.Blocks = append(out.Blocks, slackBlock{Type: "context", Elements: []slackWords{mrkdwn(cut(strings.Join(commands, "  "), slackSection))}})
	}
	return out
}

// sections are lines in as few texts as Slack's bound allows.
func sections(lines []string) (out []string) {
	text := ""
	for _, line := range lines {
		line = cut(line, slackSection)
		switch {
		case text == "":
			text = line
		case utf8.RuneCountInString(text)+1+utf8.RuneCountInString(line) > slackSection:
			out = append(out, text)
			text = line
		default:
			text += "\n" + line
		}
	}
	return append(out, text)
}

func cut(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}
