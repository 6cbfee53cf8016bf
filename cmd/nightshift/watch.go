package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nightshift/events"
	"nightshift/worker"
)

// failures are the outcomes of an action that did not come to what was wanted.
var failures = []events.Outcome{events.Failed, events.Expired, events.Unknown}

func newWatchCommand() *cobra.Command {
	var n natsFlags
	var since, output string
	var instances, regions, outcomes []string
	var q events.Query
	var failed bool
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Print events as they come",
		Long: `watch prints what the daemon does and leaves undone, as it happens: started,
accepted and put off on the way, and the outcome with its reason. It ends with
Ctrl-C.

Conditions of different flags must all be met; of one flag given several times,
or with commas, any. -o json prints one record a line, -o cloudevents the whole
CloudEvent as it is stored (nightshift schema event has its JSON Schema).

--since also takes 3d, today, yesterday, a weekday (the latest that has begun),
a day such as 2026-11-27, and "friday 18:00", in the zone of this machine.

Exit codes: 0 ended with Ctrl-C; 1 no such instance, or no NATS; 64 wrong usage.`,
		Example: `  nightshift watch
  nightshift watch --failed --since friday
  nightshift watch --policy dev-hours --outcome done,skipped -o json
  nightshift watch --instance dev-1 --who oncall`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := oneOf("output", output, "table", "json", "cloudevents"); err != nil {
				return err
			}
			if failed {
				q.Outcomes = failures
			}
			for _, o := range outcomes {
				if !slices.Contains(events.Outcomes(), events.Outcome(o)) {
					return usagef("there is no outcome %q; there are %s", o, outcomeWords())
				}
				q.Outcomes = append(q.Outcomes, events.Outcome(o))
			}
			for _, r := range regions {
				q.Regions = append(q.Regions, strings.ToLower(r))
			}
			o := events.WatchOptions{}
			if since != "" {
				if o.Since, err = parseSince(since); err != nil {
					return err
				}
			}
			ctx := cmd.Context()
			bus, err := n.dial(ctx)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, bus.Close(context.WithoutCancel(ctx))) }()
			for _, name := range instances {
				found, err := instancesNamed(ctx, bus, name)
				if err != nil {
					return err
				}
				q.Instances = append(q.Instances, found...)
			}
			o.Query = q
			return bus.Watch(ctx, o, eventPrinter(cmd.OutOrStdout(), output, hostNames(ctx, bus)))
		},
	}
	n.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&since, "since", "", "begin in the past: a span such as 2h, friday, or an instant such as 2026-11-27T19:00:00Z")
	flags.StringSliceVar(&instances, "instance", nil, "of one instance only: id or host name, also of one that is gone")
	flags.StringSliceVar(&q.Policies, "policy", nil, "of one policy only")
	flags.StringSliceVar(&regions, "region", nil, "of one region only")
	flags.StringSliceVar(&outcomes, "outcome", nil, "of one outcome or note only: "+outcomeWords())
	flags.StringSliceVar(&q.Who, "who", nil, "of what one publisher or source asked for only")
	flags.BoolVar(&failed, "failed", false, "only what failed, expired or is unknown")
	flags.StringVarP(&output, "output", "o", "table", "table, json or cloudevents")
	cmd.MarkFlagsMutuallyExclusive("failed", "outcome")
	return cmd
}

func outcomeWords() string {
	var words []string
	for _, o := range events.Outcomes() {
		words = append(words, string(o))
	}
	return strings.Join(words, ", ")
}

// isAsked reports whether an event says what somebody asked for that is no action: a
// keep, a pause, an approval, or anything that was refused.
func isAsked(rec events.Record) bool {
	return rec.Outcome == events.Noticed && rec.Detail != "" && (slices.Contains([]string{"keep", "pause", "approve"}, rec.Action) || rec.Reason == worker.ReasonRefused)
}

// askedLine says it as a sentence: "everything is paused, by ann: lunch".
func askedLine(rec events.Record) string {
	line := rec.Detail
	if rec.Reason == worker.ReasonRefused {
		line = "refused: " + line
	}
	if who := publisher(rec.Who, rec.Claim); who != "" {
		line += ", by " + who
	}
	if rec.Why != "" {
		line += ": " + rec.Why
	}
	return printable(line)
}

// noticeLine says as a sentence what was noticed of no instance: "policies replaced:
// revision 3f8c is in force: …".
func noticeLine(rec events.Record) string {
	line := rec.Action + " " + rec.Reason
	if who := firstOf(causeName(rec.Policy), publisher(rec.Who, rec.Claim)); who != "" {
		line += " by " + who
	}
	line += ": " + rec.Detail
	if rec.Error != "" {
		line += "; " + rec.Error
	}
	return printable(line)
}

// hostNames finds the host names of instances that an event has only the id of, such as
// one of a dead letter: each is asked for once.
func hostNames(ctx context.Context, bus *events.Bus) func(*events.Record) {
	known := make(map[string]string)
	return func(rec *events.Record) {
		if rec.Hostname != "" || rec.Instance == events.None || rec.Instance == "" {
			return
		}
		name, ok := known[rec.Instance]
		if !ok {
			var answer worker.FindAnswer
			ask, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			if bus.Ask(ask, "find", worker.FindRequest{Name: rec.Instance}, &answer) == nil && len(answer.Found) == 1 && answer.Found[0].ID == rec.Instance {
				name = answer.Found[0].Hostname
			}
			known[rec.Instance] = name
		}
		rec.Hostname = name
	}
}

// watched is an event in a line of JSON.
type watched struct {
	Time  time.Time `json:"time"`
	Trace string    `json:"traceparent,omitempty"`
	State string    `json:"tracestate,omitempty"`
	events.Record
}

// eventPrinter prints events one a line.
func eventPrinter(w io.Writer, output string, name func(*events.Record)) func(events.Record, time.Time, uint64) error {
	enc := json.NewEncoder(w)
	return func(rec events.Record, stored time.Time, _ uint64) error {
		switch output {
		case "json":
			return enc.Encode(watched{stored.UTC(), rec.Trace, rec.TraceState, rec})
		case "cloudevents":
			_, err := fmt.Fprintf(w, "%s\n", rec.CloudEvent())
			return err
		}
		name(&rec)
		_, err := fmt.Fprintf(w, "%s  %s\n", stored.Local().Format("2006-01-02 15:04:05"), eventLine(rec))
		return err
	}
}

// parseSince is the time that --since means.
func parseSince(s string) (time.Time, error) { return sinceAt(s, time.Now(), time.Local) }

var (
	sinceSpan = regexp.MustCompile(`^([0-9]{1,4})d$`)
	sinceDay  = regexp.MustCompile(`^([a-z]+)(?:[ @]([0-9]{1,2}:[0-9]{2}))?$`)
)

// sinceAt reads a span before now (2h, 3d), a day (today, yesterday, friday: the
// latest that has begun), perhaps with a time of day, or an instant.
func sinceAt(s string, now time.Time, zone *time.Location) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return now.Add(-d), nil
	}
	now = now.In(zone)
	daysAgo := func(n int) time.Time { return time.Date(now.Year(), now.Month(), now.Day()-n, 0, 0, 0, 0, zone) }
	if m := sinceSpan.FindStringSubmatch(s); m != nil {
		n, _ := strconv.Atoi(m[1])
		return now.AddDate(0, 0, -n), nil
	}
	m := sinceDay.FindStringSubmatch(strings.ToLower(strings.TrimSpace(s)))
	if m == nil {
		return parseSinceInstant(s, zone)
	}
	back, ok := dayWord(m[1], now.Weekday())
	if !ok {
		return parseSinceInstant(s, zone)
	}
	day := daysAgo(back)
	if m[2] == "" {
		return day, nil
	}
	clock, err := time.Parse("15:04", m[2])
	if err != nil {
		return time.Time{}, usagef("%q: %q is no time of day", s, m[2])
	}
	at := func(day time.Time) time.Time {
		return time.Date(day.Year(), day.Month(), day.Day(), clock.Hour(), clock.Minute(), 0, 0, zone)
	}
	if t := at(day); !t.After(now) || m[1] == "today" {
		return t, nil
	}
	return at(daysAgo(back + 7)), nil // that weekday's time has not come yet
}

func parseSinceInstant(s string, zone *time.Location) (time.Time, error) {
	t, err := parseAt(s, zone)
	if err != nil {
		return t, usagef(`%q is no time: write a span (2h, 3d), today, yesterday, friday, "friday 18:00", 2026-11-27, or an instant such as 2026-11-27T19:00:00Z`, s)
	}
	return t, nil
}

// dayWord is how many days ago a day was.
func dayWord(word string, today time.Weekday) (days int, ok bool) {
	switch word {
	case "today":
		return 0, true
	case "yesterday":
		return 1, true
	}
	for d := time.Sunday; d <= time.Saturday; d++ {
		if name := strings.ToLower(d.String()); word == name || word == name[:3] {
			return (int(today) - int(d) + 7) % 7, true
		}
	}
	return 0, false
}
