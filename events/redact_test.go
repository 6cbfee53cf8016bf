package events

import (
	"strings"
	"testing"
	"time"
)

func TestARecordNeverHoldsASecret(t *testing.T) {
	for _, text := range []string{
		`stop instance 4a07: {"id":"4a07","initial_password":"hunter2","civostatsd_token":"hunter2","tags":[]}, HTTP 500`,
		`{"initial_password": "hunter2", "status":"ACTIVE"}`,
		`{"initial_password":"pre\"hunter2","status":"ACTIVE"}`,
		`the answer begins: {"hostname":"a","initial_password":"hunter2`,
		`quoted: "{\"initial_password\":\"hunter2\",\"civostatsd_token\":\"hunter2\"}"`,
		`twice quoted: \\\"initial_password\\\":\\\"hunter2\\\"`,
		`initial_password: hunter2, civostatsd_token=hunter2`,
		`{'CIVOSTATSD_TOKEN': 'hunter2'}`,
		`{"api_key":"hunter2","clientSecret":"hunter2"}`,
		`request had Authorization: bearer hunter2hunter2`,
		`header "Authorization":"Bearer hunter2hunter2"`,
		`GET https://api.civo.com/v2?token=hunter2&region=LON1`,
		`connect nats://me:hunter2@10.0.0.1:4222: refused`,
		`{"initial_password":12345678,"civostatsd_token":hunter2}`,
	} {
		rec := Record{ActionID: "a", Action: "stop", Outcome: Failed, Trigger: "t", Region: "lon1", Instance: "i", Error: text, Detail: text, Why: text}
		_, body, err := encodeEvent(rec, "nightshift", time.Unix(0, 0))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(body), "hunter2") || strings.Contains(string(body), "12345678") {
			t.Errorf("%s became %s", text, withoutSecrets(text))
		}
	}
}

func TestWhatIsNoSecretIsKept(t *testing.T) {
	for _, text := range []string{
		"Civo refuses the token: every action is put off until it is accepted again",
		"stop instance 4a07 in LON1: quota reached (quota_limit_reached), HTTP 403",
		`Get "http://127.0.0.1:8080/v2/instances?region=LON1": dial tcp 127.0.0.1:8080: connect: connection refused`,
		"outside of Mon-Fri 08:00-19:00 Europe/London",
		"the token is missing", "basic rules apply", "password reset by oncall",
	} {
		if got := withoutSecrets(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}
