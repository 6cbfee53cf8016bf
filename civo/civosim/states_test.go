package civosim_test

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"nightshift/civo/civosim"
)

const delay = 10 * time.Second

// one returns a simulator with one instance in a status.
func one(t *testing.T, status string, o civosim.Options) *tester {
	t.Helper()
	o.Delay = cmp.Or(o.Delay, delay)
	o.Fleet = oneMachine("LON1")
	o.Fleet[0].Status = status
	return newTester(t, o)
}

// act sends an operation on the one instance.
func (t *tester) act(op string) reply {
	t.Helper()
	path := "/v2/instances/" + machineID
	switch op {
	case "stop", "start":
		return t.send("PUT", path+"/"+op, "")
	case "reboots", "hard_reboots", "soft_reboots":
		return t.send("POST", path+"/"+op, "")
	case "resize":
		return t.send("PUT", path+"/resize", "size=g3.large")
	case "retag":
		return t.send("PUT", path+"/tags", "tags=new")
	case "firewall":
		return t.send("PUT", path+"/firewall", "name=restrictive-firewall")
	case "delete":
		return t.send("DELETE", path, "")
	}
	t.Fatalf("no operation %s", op)
	return reply{}
}

func TestPassages(t *testing.T) {
	for _, tt := range []struct {
		name, from, op string
		o              civosim.Options
		during, after  string
	}{
		{"stop", "ACTIVE", "stop", civosim.Options{}, "STOPPING", "SHUTOFF"},
		{"start shows the old status for a while", "SHUTOFF", "start", civosim.Options{}, "SHUTOFF", "ACTIVE"},
		{"start with a status of its own", "SHUTOFF", "start", civosim.Options{StartStatus: "STARTING"}, "STARTING", "ACTIVE"},
		{"reboot", "ACTIVE", "reboots", civosim.Options{}, "REBOOTING", "ACTIVE"},
		{"hard reboot", "ACTIVE", "hard_reboots", civosim.Options{}, "REBOOTING", "ACTIVE"},
		{"soft reboot", "ACTIVE", "soft_reboots", civosim.Options{}, "REBOOTING", "ACTIVE"},
		{"reboot of a stopped one", "SHUTOFF", "reboots", civosim.Options{}, "REBOOTING", "ACTIVE"},
		{"resize", "ACTIVE", "resize", civosim.Options{}, "REBOOTING", "ACTIVE"},
		{"resize by building", "ACTIVE", "resize", civosim.Options{ResizeStatus: "BUILDING"}, "BUILDING", "ACTIVE"},
		{"resize of a stopped one starts it", "SHUTOFF", "resize", civosim.Options{}, "REBOOTING", "ACTIVE"},
		{"resize of a stopped one that stays so", "SHUTOFF", "resize", civosim.Options{ResizeKeepsStopped: true}, "REBOOTING", "SHUTOFF"},
		{"delete", "ACTIVE", "delete", civosim.Options{}, "DELETING", "not found"},
		{"delete in any status", "MIGRATING", "delete", civosim.Options{}, "DELETING", "not found"},
		{"stop of a stopped one", "SHUTOFF", "stop", civosim.Options{}, "SHUTOFF", "SHUTOFF"},
		{"start of a running one", "ACTIVE", "start", civosim.Options{}, "ACTIVE", "ACTIVE"},
		{"retag needs no passage", "MIGRATING", "retag", civosim.Options{}, "MIGRATING", "MIGRATING"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := one(t, tt.from, tt.o)
			s.accepted(s.act(tt.op))
			s.wantStatus("LON1", machineID, tt.during)
			s.wait(delay - time.Nanosecond)
			s.wantStatus("LON1", machineID, tt.during)
			s.wait(time.Nanosecond)
			s.wantStatus("LON1", machineID, tt.after)
		})
	}
}

func TestWithoutADelayThingsAreDoneAtTheNextLook(t *testing.T) {
	s := newTester(t, civosim.Options{Fleet: oneMachine("LON1")})
	s.accepted(s.act("stop"))
	s.wantStatus("LON1", machineID, "SHUTOFF")
	s.accepted(s.act("start"))
	s.wantStatus("LON1", machineID, "ACTIVE")
	made := s.send("POST", "/v2/instances", "hostname=a&size=g3.small&template_id=ubuntu-focal").object(s)
	if made["status"] != "BUILDING" {
		t.Errorf("the answer of create says %v, want BUILDING", made["status"])
	}
	s.wantStatus("LON1", made["id"].(string), "ACTIVE")
	s.accepted(s.act("delete"))
	s.wantStatus("LON1", machineID, "not found")
}

func TestWhoIsBusyIsNotToBeDisturbed(t *testing.T) {
	for _, op := range []string{"stop", "start", "reboots", "hard_reboots", "soft_reboots", "resize"} {
		for _, status := range []string{"BUILDING", "MIGRATING", "ERROR", "SOMETHING_NEW"} {
			s := one(t, status, civosim.Options{})
			s.refused(s.act(op), 409, "instance_state_must_be_active_or_shutoff")
			s.wantStatus("LON1", machineID, status)
		}
		s := one(t, "SHUTOFF", civosim.Options{})
		s.accepted(s.act("start"))
		s.refused(s.act(op), 409, "instance_state_must_be_active_or_shutoff") // though SHUTOFF still shows
		s.wait(delay)
		s.wantStatus("LON1", machineID, "ACTIVE")
	}
	s := one(t, "ACTIVE", civosim.Options{})
	s.accepted(s.act("delete"))
	s.refused(s.act("delete"), 409, "instance_state_must_be_active_or_shutoff")
	s.refused(s.act("stop"), 409, "instance_state_must_be_active_or_shutoff")
	s.wait(delay)
	s.refused(s.act("delete"), 404, "database_instance_find")
}

func TestWhatIsNotDocumentedIsAnOption(t *testing.T) {
	for _, tt := range []struct {
		name, status, op string
		o                civosim.Options
	}{
		{"stop of a stopped one", "SHUTOFF", "stop", civosim.Options{RefuseRepeats: true}},
		{"start of a running one", "ACTIVE", "start", civosim.Options{RefuseRepeats: true}},
		{"reboot of a stopped one", "SHUTOFF", "soft_reboots", civosim.Options{RefuseRebootStopped: true}},
	} {
		s := one(t, tt.status, tt.o)
		s.refused(s.act(tt.op), 409, "instance_state_must_be_active_or_shutoff")
	}
	s := one(t, "ACTIVE", civosim.Options{KeepDuplicateTags: true})
	s.accepted(s.send("PUT", "/v2/instances/"+machineID+"/tags", "tags=a  b a"))
	if got, _ := s.sim.Instance(machineID); !slices.Equal(got.Tags, []string{"a", "b", "a"}) {
		t.Errorf("tags: got %q, want the double one kept", got.Tags)
	}
	s = one(t, "MIGRATING", civosim.Options{Statuses: map[string]int{"instance_state_must_be_active_or_shutoff": 422}})
	s.refused(s.act("stop"), 422, "instance_state_must_be_active_or_shutoff")
}

func TestLagShowsTheOldStatusForAWhile(t *testing.T) {
	s := one(t, "ACTIVE", civosim.Options{Lag: 4 * time.Second})
	s.accepted(s.act("stop"))
	s.wantStatus("LON1", machineID, "ACTIVE")
	s.refused(s.act("stop"), 409, "instance_state_must_be_active_or_shutoff") // it is busy all the same
	s.wait(4 * time.Second)
	s.wantStatus("LON1", machineID, "STOPPING")
	s.wait(delay)
	s.wantStatus("LON1", machineID, "SHUTOFF")
	made := s.send("POST", "/v2/instances", "hostname=a&size=g3.small&template_id=ubuntu-focal").object(s)
	s.wantStatus("LON1", made["id"].(string), "BUILDING")
}

func TestDelaysByOperationAndByChance(t *testing.T) {
	s := one(t, "ACTIVE", civosim.Options{Delays: map[string]time.Duration{"stop": time.Minute}})
	s.accepted(s.act("stop"))
	s.wait(59 * time.Second)
	s.wantStatus("LON1", machineID, "STOPPING")
	s.wait(time.Second)
	s.wantStatus("LON1", machineID, "SHUTOFF")

	ends := func(seed uint64) time.Duration {
		s := one(t, "ACTIVE", civosim.Options{Jitter: 1, Seed: seed})
		s.accepted(s.act("stop"))
		began := s.clock.t
		for s.status("LON1", machineID) != "SHUTOFF" {
			s.wait(100 * time.Millisecond)
		}
		return s.clock.t.Sub(began)
	}
	first := ends(1)
	if again := ends(1); again != first {
		t.Errorf("the same seed took %v and %v, want the same", first, again)
	}
	for seed := range uint64(20) {
		if d := ends(seed); d < delay || d > 2*delay {
			t.Errorf("seed %d took %v, want from %v to %v", seed, d, delay, 2*delay)
		}
	}
}

func TestAHandBehindTheClient(t *testing.T) {
	s := one(t, "ACTIVE", civosim.Options{})
	s.accepted(s.act("stop"))
	if !s.sim.SetStatus(machineID, "MIGRATING") {
		t.Fatal("SetStatus found no instance")
	}
	s.wait(delay)
	s.wantStatus("LON1", machineID, "MIGRATING") // the stop was interrupted
	s.sim.SetStatus(machineID, "SHUTOFF")
	s.accepted(s.act("start"))
	s.wait(delay)
	s.wantStatus("LON1", machineID, "ACTIVE")
	if !s.sim.Remove(machineID) || s.sim.Remove(machineID) || s.sim.SetStatus(machineID, "ACTIVE") || s.sim.SetTags(machineID) {
		t.Error("an instance is there once, and not after it was removed")
	}
	s.wantStatus("LON1", machineID, "not found")
}

func TestCreate(t *testing.T) {
	good := map[string]string{"hostname": "a.example.com", "size": "g3.small", "template_id": "ubuntu-focal"}
	for _, tt := range []struct {
		name, key, value string
		status           int
		code             string
	}{
		{"without a host name", "hostname", "", 400, "parameter_name_invalid"},
		{"with a bad host name", "hostname", "a_b", 400, "parameter_name_invalid"},
		{"with too long a label", "hostname", strings.Repeat("a", 64), 400, "parameter_name_invalid"},
		{"without a size", "size", "", 400, "parameter_size_missing"},
		{"with an unknown size", "size", "g9.huge", 404, "database_size_not_found"},
		{"with a size for Kubernetes", "size", "g4s.kube.small", 404, "database_size_not_found"},
		{"without an image", "template_id", "", 400, "parameter_image_and_volume_id_missing"},
		{"with an unknown image", "template_id", "beos", 404, "database_disk_image_not_found"},
		{"with an unknown network", "network_id", "nowhere", 404, "database_network_not_found"},
		{"with an unknown key", "ssh_key_id", "nobody", 404, "database_ssh_key_not_found"},
		{"with an unknown firewall", "firewall_id", "none", 404, "database_firewall_not_found"},
		{"with a count that is none", "count", "many", 400, "parameter_value_missing"},
		{"with a count without end", "count", "999999999", 400, "parameter_value_missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newTester(t, civosim.Options{})
			form := url.Values{}
			for key, v := range good {
				form.Set(key, v)
			}
			form.Set(tt.key, tt.value)
			s.refused(s.send("POST", "/v2/instances", form.Encode()), tt.status, tt.code)
			if n := len(s.sim.Instances()); n != 0 {
				t.Errorf("%d instances were made, want none", n)
			}
		})
	}
}

var uuid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func TestAnInstanceSpeaksBothVocabularies(t *testing.T) {
	s := newTester(t, civosim.Options{Delay: delay})
	key := s.send("GET", "/v2/sshkeys", "").list(s)[0]["id"].(string)
	with := s.send("POST", "/v2/instances", "hostname=a&size=g3.xsmall&template_id=ubuntu-focal&script=%23!/bin/sh&ssh_key_id="+key).object(s)
	script := base64.StdEncoding.EncodeToString([]byte("#!/bin/sh"))
	for field, want := range map[string]any{
		"user_script": script, "script": script, "source_type": "diskimage", "source_id": "ubuntu-focal",
		"template_id": "b67d6fed-8ab6-45b9-be2d-2f3337c933c6", "region": "LON1", "created_at": "2026-03-04T05:00:00Z",
		"initial_user": "ubuntu", "initial_password": "", "ssh_key_id": key, "cpu_cores": 1.0, "ram_mb": 1024.0, "disk_gb": 25.0,
		"public_ip": nil, "private_ip": nil, "ipv6": nil, "namespace_id": nil, "notes": "", "reverse_dns": "",
	} {
		if got, there := with[field]; !there || got != want {
			t.Errorf("%s: got %v (there: %t), want %v", field, got, there, want)
		}
	}
	for _, field := range []string{"id", "account_id", "network_id", "firewall_id", "civostatsd_token"} {
		if got, _ := with[field].(string); !uuid.MatchString(got) {
			t.Errorf("%s: got %q, want a UUID", field, got)
		}
	}
	if tags, ok := with["tags"].([]any); !ok || len(tags) != 0 {
		t.Errorf("tags: got %v, want an empty list", with["tags"])
	}
	without := s.send("POST", "/v2/instances", "hostname=a&size=g3.xsmall&template_id=ubuntu-focal").object(s)
	if without["initial_password"] == "" {
		t.Error("without a key there is no password, want one")
	}
	for _, field := range []string{"script", "user_script"} {
		if got, there := without[field]; there {
			t.Errorf("%s: got %v, want it absent where no script was sent", field, got)
		}
	}
	s.wait(delay)
	for _, id := range []any{with["id"], without["id"]} {
		got := s.send("GET", fmt.Sprintf("/v2/instances/%s", id), "").object(s)
		for _, field := range []string{"public_ip", "private_ip"} {
			if ip, _ := got[field].(string); ip == "" {
				t.Errorf("%s of an ACTIVE instance: got %v, want an address", field, got[field])
			}
		}
	}
}

func TestResizeIsUpwardsOnly(t *testing.T) {
	for _, tt := range []struct {
		from, to string
		status   int
		code     string
	}{
		{"g3.xsmall", "g3.small", 200, ""}, // the disks are equal
		{"g3.small", "g3.2xlarge", 200, ""},
		{"g3.small", "g4s.medium", 200, ""},
		{"g3.small", "g3.small", 400, "parameter_value_missing"},
		{"g3.small", "g4s.small", 400, "parameter_value_missing"},
		{"g3.medium", "g3.small", 400, "parameter_value_missing"},
		{"g3.small", "g9.huge", 404, "database_size_not_found"},
		{"g3.small", "", 400, "parameter_size_missing"},
	} {
		fleet := oneMachine("LON1")
		fleet[0].Size = tt.from
		s := newTester(t, civosim.Options{Fleet: fleet})
		r := s.send("PUT", "/v2/instances/"+machineID+"/resize", "region=LON1&size="+tt.to)
		want := tt.from
		if tt.status == 200 {
			s.accepted(r)
			want = tt.to
		} else {
			s.refused(r, tt.status, tt.code)
		}
		if got, _ := s.sim.Instance(machineID); got.Size != want {
			t.Errorf("%s to %q: got %s, want %s", tt.from, tt.to, got.Size, want)
		}
	}
}

func TestFirewall(t *testing.T) {
	s := newTester(t, civosim.Options{Fleet: oneMachine("LON1")})
	firewalls := s.send("GET", "/v2/firewalls", "").list(s)
	open, tight := firewalls[0]["id"].(string), firewalls[1]["id"].(string)
	made := s.send("POST", "/v2/networks", `{"label":"other","region":"LON1"}`).object(s)
	var foreign string
	for _, fw := range s.send("GET", "/v2/firewalls", "").list(s) {
		if fw["network_id"] == made["id"] {
			foreign = fw["id"].(string)
		}
	}
	path := "/v2/instances/" + machineID + "/firewall"
	for _, tt := range []struct{ name, body, want string }{
		{"by id", "firewall_id=" + tight, tight},
		{"blank: the open one of the default network", "firewall_id=", open},
		{"by name, as the page's sample", "name=restrictive-firewall", tight},
		{"by name in place of the id", `{"firewall_id":"default-default"}`, open},
	} {
		r := s.send("PUT", path, tt.body)
		s.accepted(r)
		if v := r.object(s); v["firewall_id"] != tt.want || v["id"] != machineID || v["hostname"] != "dev-1" {
			t.Errorf("%s: got %s, want the whole instance with the firewall %s", tt.name, r.body, tt.want)
		}
		if got, _ := s.sim.Instance(machineID); got.FirewallID != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got.FirewallID, tt.want)
		}
	}
	s.refused(s.send("PUT", path, "firewall_id=none"), 404, "database_firewall_not_found")
	s.refused(s.send("PUT", path, "firewall_id="+foreign), 409, "database_firewall_mismatch")

	other := s.send("POST", "/v2/instances", fmt.Sprintf("hostname=b&size=g3.small&template_id=ubuntu-focal&network_id=%s&firewall_id=%s", made["id"], foreign)).object(s)
	s.refused(s.send("PUT", fmt.Sprintf("/v2/instances/%s/firewall", other["id"]), "firewall_id="), 404, "database_firewall_not_found")
}

func TestNodesOfClustersAreNotOurs(t *testing.T) {
	fleet := oneMachine("LON1")
	fleet[0].Cluster = true
	s := newTester(t, civosim.Options{Fleet: fleet})
	for _, op := range []string{"stop", "start", "hard_reboots", "soft_reboots", "resize", "retag", "firewall", "delete"} {
		s.refused(s.act(op), 403, "database_cannot_manage_cluster_instance")
	}
	s.wantStatus("LON1", machineID, "ACTIVE")
}

func TestUpdateChangesOnlyWhatItIsGiven(t *testing.T) {
	s := newTester(t, civosim.Options{Fleet: oneMachine("LON1")})
	path := "/v2/instances/" + machineID
	show := func() string {
		v := s.send("GET", path, "").object(s)
		return fmt.Sprintf("%v %v %v", v["hostname"], v["notes"], v["reverse_dns"])
	}
	for _, tt := range []struct{ body, want string }{
		{`{"notes":"one"}`, "dev-1 one "},
		{`{"reverse_dns":"r.example.com"}`, "dev-1 one r.example.com"},
		{`{"hostname":"b","notes":"","subnets":null,"public_ip":"198.18.0.1"}`, "b one r.example.com"},
		{`{"notes":"","notes_delete":"true"}`, "b  r.example.com"},
	} {
		s.accepted(s.send("PUT", path, tt.body))
		if got := show(); got != tt.want {
			t.Errorf("after %s: got %q, want %q", tt.body, got, tt.want)
		}
	}
	s.refused(s.send("PUT", path, `{"hostname":"a b"}`), 400, "parameter_name_invalid")
}

// usage is what /v2/quota says of some items.
func (t *tester) usage() string {
	t.Helper()
	v := t.send("GET", "/v2/quota", "").object(t)
	return fmt.Sprintf("%v instances, %v cores, %v MB, %v GB", v["instance_count_usage"], v["cpu_core_usage"], v["ram_mb_usage"], v["disk_gb_usage"])
}

func TestQuota(t *testing.T) {
	o := civosim.Options{Delay: delay, QuotaLag: time.Minute, Quota: civosim.Quota{Instances: 3, CPUCores: 6}, Fleet: []civosim.Machine{{ID: machineID}, {Region: "NYC1", Status: "SHUTOFF"}}}
	s := newTester(t, o)
	want := func(usage string) {
		t.Helper()
		if got := s.usage(); got != usage {
			t.Errorf("got %s, want %s", got, usage)
		}
	}
	want("2 instances, 2 cores, 4096 MB, 50 GB") // the stopped one counts, and so does the other region
	r := s.send("POST", "/v2/instances", "hostname=a&size=g3.large&template_id=ubuntu-focal&count=2")
	s.refused(r, 403, "quota_limit_reached")
	if reason := r.object(s)["reason"].(string); strings.Count(reason, "\n") != 1 || !strings.Contains(reason, "instances") || !strings.Contains(reason, "CPU cores") {
		t.Errorf("got %q, want a line for the instances and one for the cores", reason)
	}
	want("2 instances, 2 cores, 4096 MB, 50 GB")

	s.accepted(s.act("resize")) // to g3.large: 4 cores, counted at once
	want("2 instances, 5 cores, 10240 MB, 125 GB")
	s.wait(delay)
	want("2 instances, 5 cores, 10240 MB, 125 GB")
	s.refused(s.send("PUT", "/v2/instances/"+machineID+"/resize", "size=g3.2xlarge"), 403, "quota_limit_reached")

	s.accepted(s.act("delete"))
	s.wait(delay)
	s.wantStatus("LON1", machineID, "not found")
	want("2 instances, 5 cores, 10240 MB, 125 GB") // for as long as the lag
	s.wait(time.Minute)
	want("1 instances, 1 cores, 2048 MB, 25 GB")
}

func TestTheQuotaOfAddresses(t *testing.T) {
	s := newTester(t, civosim.Options{Quota: civosim.Quota{PublicIPs: 1}, Fleet: oneMachine("LON1")})
	const form = "hostname=a&size=g3.small&template_id=ubuntu-focal"
	s.refused(s.send("POST", "/v2/instances", form), 403, "quota_limit_reached")
	s.refused(s.send("POST", "/v2/ips", ""), 403, "quota_limit_reached")
	if r := s.send("POST", "/v2/instances", form+"&public_ip=none"); r.status != 200 {
		t.Errorf("without an address: got %d %s, want 200", r.status, r.body)
	}
	s.accepted(s.act("delete"))
	s.wait(time.Second)
	if r := s.send("POST", "/v2/instances", form); r.status != 200 {
		t.Errorf("after the address is free: got %d %s, want 200", r.status, r.body)
	}
}
