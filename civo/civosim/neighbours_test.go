package civosim_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"nightshift/civo/civosim"
)

func TestWhatTheCommandLineAsksFor(t *testing.T) {
	s := newTester(t, civosim.Options{Fleet: oneMachine("LON1")})
	for path, fields := range map[string][]string{
		"/v2/regions":                   {"code", "name", "type", "out_of_capacity", "country", "country_name", "default", "features"},
		"/v2/sizes?region=LON1":         {"type", "name", "nice_name", "cpu_cores", "gpu_count", "ram_mb", "disk_gb", "description", "selectable"},
		"/v2/networks?region=LON1":      {"id", "name", "label", "default", "cidr", "status"},
		"/v2/firewalls?region=LON1":     {"id", "name", "network_id", "rules_count", "instance_count", "rules"},
		"/v2/disk_images?region=LON1":   {"id", "name", "version", "state", "distribution", "description", "label", "initial_user"},
		"/v2/sshkeys":                   {"id", "name", "fingerprint", "public_key", "created_at"},
		"/v2/volumetypes?region=LON1":   {"name", "description"},
		"/v2/charges":                   {"product_id", "code", "label", "from", "to", "num_hours", "size_gb", "region"},
		"/v2/regions?anything=whatever": {"code"},
	} {
		list := s.send("GET", path, "").list(s)
		if path == "/v2/charges" && len(list) == 0 { // nothing has lasted yet
			s.wait(time.Minute)
			list = s.send("GET", path, "").list(s)
		}
		if len(list) == 0 {
			t.Errorf("%s is empty", path)
			continue
		}
		for _, f := range fields {
			if _, there := list[0][f]; !there {
				t.Errorf("%s: %s is missing in %v", path, f, list[0])
			}
		}
	}
	quota := s.send("GET", "/v2/quota", "").object(s)
	for _, item := range []string{"instance_count", "cpu_core", "ram_mb", "disk_gb", "disk_volume_count", "disk_snapshot_count", "public_ip_address", "subnet_count", "network_count", "security_group", "security_group_rule", "port_count", "loadbalancer_count", "objectstore_gb"} {
		for _, side := range []string{"_limit", "_usage"} {
			if _, ok := quota[item+side].(float64); !ok {
				t.Errorf("quota: %s is %v, want a number", item+side, quota[item+side])
			}
		}
	}
	if r := s.send("GET", "/v2/ping", ""); r.status != 200 {
		t.Errorf("ping: got %d", r.status)
	}
	defaults := 0
	for _, n := range s.send("GET", "/v2/networks", "").list(s) {
		if n["default"] == true {
			defaults++
		}
	}
	if defaults != 1 {
		t.Errorf("got %d default networks, want one", defaults)
	}
}

func TestSizesOfTheTable(t *testing.T) {
	s := newTester(t, civosim.Options{})
	got := map[string]string{}
	for _, z := range s.send("GET", "/v2/sizes", "").list(s) {
		got[z["name"].(string)] = fmt.Sprint(z["cpu_cores"], " ", z["ram_mb"], " ", z["disk_gb"])
	}
	for name, want := range map[string]string{
		"xsmall": "1 1024 25", "small": "1 2048 25", "medium": "2 4096 50", "large": "4 8192 100", "xlarge": "6 16384 150", "2xlarge": "8 32768 200",
	} {
		for _, family := range []string{"g3.", "g4s."} {
			if got[family+name] != want {
				t.Errorf("%s: got %q, want %q", family+name, got[family+name], want)
			}
		}
	}
}

// hours are the charges as text: code, label, hours.
func (t *tester) hours(from, to string) []string {
	t.Helper()
	var out []string
	for _, c := range t.send("GET", "/v2/charges?from="+url.QueryEscape(from)+"&to="+url.QueryEscape(to), "").list(t) {
		out = append(out, fmt.Sprintf("%v %v %v %v", c["code"], c["label"], c["num_hours"], c["size_gb"]))
	}
	return out
}

func TestChargesCountStoppedHours(t *testing.T) {
	s := one(t, "SHUTOFF", civosim.Options{}) // it never runs
	s.wait(90 * time.Minute)
	want := func(from, to string, lines ...string) {
		t.Helper()
		if got := s.hours(from, to); strings.Join(got, "\n") != strings.Join(lines, "\n") {
			t.Errorf("%s to %s: got %q, want %q", from, to, got, lines)
		}
	}
	want("2026-03-04T00:00:00Z", "2026-03-05T00:00:00Z", "instance-g3.small dev-1 2 <nil>") // each started hour in full
	want("2026-03-04T06:00:00Z", "2026-03-04T06:10:00Z", "instance-g3.small dev-1 1 <nil>")
	want("2026-03-03T00:00:00Z", "2026-03-04T05:00:00Z")

	s.accepted(s.act("resize"))
	s.accepted(s.send("POST", "/v2/volumes", "name=data&size_gb=10"))
	s.wait(2 * time.Hour)
	s.accepted(s.act("delete"))
	s.wait(100 * time.Hour) // what is deleted costs nothing; the volume stays and does
	want("2026-03-04T00:00:00Z", "2026-03-05T05:00:00Z",
		"instance-g3.small dev-1 2 <nil>", "instance-g3.large dev-1 2 <nil>", "volume data 23 10")
	want("2026-03-04T08:31:00+00:00", "2026-03-04T09:31:00 00:00", "volume data 1 10") // a plus that came as a space

	for query, code := range map[string]string{
		"from=yesterday": "parameter_time_value",
		"from=2026-03-04T00:00:00Z&to=2026-03-03T00:00:00Z": "parameter_date_range",
		"from=2026-01-01T00:00:00Z&to=2026-02-02T00:00:00Z": "parameter_date_range_too_long",
	} {
		s.refused(s.send("GET", "/v2/charges?"+query, ""), 400, code)
	}
}

func TestActionsSayWhoDidWhat(t *testing.T) {
	s := one(t, "ACTIVE", civosim.Options{})
	s.accepted(s.act("stop"))
	s.send("GET", "/v2/instances", "") // reads leave nothing
	s.accepted(s.send("POST", "/v2/volumes", "name=data&size_gb=10"))
	items := s.send("GET", "/v2/actions", "").object(s)["items"].([]any)
	if len(items) != 2 {
		t.Fatalf("got %d actions, want 2: %v", len(items), items)
	}
	if first := items[0].(map[string]any); first["id"] != 2.0 || first["type"] != "volume-create" {
		t.Errorf("got %v first, want the newest, the volume", first)
	}
	newest := s.send("GET", "/v2/actions?per_page=1&related_id="+machineID, "").object(s)["items"].([]any)[0].(map[string]any)
	if newest["type"] != "instance-stop" || newest["related_id"] != machineID || newest["created_at"] != "2026-03-04T05:00:00Z" || newest["id"] != 1.0 {
		t.Errorf("got %v, want the stop", newest)
	}
}

func TestVolumes(t *testing.T) {
	s := one(t, "ACTIVE", civosim.Options{})
	id := s.send("POST", "/v2/volumes/", `{"name":"data","size_gb":10,"region":"LON1","bootable":false}`).object(s)["id"].(string)
	path := "/v2/volumes/" + id
	show := func() string {
		v := s.send("GET", path, "").object(s)
		return fmt.Sprint(v["status"], " ", v["instance_id"], " ", v["size_gb"])
	}
	s.accepted(s.send("PUT", path+"/attach", `{"instance_id":"`+machineID+`","region":"LON1"}`))
	if got := show(); got != "attached "+machineID+" 10" {
		t.Errorf("after attach: got %s", got)
	}
	attached := s.send("GET", "/v2/instances/"+machineID, "").object(s)["attached_volumes"]
	if fmt.Sprint(attached) != fmt.Sprintf("[map[id:%s]]", id) {
		t.Errorf("attached_volumes: got %v", attached)
	}
	s.refused(s.send("DELETE", path, ""), 409, "database_volume_still_attached_cannot_delete")
	s.refused(s.send("PUT", path+"/attach", "instance_id="+machineID), 409, "database_volume_already_attached")
	s.accepted(s.send("PUT", path+"/detach", `{"region":"LON1"}`))
	s.accepted(s.send("PUT", path+"/detach", `{"region":"LON1"}`))
	s.accepted(s.send("PUT", path+"/resize", `{"size_gb":20}`))
	s.refused(s.send("PUT", path+"/resize", `{"size_gb":20}`), 400, "parameter_value_missing")
	s.refused(s.send("PUT", path+"/attach", "instance_id=nobody"), 404, "database_instance_find")
	if got := show(); got != "available  20" {
		t.Errorf("after detach and resize: got %s", got)
	}
	s.accepted(s.send("PUT", path+"/attach", "instance_id="+machineID))
	s.accepted(s.act("delete"))
	s.wait(delay)
	s.wantStatus("LON1", machineID, "not found")
	if got := show(); got != "available  20" {
		t.Errorf("a volume outlives its instance: got %s", got)
	}
	s.accepted(s.send("DELETE", path, ""))
	s.refused(s.send("GET", path, ""), 404, "database_volume_not_found")
	if got := s.usage(); got != "0 instances, 0 cores, 0 MB, 0 GB" {
		t.Errorf("usage: got %s, want nothing", got)
	}
}

func TestReservedAddresses(t *testing.T) {
	s := one(t, "ACTIVE", civosim.Options{})
	made := s.send("POST", "/v2/ips", `{"name":"front"}`).object(s)
	path := "/v2/ips/" + made["id"].(string)
	public := func() any { return s.send("GET", "/v2/instances/"+machineID, "").object(s)["public_ip"] }
	before := public()
	s.accepted(s.send("PUT", path+"/actions", `{"action":"assign","assigned_to":{"id":"`+machineID+`","type":"instance","name":"x"}}`))
	if got := public(); got != made["ip"] || got == before {
		t.Errorf("public_ip: got %v, want the reserved %v", got, made["ip"])
	}
	items := s.send("GET", "/v2/ips", "").object(s)["items"].([]any)
	if to := items[0].(map[string]any)["assigned_to"].(map[string]any); to["id"] != machineID || to["type"] != "instance" || to["name"] != "dev-1" {
		t.Errorf("assigned_to: got %v", to)
	}
	s.refused(s.send("DELETE", path, ""), 409, "database_ip_in_use")
	for range 2 { // to unassign twice is no error
		s.accepted(s.send("PUT", path+"/actions", `{"action":"unassign"}`))
	}
	if got := public(); got != before {
		t.Errorf("public_ip: got %v, want the old %v", got, before)
	}
	if got := s.send("PUT", path, `{"name":"back"}`).object(s)["name"]; got != "back" {
		t.Errorf("name: got %v, want back", got)
	}
	s.refused(s.send("PUT", path+"/actions", `{"action":"dance"}`), 400, "parameter_value_missing")
	s.accepted(s.send("DELETE", path, ""))
	s.refused(s.send("GET", path, ""), 404, "database_ip_not_found")
}

func TestWebhooks(t *testing.T) {
	s := newTester(t, civosim.Options{})
	made := s.send("POST", "/v2/webhooks", `{"Events":["instance.stopped","instance.started"],"URL":"https://example.com/hook","Secret":""}`).object(s)
	if fmt.Sprint(made["events"]) != "[instance.stopped instance.started]" || made["url"] != "https://example.com/hook" || made["secret"] == "" {
		t.Errorf("got %v, want what was asked for and a secret", made)
	}
	path := "/v2/webhooks/" + made["id"].(string)
	if got := s.send("PUT", path, "events=*").object(s); fmt.Sprint(got["events"]) != "[*]" || got["url"] != made["url"] || got["secret"] != made["secret"] {
		t.Errorf("got %v, want other events and the rest as it was", got)
	}
	if got := s.send("GET", "/v2/webhooks", "").list(s); len(got) != 1 {
		t.Errorf("got %v, want one", got)
	}
	s.accepted(s.send("DELETE", path, ""))
	s.refused(s.send("DELETE", path, ""), 404, "database_webhook_not_found")
	for _, r := range s.sim.Requests() {
		if strings.Contains(r.Body, "secret=") && !strings.Contains(r.Body, "secret=%2A%2A%2A") {
			t.Errorf("the ledger shows a secret: %s", r.Body)
		}
	}
}

func TestKeysNetworksAndFirewalls(t *testing.T) {
	s := one(t, "ACTIVE", civosim.Options{})
	key := s.send("POST", "/v2/sshkeys", `{"name":"mine","public_key":"ssh-ed25519 AAAA"}`).object(s)
	s.accepted(s.send("DELETE", "/v2/sshkeys/"+key["id"].(string), ""))
	s.refused(s.send("GET", "/v2/sshkeys/"+key["id"].(string), ""), 404, "database_ssh_key_not_found")

	network := s.send("POST", "/v2/networks", "label=lab").object(s)
	s.accepted(s.send("PUT", "/v2/networks/"+network["id"].(string), "label=lab2"))
	fw := s.send("POST", "/v2/firewalls", fmt.Sprintf(`{"name":"tight","network_id":%q,"create_rules":false,"rules":[{"protocol":"tcp","start_port":"22","cidr":["0.0.0.0/0"],"direction":"ingress","action":"allow"}]}`, network["id"])).object(s)
	path := "/v2/firewalls/" + fw["id"].(string)
	s.refused(s.send("POST", "/v2/firewalls", fmt.Sprintf(`{"name":"tight","network_id":%q}`, network["id"])), 409, "database_firewall_duplicate_name")
	rule := s.send("POST", path+"/rules", `{"protocol":"udp","start_port":"53","cidr":["10.0.0.0/8","192.168.0.0/16"],"direction":"egress","action":"allow"}`).object(s)
	if rule["end_port"] != "53" || fmt.Sprint(rule["cidr"]) != "[10.0.0.0/8 192.168.0.0/16]" {
		t.Errorf("got %v, want the rule as asked for", rule)
	}
	if rules := s.send("GET", path+"/rules", "").list(s); len(rules) != 2 {
		t.Errorf("got %v, want two rules", rules)
	}
	s.accepted(s.send("DELETE", path+"/rules/"+rule["id"].(string), ""))
	if got := s.send("GET", path, "").object(s)["rules_count"]; got != 1.0 {
		t.Errorf("rules_count: got %v, want 1", got)
	}
	s.accepted(s.send("DELETE", path, ""))
	s.accepted(s.send("DELETE", "/v2/networks/"+network["id"].(string), ""))

	s.refused(s.send("DELETE", "/v2/networks/"+s.send("GET", "/v2/networks?region=FRA1", "").list(s)[0]["id"].(string)+"?region=FRA1", ""), 409, "database_network_delete_with_instance")
	used := s.send("GET", "/v2/instances/"+machineID, "").object(s)["firewall_id"].(string)
	s.refused(s.send("DELETE", "/v2/firewalls/"+used, ""), 500, "database_firewall_deleted_failed")
	for _, f := range s.send("GET", "/v2/firewalls", "").list(s) {
		if want := map[bool]float64{true: 1}[f["id"] == used]; f["instance_count"] != want {
			t.Errorf("instance_count of %v: got %v, want %v", f["name"], f["instance_count"], want)
		}
	}
	quota := s.send("GET", "/v2/quota", "").object(s)
	if quota["network_count_usage"] != 3.0 || quota["security_group_usage"] != 6.0 {
		t.Errorf("got %v networks and %v firewalls, want 3 and 6", quota["network_count_usage"], quota["security_group_usage"])
	}
}

func TestAReservedAddressMoves(t *testing.T) {
	s := newTester(t, civosim.Options{Fleet: []civosim.Machine{{ID: "one", Hostname: "one"}, {ID: "two", Hostname: "two"}}})
	assign := func(ip map[string]any, instance string) {
		t.Helper()
		s.accepted(s.send("POST", "/v2/ips/"+ip["id"].(string)+"/actions", `{"action":"assign","assign_to_id":"`+instance+`","assign_to_type":"instance"}`))
	}
	reserved := func(instance string) any {
		return s.send("GET", "/v2/instances/"+instance, "").object(s)["reserved_ip"]
	}
	a, b := s.send("POST", "/v2/ips", "name=a").object(s), s.send("POST", "/v2/ips", "name=b").object(s)
	assign(a, "one")
	assign(a, "two")
	if reserved("one") != nil || reserved("two") != a["ip"] {
		t.Errorf("got %v and %v, want the address at the second only", reserved("one"), reserved("two"))
	}
	assign(b, "two") // in place of the first
	if got := s.send("GET", "/v2/ips/"+a["id"].(string), "").object(s)["assigned_to"]; reserved("two") != b["ip"] || got != nil {
		t.Errorf("got %v, and the first is assigned to %v, want the second address alone", reserved("two"), got)
	}
	s.send("PUT", "/v2/ips/"+b["id"].(string), "name=front")
	if got := s.send("GET", "/v2/instances/two", "").object(s)["reserved_ip_name"]; got != "front" {
		t.Errorf("reserved_ip_name: got %v, want the new name", got)
	}
	s.accepted(s.send("DELETE", "/v2/instances/two", ""))
	s.accepted(s.send("DELETE", "/v2/ips/"+b["id"].(string), "")) // free again
}

func TestAReservedAddressFromTheStart(t *testing.T) {
	s := newTester(t, civosim.Options{})
	ip := s.send("POST", "/v2/ips", "name=front").object(s)
	form := "hostname=a&size=g3.small&template_id=ubuntu-focal&reserved_ipv4="
	s.refused(s.send("POST", "/v2/instances", form+"back"), 404, "database_ip_not_found")
	s.refused(s.send("POST", "/v2/instances", form+"front&count=2"), 400, "database_instance_build_multiple_with_existing_public_ip")
	s.refused(s.send("POST", "/v2/instances", form+"front&region=NYC1"), 404, "database_ip_not_found")
	made := s.send("POST", "/v2/instances", form+"front").object(s)["id"].(string)
	if got := s.send("GET", "/v2/instances/"+made, "").object(s); got["public_ip"] != ip["ip"] || got["reserved_ip_id"] != ip["id"] {
		t.Errorf("got %v, want the reserved address", got)
	}
	s.refused(s.send("POST", "/v2/instances", form+ip["id"].(string)), 409, "database_ip_in_use")
	if used := s.send("GET", "/v2/quota", "").object(s)["public_ip_address_usage"]; used != 1.0 {
		t.Errorf("%v addresses are used, want one", used)
	}
}
