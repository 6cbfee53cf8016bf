package events

import "regexp"

// hidden stands in the place of a secret.
const hidden = "[hidden]"

// The API answers with initial_password and civostatsd_token of an instance, and
// an error may quote such an answer, or its beginning, escaped or not. The civo
// package keeps them out; here they are kept out of the audit trail once more,
// which cannot be edited afterwards.
var (
	secretPair = regexp.MustCompile(`(?i)([\w-]*(?:password|passwd|token|secret|api[_-]?key|private[_-]?key|authorization)[\w-]*\\*["']\s*[:=]\s*|(?:initial_password|civostatsd_token|authorization)\s*[:=]\s*|\b(?:password|passwd|token|secret|api[_-]?key)=)((?:bearer|basic)\s+\S+|\\+"[^"\\]*(?:\\+")?|"(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s,;&}\]]+)`)
	bearer     = regexp.MustCompile(`(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}`)
	userInfo   = regexp.MustCompile(`(://[^\s/:@]*:)[^\s/@]+@`)
)

// withoutSecrets hides what looks like a secret in a text for people.
func withoutSecrets(s string) string {
	s = secretPair.ReplaceAllString(s, "${1}"+hidden)
	s = bearer.ReplaceAllString(s, "${1} "+hidden)
	return userInfo.ReplaceAllString(s, "${1}"+hidden+"@")
}
