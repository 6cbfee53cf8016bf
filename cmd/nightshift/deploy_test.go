package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"nightshift/configs"
	"nightshift/worker"
	"nightshift/worker/console"
)

// ordered is how long a daemon may take to end in order: whoever ends it sooner
// cuts off what a call has answered and is not stored.
const ordered = worker.DefaultGrace + closeWithin

// object is what we look at of an object of Kubernetes.
type object struct {
	Kind     string
	Metadata struct{ Name string }
	Spec     struct {
		Replicas       int
		ServiceName    string `yaml:"serviceName"`
		MaxUnavailable *int   `yaml:"maxUnavailable"`
		Strategy       struct {
			RollingUpdate struct {
				MaxSurge       int  `yaml:"maxSurge"`
				MaxUnavailable *int `yaml:"maxUnavailable"`
			} `yaml:"rollingUpdate"`
		}
		Selector map[string]any
		Ports    []struct {
			Port       int
			TargetPort string `yaml:"targetPort"`
		}
		Template struct {
			Metadata struct{ Labels map[string]any }
			Spec     podSpec
		}
	}
}

type podSpec struct {
	Grace      int `yaml:"terminationGracePeriodSeconds"`
	Containers []struct {
		Args []string
		Env  []struct{ Name, Value string }
		// Name and container port.
		Ports []struct {
			Name string
			Port int `yaml:"containerPort"`
		}
		Lifecycle struct {
			PreStop struct {
				Sleep struct{ Seconds int }
			} `yaml:"preStop"`
		}
		Readiness probe `yaml:"readinessProbe"`
		Liveness  probe `yaml:"livenessProbe"`
		Mounts    []struct {
			Path     string `yaml:"mountPath"`
			ReadOnly bool   `yaml:"readOnly"`
		} `yaml:"volumeMounts"`
	}
}

type probe struct {
	Get struct{ Path, Port string } `yaml:"httpGet"`
}

func objects(t *testing.T, path string) map[string]object {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]object)
	for dec := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var o object
		if err := dec.Decode(&o); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all[o.Kind] = o
	}
}

// flagsOf reads a command line of a deployment as the program would.
func flagsOf(t *testing.T, args []string) *pflag.FlagSet {
	t.Helper()
	cmd, rest, err := newRootCommand().Find(args)
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	if err := cmd.ParseFlags(rest); err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return cmd.Flags()
}

// What Kubernetes is told must be what the daemon does: how long it takes to end,
// where it answers, which flags and variables it knows.
func TestManifestsFitTheDaemon(t *testing.T) {
	t.Parallel()
	web, err := console.New(&awaited{}, console.Options{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	for file, kind := range map[string]string{"nightshift.yaml": "StatefulSet", "replicas.yaml": "Deployment"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			all := objects(t, filepath.Join("..", "..", "deploy", "kubernetes", file))
			set := all[kind]
			pod := set.Spec.Template.Spec
			if len(pod.Containers) != 1 {
				t.Fatalf("%d containers, want 1", len(pod.Containers))
			}
			c := pod.Containers[0]
			before := time.Duration(c.Lifecycle.PreStop.Sleep.Seconds) * time.Second
			if got := time.Duration(pod.Grace) * time.Second; got <= before+ordered {
				t.Errorf("it is given %s to end, and may take %s", got, before+ordered)
			}
			if kind == "Deployment" && before == 0 {
				t.Error("it stops to listen while webhooks are still sent to it")
			}

			flags := flagsOf(t, c.Args)
			listen, _ := flags.GetString("http-listen")
			host, port, _ := net.SplitHostPort(listen)
			if len(c.Ports) != 1 || strconv.Itoa(c.Ports[0].Port) != port || host != "0.0.0.0" {
				t.Errorf("it listens on %s, and its ports are %v", listen, c.Ports)
			}
			for _, p := range []probe{c.Readiness, c.Liveness} {
				answer := httptest.NewRecorder()
				web.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, p.Get.Path, nil))
				if answer.Code == http.StatusNotFound || p.Get.Port != c.Ports[0].Name {
					t.Errorf("a probe asks %s at port %s: %d", p.Get.Path, p.Get.Port, answer.Code)
				}
			}
			if c.Liveness.Get.Path == c.Readiness.Get.Path {
				t.Error("a daemon that is not ready is ended: a restart mends nothing of it")
			}
			mounted := func(path string, readOnly bool) bool {
				for _, m := range c.Mounts {
					if m.ReadOnly == readOnly && (path == m.Path || strings.HasPrefix(path, m.Path+"/")) {
						return true
					}
				}
				return false
			}
			config, _ := flags.GetString("config")
			if !mounted(config, true) {
				t.Errorf("nothing is mounted at %s", config)
			}
			if dir, _ := flags.GetString("data-dir"); dir != "" && !mounted(dir, false) {
				t.Errorf("the store in %s is gone with the pod", dir)
			}
			environ := []string{"CIVO_REGION=LON1"}
			for _, v := range c.Env {
				environ = append(environ, v.Name+"="+v.Value)
			}
			policies := write(t, t.TempDir(), "nightshift.yaml", "version: 1\npolicies: [ { name: a, select: { all: [x] }, cron: \"@daily\", do: stop } ]\n")
			if _, err := configs.Load(policies, environ, configs.Overrides{}); err != nil {
				t.Errorf("its variables: %v", err)
			}

			labels := set.Spec.Template.Metadata.Labels
			chosen := func(kind string, by map[string]any) {
				for k, v := range by {
					if labels[k] != v {
						t.Errorf("%s selects %s=%v, and the pods have %v", kind, k, v, labels)
					}
				}
				if len(by) == 0 {
					t.Errorf("%s selects nothing", kind)
				}
			}
			matchLabels, _ := set.Spec.Selector["matchLabels"].(map[string]any)
			chosen(kind, matchLabels)
			service := all["Service"]
			chosen("Service", service.Spec.Selector)
			if len(service.Spec.Ports) != 1 || service.Spec.Ports[0].TargetPort != c.Ports[0].Name {
				t.Errorf("the service leads to %v", service.Spec.Ports)
			}

			if kind == "StatefulSet" {
				if set.Spec.Replicas != 1 || set.Spec.ServiceName != service.Metadata.Name {
					t.Errorf("%d replicas of service %q: one store is one daemon's", set.Spec.Replicas, set.Spec.ServiceName)
				}
				return
			}
			roll := set.Spec.Strategy.RollingUpdate
			if roll.MaxSurge < 1 || roll.MaxUnavailable == nil || *roll.MaxUnavailable != 0 {
				t.Errorf("a rolling upgrade has a gap: %+v", roll)
			}
			budget := all["PodDisruptionBudget"].Spec
			matchLabels, _ = budget.Selector["matchLabels"].(map[string]any)
			chosen("PodDisruptionBudget", matchLabels)
			if budget.MaxUnavailable == nil || *budget.MaxUnavailable < 1 || *budget.MaxUnavailable >= set.Spec.Replicas {
				t.Error("the budget lets all go, or keeps a node from being drained")
			}
		})
	}
}

// The unit must be what the daemon does, too.
func TestTheUnitFitsTheDaemon(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "systemd", "nightshift.service"))
	if err != nil {
		t.Fatal(err)
	}
	unit := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			unit[key] = value
		}
	}
	if s, err := strconv.Atoi(unit["TimeoutStopSec"]); err != nil || time.Duration(s)*time.Second <= ordered {
		t.Errorf("TimeoutStopSec=%s, and it may take %s", unit["TimeoutStopSec"], ordered)
	}
	for key, want := range map[string]string{
		"Type":            "notify",   // TestSystemdIsToldWhenItIsReadyAndWhenItStops
		"TimeoutStartSec": "infinity", // it waits for a NATS that is away
		"Restart":         "always",
		"ExecReload":      "/bin/kill -HUP $MAINPID",
	} {
		if unit[key] != want {
			t.Errorf("%s=%s, want %s", key, unit[key], want)
		}
	}
	if s, err := strconv.Atoi(unit["RestartSec"]); err != nil || s < 3 { // five starts in ten seconds, and systemd gives up
		t.Errorf("RestartSec=%s: after a few faulty starts systemd starts it no more", unit["RestartSec"])
	}
	var config []string
	for _, key := range []string{"ExecStartPre", "ExecStart"} {
		program, args, _ := strings.Cut(unit[key], " ")
		if program != "/usr/local/bin/nightshift" {
			t.Errorf("%s runs %s", key, program)
		}
		flags := flagsOf(t, strings.Fields(args))
		if key == "ExecStartPre" {
			config = flags.Args()
			continue
		}
		if path, _ := flags.GetString("config"); !slices.Equal(config, []string{path}) {
			t.Errorf("it checks %v, and runs with %s", config, path)
		}
		if dir, _ := flags.GetString("data-dir"); dir != "/var/lib/"+unit["StateDirectory"] {
			t.Errorf("its store is %s, and it may write to /var/lib/%s", dir, unit["StateDirectory"])
		}
	}
}
