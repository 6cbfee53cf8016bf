package policies_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"nightshift/policies"
)

func mapped(t *testing.T, texts map[string]string, body any, headers map[string]string) []policies.Mapped {
	t.Helper()
	m, err := policies.ParseMapping(texts)
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.Signals(body, headers)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestAMappingReadsEveryPartOfASignal(t *testing.T) {
	got := mapped(t, map[string]string{
		"alert": "item.labels.alertname", "status": "item.status", "value": "double(item.text)", "instance": `item.labels["instance"]`, "region": `"LON1"`,
		"labels": "item.labels", "fingerprint": "item.n", "starts_at": "item.at", "id": `headers["x-id"]`, "each": "body.alerts",
	}, map[string]any{"alerts": []any{map[string]any{
		"labels": map[string]any{"alertname": "Down", "instance": "web-1:9100", "n": int64(3), "deep": []any{}}, "status": "firing", "text": "7.5", "n": int64(9007199254740993), "at": "2026-03-04T12:00:00Z",
	}}}, map[string]string{"x-id": "abc"})
	s := got[0]
	if len(got) != 1 || s.Fault != nil || s.Alert != "Down" || s.Status != "firing" || *s.Value != 7.5 || s.Instance != "web-1:9100" || s.Region != "LON1" ||
		s.Fingerprint != "9007199254740993" || !s.StartsAt.Equal(time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)) || s.ID != "abc/web-1:9100" {
		t.Errorf("got %+v", s)
	}
	if len(s.Labels) != 3 || s.Labels["n"] != "3" {
		t.Errorf("labels %v, want the three that are scalars", s.Labels)
	}
}

func TestAMappingMakesListsAndMapsItself(t *testing.T) {
	got := mapped(t, map[string]string{"each": `body.hosts.filter(h, h != "b").map(h, {"h": h})`, "signal": `"x"`, "instance": "item.h", "labels": `{"a": item.h, "n": 1}`, "starts_at": "1772625600"},
		map[string]any{"hosts": []any{"a", "b", "c"}}, nil)
	if len(got) != 2 || got[0].Instance != "a" || got[1].Instance != "c" || got[1].Labels["a"] != "c" || got[1].Labels["n"] != "1" || got[0].StartsAt.Unix() != 1772625600 {
		t.Errorf("got %+v", got)
	}
}

func TestAnItemThatCannotBeReadDoesNotKeepTheOthersFromBeingRead(t *testing.T) {
	got := mapped(t, map[string]string{"each": "body", "signal": "item.name"}, []any{map[string]any{"nam": "x"}, map[string]any{"name": "y"}, map[string]any{"name": nil}}, nil)
	if got[0].Fault == nil || got[1].Fault != nil || got[1].Signal != "y" || got[2].Fault == nil {
		t.Errorf("got %+v", got)
	}
}

func TestExpressionsOfAMappingAreChecked(t *testing.T) {
	for key, c := range map[string][2]string{
		"alert":     {"body.x == 1", "yields bool, not a text"},
		"value":     {`"7"`, "yields string, not a number"},
		"each":      {`"x"`, "yields string, not a list"},
		"labels":    {"[1]", "not a map"},
		"starts_at": {"true", "not an instant"},
		"signal":    {"bdy.x", `there is no "bdy"`},
		"id":        {"frob(body)", `there is no function "frob"`},
		"status":    {" ", "empty"},
	} {
		_, err := policies.ParseMappingExpr(key, c[0])
		var at *policies.ExprError
		if !errors.As(err, &at) || !strings.Contains(err.Error(), c[1]) {
			t.Errorf("%s: %s: got %v, want %s", key, c[0], err, c[1])
		}
	}
}

func TestAMappingIsBounded(t *testing.T) {
	m, err := policies.ParseMapping(map[string]string{"each": "body", "signal": `"x"`})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Signals(make([]any, policies.MaxMapped+1), nil); err == nil {
		t.Error("too many signals were read")
	}
	if _, err := m.Signals("text", nil); err == nil {
		t.Error("a text was read as a list")
	}
	slow, err := policies.ParseMapping(map[string]string{"signal": `body.map(a, body.map(b, body.map(c, string(c)))).size() > 0 ? "x" : "y"`})
	if err != nil {
		t.Fatal(err)
	}
	got, err := slow.Signals(make([]any, 1000), nil)
	if err != nil || got[0].Fault == nil {
		t.Errorf("an expression that costs too much: %v, %+v", err, got)
	}
}
