package events

import (
	"regexp"
	"strings"
)

var stillForm = regexp.MustCompile(`but (?:still ([A-Z_]+) after|not so after \S+: ([A-Z_]+)$)`)

// CauseOf is why an action failed, in a word or two: its reason, or what is known
// of what was said.
func CauseOf(reason, detail, fault string) string {
	text := strings.ToLower(fault + " " + detail)
	switch still := stillForm.FindStringSubmatch(detail); {
	case reason != "":
		return reason
	case strings.Contains(text, "capacity"):
		return "capacity"
	case strings.Contains(text, "quota"):
		return "quota"
	case still != nil:
		return "still " + still[1] + still[2]
	}
	return ""
}
