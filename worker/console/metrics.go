package console

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"nightshift/worker"
)

// What is told to Prometheus at GET /metrics. Names and labels are kept like the
// fields of events: added to, never changed. A region, a policy and an action are
// labels; an instance is one only of a pause, of which somebody puts few.
var (
	descBuild      = desc("build_info", "The program that runs; always 1.", "version")
	descPolicyInfo = desc("policy_info", "The policy file that is in force; always 1.", "revision", "mode")
	descPolicies   = desc("policies", "Policies that are in force.")
	descFileFault  = desc("policy_file_fault", "1 while a newer policy file is not in force because of a fault; nightshift status says where.")
	descReady      = desc("ready", "1 while the daemon is ready, as /readyz says.")
	descToken      = desc("token_refused", "1 from when Civo refuses the token until it accepts one.")
	descAccount    = desc("other_account", "1 while the token is of another account than the store, or lists no instance any more: every action is put off.")
	descDiffer     = desc("policies_differ", "1 while another replica has another policy file, as far as this one hears.")
	descDamaged    = desc("store_damaged", "1 when something that is stored cannot be read; nightshift status says what.")
	descClock      = desc("clock_fault", "1 while the clock is not plausible: nothing acts.")
	descPaused     = desc("paused", "1 for each pause that holds now.", "scope", "policy", "instance")
	descOpen       = desc("actions_open", "Actions of stored plans that have no outcome yet.")
	descEnded      = desc("actions_total", "Actions that ended since the process began, by outcome and reason.", "policy", "action", "outcome", "reason")
	descNextEdge   = desc("next_edge_timestamp_seconds", "The next planned time of any policy, in plan time.")
	descInstances  = desc("region_instances", "Instances in the last complete list of a region.", "region")
	descRead       = desc("region_read_timestamp_seconds", "When a region was last listed completely.", "region")
	descRegionBad  = desc("region_fault", "1 while the newest attempt to list a region has failed.", "region")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("nightshift_"+name, help, labels, nil)
}

// scrapeWithin bounds what is asked of the daemon for one scrape.
const scrapeWithin = 5 * time.Second

// metrics turns what the daemon says of itself into metrics, anew at each scrape.
type metrics struct{ daemon Daemon }

// metricsHandler answers GET /metrics.
func metricsHandler(daemon Daemon, logger *zap.Logger) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics{daemon}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorLog: zap.NewStdLog(logger), MaxRequestsInFlight: 4, Timeout: 2 * scrapeWithin})
}

// Describe tells nothing beforehand: which pauses and policies there are changes.
func (metrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements [prometheus.Collector].
func (m metrics) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeWithin)
	defer cancel()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	s := m.daemon.Status(ctx)
	gauge(descBuild, 1, s.Version)
	gauge(descPolicyInfo, 1, s.Revision, s.Mode)
	gauge(descPolicies, float64(s.Policies))
	gauge(descFileFault, oneIf(s.PolicyFault != ""))
	gauge(descReady, oneIf(s.Ready))
	gauge(descToken, oneIf(s.TokenRefused))
	gauge(descAccount, oneIf(len(s.OtherAccount) > 0 || s.NoInstance))
	gauge(descDiffer, oneIf(slices.ContainsFunc(s.Replicas, func(r worker.ReplicaStatus) bool { return r.Revision != s.Revision })))
	gauge(descDamaged, oneIf(len(s.StoreFaults) > 0))
	gauge(descClock, oneIf(s.ClockFault != ""))
	gauge(descOpen, float64(s.Open))
	for _, p := range s.Paused {
		scope := "all"
		switch {
		case p.Instance != "":
			scope = "instance"
		case p.Policy != "":
			scope = "policy"
		}
		gauge(descPaused, 1, scope, p.Policy, p.Instance)
	}
	if len(s.Next) > 0 {
		gauge(descNextEdge, float64(s.Next[0].Planned.Unix()))
	}
	for _, r := range s.Regions {
		gauge(descInstances, float64(r.Instances), r.Region)
		gauge(descRegionBad, oneIf(r.Error != ""), r.Region)
		if !r.ReadAt.IsZero() {
			gauge(descRead, float64(r.ReadAt.UnixMilli())/1000, r.Region)
		}
	}
	for _, e := range m.daemon.Ended() {
		to <- prometheus.MustNewConstMetric(descEnded, prometheus.CounterValue, float64(e.Count), e.Policy, e.Action, e.Outcome, e.Reason)
	}
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

var _ Daemon = (*worker.Worker)(nil)
