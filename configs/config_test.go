package configs_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nightshift/configs"
	"nightshift/policies"
)

var update = flag.Bool("update", false, "write the expected faults anew")

// TestEachMistakeIsNamed reads one file per mistake and compares what is said
// with the text beside it.
func TestEachMistakeIsNamed(t *testing.T) {
	paths, err := filepath.Glob("testdata/faults/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, err = configs.Parse(filepath.Base(path), data)
			var faults configs.Faults
			if !errors.As(err, &faults) {
				t.Fatalf("got %v, want faults", err)
			}
			for _, f := range faults {
				if f.Line < 1 || f.Col < 1 {
					t.Errorf("%s has no place", f)
				}
			}
			golden := strings.TrimSuffix(path, ".yaml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(err.Error()+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, rerr := os.ReadFile(golden)
			if rerr != nil {
				t.Fatalf("%v; write it with -update and read it", rerr)
			}
			if got := err.Error() + "\n"; got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func TestTheExampleIsGoodAndSaysWhatItMeans(t *testing.T) {
	c, err := configs.Parse("example.yaml", configs.Example())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Policies.Validate(); err != nil {
		t.Error(err)
	}
	web, ok := c.Policies.Policy("web-down")
	if !ok || web.Signal == nil || web.Signal.Alert != "InstanceDown" || web.Signal.Labels["severity"] != "critical" || web.Cooldown != 30*time.Minute {
		t.Errorf("web-down: %+v", web)
	}
	batch, _ := c.Policies.Policy("batch-start")
	if batch.Lasts != 3*time.Hour || len(batch.Do) != 1 || batch.Do[0].Verb != policies.Start {
		t.Errorf("batch-start: %+v", batch)
	}
	if n := strings.Count(string(configs.Example()), "\n"); n > 90 {
		t.Errorf("the example has %d lines, it should fit two screens", n)
	}
}

func TestWordsThatOtherReadersTakeForBooleansAreWords(t *testing.T) {
	c, err := configs.Parse("f", []byte("version: 1\nregions: [NO, on]\npolicies:\n  - { name: yes, select: { all: [off] }, cron: \"@daily\", do: start }\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Policies.Policies[0].Name != "yes" || c.Policies.Policies[0].Select.All[0] != "off" || strings.Join(c.Policies.Regions, " ") != "NO ON" {
		t.Errorf("got %+v %v", c.Policies.Policies[0], c.Policies.Regions)
	}
}

func TestByteOrderMarkCRLFAndAliases(t *testing.T) {
	text := "\xef\xbb\xbfversion: 1\r\nregions: [LON1]\r\npolicies:\r\n  - { name: a, select: &s { all: [x] }, cron: \"@daily\", do: start }\r\n  - { name: b, select: *s, cron: \"@daily\", do: stop }\r\n"
	if _, err := configs.Parse("f", []byte(text)); err != nil {
		t.Error(err)
	}
}

func TestAFileLargerThanAMegabyteIsRefused(t *testing.T) {
	if _, err := configs.Parse("f", []byte(strings.Repeat("#", 1<<20+1))); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("got %v", err)
	}
}

const good = "version: 1\npolicies:\n  - { name: a, select: { all: [x] }, cron: \"@daily\", do: start }\n"

func load(t *testing.T, text string, environ []string, over configs.Overrides) (*configs.Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return configs.Load(path, environ, over)
}

func TestFlagsOverEnvironmentOverFileOverDefaults(t *testing.T) {
	file := good + "regions: [LON1]\ndata_dir: /file\ncivo: { api_url: \"http://file\", rate: 2/s }\n"
	for _, tt := range []struct {
		name    string
		environ []string
		over    configs.Overrides
		want    string
	}{
		{"file", nil, configs.Overrides{}, "/file http://file 2 8 [LON1]"},
		{"environment", []string{"NIGHTSHIFT_DATA_DIR=/env", "CIVO_API_URL=http://env", "NIGHTSHIFT_CIVO_RATE=60/m", "NIGHTSHIFT_WORKERS=3"}, configs.Overrides{}, "/env http://env 1 3 [LON1]"},
		{"the closer name wins", []string{"NIGHTSHIFT_CIVO_API_URL=http://ours", "CIVO_API_URL=http://env"}, configs.Overrides{}, "/file http://ours 2 8 [LON1]"},
		{"flags", []string{"NIGHTSHIFT_DATA_DIR=/env", "CIVO_API_URL=http://env"}, configs.Overrides{DataDir: "/flag", APIURL: "http://flag"}, "/flag http://flag 2 8 [LON1]"},
		{"an empty variable is not set", []string{"NIGHTSHIFT_DATA_DIR=", "CIVO_REGION=NYC1"}, configs.Overrides{}, "/file http://file 2 8 [LON1]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := load(t, file, tt.environ, tt.over)
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprintf("%s %s %g %d %v", c.DataDir, c.Civo.APIURL, c.Civo.Rate, c.Workers, c.Policies.Regions); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestTheRegionMayComeFromTheEnvironment(t *testing.T) {
	if _, err := load(t, good, nil, configs.Overrides{}); err == nil || !strings.Contains(err.Error(), "no region is named") {
		t.Errorf("without a region: %v", err)
	}
	c, err := load(t, good, []string{"CIVO_REGION=lon1"}, configs.Overrides{})
	if err != nil || fmt.Sprint(c.Policies.Regions) != "[LON1]" {
		t.Errorf("got %v, %v", c, err)
	}
}

func TestFaultsOfTheEnvironment(t *testing.T) {
	for pair, want := range map[string]string{
		"NIGHTSHIFT_NATS_ULR=x":             "did you mean NIGHTSHIFT_NATS_URL?",
		"NIGHTSHIFT_WORKERS=many":           "not a whole number",
		"NIGHTSHIFT_CIVO_RATE=quick":        "not a rate",
		"NIGHTSHIFT_VERIFY_WITHIN=10":       "not a duration",
		"NIGHTSHIFT_MODE=off":               "not a mode",
		"CIVO_REGION=no such region at all": "not the code of a region",
		"CIVO_API_URL=api.civo.com":         "not an address of the form https://host",
		"NIGHTSHIFT_NATS_LISTEN=4222":       "neither host:port nor none",
	} {
		_, err := load(t, good+"regions: [LON1]\n", []string{pair}, configs.Overrides{})
		if name, _, _ := strings.Cut(pair, "="); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), name+": ") {
			t.Errorf("%s: got %v, want %q", pair, err, want)
		}
	}
}

func TestVariablesThatKubernetesGivesToPodsAreNotOurs(t *testing.T) {
	environ := []string{"NIGHTSHIFT_SERVICE_HOST=10.0.0.1", "NIGHTSHIFT_SERVICE_PORT=80", "NIGHTSHIFT_SERVICE_PORT_HTTP=80", "NIGHTSHIFT_PORT=tcp://10.0.0.1:80",
		"NIGHTSHIFT_PORT_80_TCP=tcp://10.0.0.1:80", "NIGHTSHIFT_PORT_80_TCP_PROTO=tcp", "NIGHTSHIFT_PORT_80_TCP_PORT=80", "NIGHTSHIFT_PORT_80_TCP_ADDR=10.0.0.1",
		"NIGHTSHIFT_NATS_SERVICE_HOST=10.0.0.2", "NIGHTSHIFT_NATS_PORT_4222_TCP=tcp://10.0.0.2:4222"}
	if _, err := load(t, good+"regions: [LON1]\n", environ, configs.Overrides{}); err != nil {
		t.Error(err)
	}
}

func TestInstancesOfTestsAreInTheFirstRegion(t *testing.T) {
	const tests = "tests: [ { instance: { name: x }, at: 2026-12-25, want: any }, { instance: { name: y, region: nyc1 }, at: 2026-12-25, want: any } ]\n"
	for _, tt := range []struct {
		file    string
		environ []string
		want    string
	}{
		{tests + good + "regions: [NYC1, LON1]\n", nil, "NYC1 NYC1"}, // tests before regions
		{tests + good, []string{"CIVO_REGION=lon1"}, "LON1 NYC1"},
	} {
		c, err := load(t, tt.file, tt.environ, configs.Overrides{})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Tests[0].Instance.Region + " " + c.Tests[1].Instance.Region; got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

func TestTheTokenIsNotReadHere(t *testing.T) {
	const token = "t0ken-that-must-not-show"
	c, err := load(t, good+"regions: [LON1]\n", []string{"CIVO_TOKEN=" + token}, configs.Overrides{})
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", *c), string(encoded)} {
		if strings.Contains(text, token) {
			t.Errorf("the token is in %s", text)
		}
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{"30s": 30 * time.Second, "1h30m": 90 * time.Minute, "2d": 48 * time.Hour, "1d12h": 36 * time.Hour, "": 0, "5": 0, "-5m": 0, "0s": 0, "1.5d": 0, "d": 0} {
		got, err := configs.ParseDuration(text)
		if got != want && err == nil || (err == nil) != (want > 0) {
			t.Errorf("%q: got %s, %v, want %s", text, got, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(configs.Example())
	paths, err := filepath.Glob("testdata/faults/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	schema := compiled(f, configs.Schema())
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := configs.Parse("f", data)
		var faults configs.Faults
		switch {
		case err == nil:
			checkTaken(t, schema, data)
			if len(c.Policies.Regions) > 0 {
				if verr := c.Policies.Validate(); verr != nil {
					t.Fatalf("taken, but not valid: %v", verr)
				}
			}
		case !errors.As(err, &faults):
			t.Fatalf("%T: %v", err, err)
		default:
			for _, f := range faults {
				if f.Line < 1 || f.Col < 1 || f.Msg == "" {
					t.Fatalf("a fault without a place or a message: %+v", f)
				}
			}
		}
	})
}

func TestHowLongAHeldRunWaitsIsTheFilesToSay(t *testing.T) {
	c, err := configs.Parse("f", []byte("mode: ask\nhold_for: 45m\n"+good))
	if err != nil {
		t.Fatal(err)
	}
	if c.Policies.Mode != policies.ModeAsk || c.Policies.HoldFor != 45*time.Minute {
		t.Errorf("mode %s, held for %s", c.Policies.Mode, c.Policies.HoldFor)
	}
}
