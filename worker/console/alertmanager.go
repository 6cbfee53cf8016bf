package console

import (
	"fmt"
	"time"

	"nightshift/worker"
)

// alertmanagerVersion is the only one there is of the data that Prometheus
// Alertmanager sends to webhooks (notify/webhook in its source).
const alertmanagerVersion = "4"

type alertGroup struct {
	Version   string `json:"version"`
	Truncated uint64 `json:"truncatedAlerts"`
	Alerts    []struct {
		Status      string            `json:"status"`
		Labels      map[string]string `json:"labels"`
		StartsAt    time.Time         `json:"startsAt"`
		Fingerprint string            `json:"fingerprint"`
	} `json:"alerts"`
}

// alerts reads a group of alerts: each is a signal, those that fire as well as
// those that are over.
func (h *Hook) alerts(body []byte) (signals []worker.NamedSignal, note string, err error) {
	var group alertGroup
	if err := decode(body, &group); err != nil {
		return nil, "", err
	}
	if group.Version != alertmanagerVersion {
		return nil, "", fmt.Errorf("version %.20q of Alertmanager's form is not known, only %q is", group.Version, alertmanagerVersion)
	}
	if err := checkCount(len(group.Alerts)); err != nil {
		return nil, "", err
	}
	for _, a := range group.Alerts {
		s := worker.NamedSignal{
			Alert: a.Labels["alertname"], Status: a.Status, Labels: a.Labels, Fingerprint: a.Fingerprint, StartsAt: a.StartsAt,
			Instance: a.Labels[h.InstanceLabel],
		}
		if h.RegionLabel != "" {
			s.Region = a.Labels[h.RegionLabel]
		}
		if s.Alert == "" {
			s.Fault = "the alert has no label alertname"
		}
		signals = append(signals, s)
	}
	if group.Truncated > 0 {
		note = fmt.Sprintf("Alertmanager left %d alerts out: set max_alerts to 0", group.Truncated)
	}
	return signals, note, nil
}
