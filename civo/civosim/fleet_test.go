package civosim_test

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"nightshift/civo/civosim"
)

func TestAFleetFile(t *testing.T) {
	machines, err := civosim.ParseFleet([]byte(`
instances:
  - { hostname: dev-%d, count: 3, region: LON1, size: g3.small, tags: [env=dev], status: SHUTOFF }
  - &web
    hostname: web-1
    id: 4a07ac84-70f8-11e5-8fe9-5cf9389be614
    tags: role=web  team=a
    image: debian-12
    firewall: restrictive-firewall
    notes: by hand
    private: true
    cluster: true
    created: 2026-03-01T00:00:00Z
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []civosim.Machine{
		{Hostname: "dev-%d", Count: 3, Region: "LON1", Size: "g3.small", Tags: []string{"env=dev"}, Status: "SHUTOFF"},
		{
			Hostname: "web-1", ID: machineID, Tags: []string{"role=web", "team=a"}, Image: "debian-12", Firewall: "restrictive-firewall",
			Notes: "by hand", Private: true, Cluster: true, Created: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC),
		},
	}
	if !reflect.DeepEqual(machines, want) {
		t.Fatalf("got %+v, want %+v", machines, want)
	}

	s := newTester(t, civosim.Options{Fleet: machines})
	var names []string
	for _, i := range s.sim.Instances() {
		names = append(names, i.Hostname+" "+i.Status)
	}
	if got := strings.Join(names, ", "); got != "dev-1 SHUTOFF, dev-2 SHUTOFF, dev-3 SHUTOFF, web-1 ACTIVE" {
		t.Errorf("got %s", got)
	}
	web := s.send("GET", "/v2/instances/"+machineID, "").object(s)
	for field, want := range map[string]any{"source_id": "debian-12", "notes": "by hand", "public_ip": nil, "created_at": "2026-03-01T00:00:00Z"} {
		if web[field] != want {
			t.Errorf("%s: got %v, want %v", field, web[field], want)
		}
	}
}

func TestAnEmptyFleetFile(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "instances:\n", "instances: []\n"} {
		if machines, err := civosim.ParseFleet([]byte(text)); err != nil || len(machines) != 0 {
			t.Errorf("%q: got %v and %v, want nothing", text, machines, err)
		}
	}
}

func TestFaultsOfAFleetFile(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"not YAML", "instances: [", "line 1"},
		{"not a mapping", "- a", "line 1, column 1: a mapping with the keys instances is needed"},
		{"an unknown key at the top", "machines: []", `line 1, column 1: unknown key "machines": use instances`},
		{"not a list", "instances: 5", "line 1, column 12: instances must be a list"},
		{"an unknown key", "instances:\n  - {hostname: a, tag: x}", `line 2, column 19: unknown key "tag": use id, hostname`},
		{"a key twice", "instances:\n  - {hostname: a, hostname: b}", `key "hostname" is there twice`},
		{"a bad count", "instances:\n  - {hostname: a-%d, count: many}", `line 2, column 29: count "many" is not a number from 1 to 1000000`},
		{"no count", "instances:\n  - {hostname: a-%d, count: 0}", `count "0" is not a number`},
		{"too many in all", "instances:\n  - {count: 1000000}\n  - {hostname: a}", "line 3, column 5: the fleet has more than 1000000 instances"},
		{"a bad host name", "instances:\n  - {hostname: a_b}", `hostname "a_b" is not a host name`},
		{"several under one name", "instances:\n  - {hostname: a, count: 2}", "put %d where the number belongs"},
		{"several under one id", "instances:\n  - {id: x, count: 2}", "id x cannot be that of 2 instances"},
		{"an id twice", "instances:\n  - {id: x}\n  - {id: x}", "line 3, column 10: id x is also that of line 2"},
		{"an unknown size", "instances:\n  - {size: huge}", `size "huge" does not exist`},
		{"an unknown image", "instances:\n  - {image: beos}", `image "beos" does not exist`},
		{"an unknown firewall", "instances:\n  - {firewall: none}", `firewall "none" does not exist`},
		{"a tag with a blank", "instances:\n  - {tags: [a b]}", `tag "a b": a tag is a text without blanks`},
		{"tags that are no list", "instances:\n  - {tags: {a: b}}", "tags must be a list"},
		{"a status that is none", "instances:\n  - {status: }", "status must be a text"},
		{"a truth that is none", "instances:\n  - {private: yes}", "private must be true or false"},
		{"a time that is none", "instances:\n  - {created: yesterday}", `created "yesterday" is not a time`},
		{"an instance that is none", "instances:\n  - dev-1", "line 2, column 5: a mapping"},
	} {
		if _, err := civosim.ParseFleet([]byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q in it", tt.name, err, tt.want)
		}
	}
	_, err := civosim.ParseFleet([]byte("instances:\n  - {size: huge}\n  - {image: beos}\n  - {tag: x}\n"))
	if err == nil || strings.Count(err.Error(), "fleet file line") != 3 {
		t.Errorf("got %v, want all three at once", err)
	}
}

func TestTheSameSeedMakesTheSameFleet(t *testing.T) {
	fleet := []civosim.Machine{{Hostname: "dev-%d", Count: 50}}
	a := civosim.New(civosim.Options{Seed: 1, Fleet: fleet, Now: func() time.Time { return time.Unix(0, 0) }})
	b := civosim.New(civosim.Options{Seed: 1, Fleet: fleet, Now: func() time.Time { return time.Unix(0, 0) }})
	c := civosim.New(civosim.Options{Seed: 2, Fleet: fleet, Now: func() time.Time { return time.Unix(0, 0) }})
	if !reflect.DeepEqual(a.Instances(), b.Instances()) {
		t.Error("the same seed made two fleets")
	}
	if a.Instances()[0].ID == c.Instances()[0].ID {
		t.Error("two seeds made the same id")
	}
	seen := map[string]bool{}
	for _, i := range a.Instances() {
		if !uuid.MatchString(i.ID) || seen[i.ID] {
			t.Errorf("id %s is no UUID, or is there twice", i.ID)
		}
		seen[i.ID] = true
	}
}

func FuzzParseFleet(f *testing.F) {
	f.Add([]byte("instances:\n  - {hostname: dev-%d, count: 3, region: LON1, size: g3.small, tags: [env=dev], status: ACTIVE}\n"))
	f.Add([]byte("instances: [*a, &a {id: x}]"))
	f.Add([]byte("instances:\n  - {created: 2026-03-01T00:00:00Z, private: true}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		machines, err := civosim.ParseFleet(data)
		total := 0
		for _, m := range machines {
			total += max(m.Count, 1)
		}
		if err != nil || total > 1000 {
			return
		}
		if sim := civosim.New(civosim.Options{Fleet: machines}); len(sim.Instances()) != total { // what was read can be made
			t.Errorf("got %d instances, want %d", len(sim.Instances()), total)
		}
	})
}

func TestTheFleetFileOfTheDocumentation(t *testing.T) {
	data, err := os.ReadFile("../../docs/simulator.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "```yaml\n")
	text, _, ok := strings.Cut(rest, "```")
	machines, err := civosim.ParseFleet([]byte(text))
	if !ok || err != nil {
		t.Fatalf("got %v", err)
	}
	if n := len(civosim.New(civosim.Options{Fleet: machines}).Instances()); n != 5005 {
		t.Errorf("got %d instances, want 5005", n)
	}
	for _, kind := range []civosim.FaultKind{
		civosim.RateLimited, civosim.ServerError, civosim.HTML502, civosim.HTML504, civosim.CutBefore, civosim.CutAfter, civosim.Slow, civosim.BadJSON,
		civosim.EmptyBody, civosim.AcceptedButNotDone, civosim.Stuck, civosim.StaleRead, civosim.Unauthorized, civosim.Refused,
	} {
		if !strings.Contains(string(data), "`"+string(kind)+"`") {
			t.Errorf("the documentation lacks the fault %s", kind)
		}
	}
}
