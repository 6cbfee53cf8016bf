package configs

import (
	"slices"
	"time"

	"nightshift/policies"
	"nightshift/policies/foreign"
	"nightshift/policies/schedule"
)

// many is the most of a number that has no natural bound.
const many = 1_000_000

// Bounds of whole numbers. The reader and this page use the same.
var (
	anyCount    = bounds{1, many}
	anySize     = bounds{0, 1 << 30}
	workers     = bounds{1, 1000}
	replicas    = bounds{1, 5}
	priority    = bounds{-1000, 1000}
	modes       = []policies.Mode{policies.ModeObserve, policies.ModeAsk, policies.ModeAct}
	allowed     = []policies.Verb{policies.Start, policies.Stop, policies.Reboot, policies.Retag, policies.Firewall} // unless allow says otherwise
	states      = []schedule.State{schedule.Running, schedule.Stopped, schedule.Any}
	grammars    = append(foreign.Grammars(), foreign.Native)
	uses        = []schedule.Use{schedule.UseNever, schedule.UseAlways, schedule.UseUnchanged}
	plainSteps  = []policies.Verb{policies.Start, policies.Stop, policies.Reboot} // steps that need no more than their name
	reboots     = []string{"soft", "hard"}
	stillFiring = "still-firing"
	maxWarn     = 24 * time.Hour // before a stop
)

func anyOf[T any](values []T) kind {
	out := make([]any, len(values))
	for i, v := range values {
		out[i] = v
	}
	return oneOf(out...)
}

// Forms that an editor can see. They are looser than the reader where the whole
// grammar would not fit.
var (
	globKind   = text("a text, globs allowed", globForm)
	globList   = list(globKind)
	tagList    = list(text("a tag", tagForm))
	zoneKind   = kind{words: "an IANA zone", schema: node{"type": "string", "pattern": `^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$`, "not": node{"enum": []string{"Local", "localtime", "posixrules", "Factory"}}, "examples": []string{"Europe/London", "America/New_York", "UTC"}}}
	windowList = list(kind{words: "a window", schema: node{"type": "string", "pattern": `[0-9]{1,2}:[0-9]{2}`, "examples": []string{"Mon-Fri 08:00-19:00", "22:00-06:00", "Sun 22:00 - Fri 19:00", "Mon#1 09:00-12:00"}}})
	cronSpec   = kind{words: "a cron spec of five fields, or `@daily` and its like", schema: node{"type": "string", "pattern": `^\s*(@(yearly|annually|monthly|weekly|daily|midnight|hourly)|[^\s@]\S*(\s+\S+){4})\s*$`, "examples": []string{"30 5 * * MON-FRI", "@daily"}}}
	nameKind   = text("a name: a-z, 0-9 and -, at most 64", nameForm.String())
	filledText = text("a text", `\S`)
	anyText    = text("a text", "")
)

const (
	globForm   = `^[^ \t\n,]+$`
	tagForm    = `^[^ \t\n,*?\[]+$`
	tagKeyForm = `^[^ \t\n,*?\[=]+$`
	dateForm   = `^\s*([0-9]{4}-)?[0-9]{2}-[0-9]{2}`
)

var topShape = shape{
	name: "policy-file", the: "the file",
	about: "The policy file: what is asked of which instances and when, and how the daemon is run.",
	fields: slices.Concat([]field{
		{name: "version", is: kind{words: "`1`", schema: node{"const": 1}}, needed: true, example: "1",
			about: "The version of the language."},
		{name: "regions", is: list(text("the code of a region", regionForm.String())), example: "[LON1, NYC1]",
			about: "The regions whose instances are looked after. Without it the variable `CIVO_REGION` names one."},
		{name: "timezone", is: zoneKind, standard: "UTC", example: "Europe/London",
			about: "The zone of every time in the file, unless a schedule names its own. `Local` is refused: a file means the same on every machine."},
		{name: "mode", is: anyOf(modes), standard: string(policies.ModeAct), variable: true, example: "observe",
			about: "`observe` plans and publishes events, and touches nothing; with `ask` every run waits until `nightshift approve`. A policy may have a mode of its own."},
		{name: "include", is: list(text("a path or a pattern", `\S`)), example: "[policies.d/*.yaml]",
			about: "Further files, read in this order; paths count from this file. Each may hold `scope`, `schedules`, `calendars`, `policies` and `tests`."},
		{name: "schedules", is: byName(a(&scheduleShape)), example: `{ office: { running: ["Mon-Fri 08:00-19:00"] } }`,
			about: "Schedules that policies refer to by name."},
		{name: "calendars", is: byName(a(&calendarShape)), example: "{ closed: { dates: [2026-12-24..2027-01-01] } }",
			about: "Calendars that `except` refers to by name."},
		{name: "policies", is: list(a(&policyShape)), example: `[ { name: dev-hours, select: { all: [env=dev] }, schedule: { running: ["Mon-Fri 08:00-19:00"] } } ]`,
			about: "The policies, here or in included files: at least one."},
		{name: "protect", is: a(&selectorShape), example: "{ all: [protected] }",
			about: "What matches is never touched, whoever asks. Neither are nodes of Kubernetes clusters, and the machine that Nightshift runs on."},
		{name: "allow", is: list(anyOf(verbs)), standard: listed(allowed), example: "[start, stop, reboot, retag, firewall, resize]",
			about: "What may be done at all. A policy that wants anything else is a fault; a command that does is skipped."},
		{name: "limits", is: a(&limitsShape), example: "{ per_run: 50, per_hour: 200 }",
			about: "What is larger than anyone meant is held."},
		{name: "floors", is: list(a(&floorShape)), example: "[ { select: { all: [role=web] }, running: 2 } ]",
			about: "How many instances stay running, whoever wants otherwise."},
		{name: "hold_for", is: duration(), clock: machineTime, standard: policies.SpanWords(policies.DefaultHoldFor), example: "2h",
			about: "How long a held run waits for `nightshift approve`; then it expires."},
		{name: "owners", is: a(&ownersShape), example: "{ keys: [keep, hours], max: 12h }",
			about: "What the owner of an instance may decide by its tags. Without it no tag counts."},
		{name: "tests", is: list(a(&testShape)), example: `[ { instance: { name: dev-1, tags: [env=dev] }, at: "2026-12-25 10:00", want: stopped } ]`,
			about: "Tests of the file, run by `nightshift test`."},
		{name: "data_dir", is: filledText, standard: DefaultDataDir, variable: true, example: "/var/lib/nightshift",
			about: "The store of the embedded NATS. One daemon uses it at a time."},
		{name: "workers", is: whole(workers), standard: count(DefaultWorkers), variable: true, example: "8",
			about: "How many calls to the API are under way at once."},
		{name: "nats", is: a(&natsShape), example: `{ listen: "127.0.0.1:4222" }`,
			about: "The bus: embedded, or an external one."},
		{name: "civo", is: a(&civoShape), example: "{ rate: 5/s }",
			about: "How the API is called. The token is not in the file: set `CIVO_TOKEN`."},
		{name: "verify", is: a(&verifyShape), example: "{ within: 10m }",
			about: "How it is found out whether an accepted call has had its effect."},
		{name: "notify", is: byName(a(&targetShape)), example: "{ team-chat: { webhook_env: TEAM_CHAT_WEBHOOK, form: slack } }",
			about: "Who is told of held and failed runs, of stops that come (`warn`), and by steps of triggers."},
		{name: "http", is: a(&httpShape), example: `{ listen: "127.0.0.1:8422" }`,
			about: "The daemon over HTTP: health, webhooks, and links in warnings."},
		{name: "webhooks", is: byName(a(&webhookShape)), example: "{ alerts: " + webhookSuch + " }",
			about: "Sources of signals over HTTP, by name. What is sent to `/v1/hooks/<name>` becomes signals of the source `<name>`."},
		{name: "order", is: list(a(&orderShape)), example: "[ " + orderSuch + " ]",
			about: "In which order the instances of one run start; they stop in the reverse of it."},
		{name: "pace", is: a(&paceShape), example: "{ at_once: 5, apart: 30s }",
			about: "How fast the actions of one run begin."},
	}, later("prices")),
}

var includedShape = shape{
	name: "included-file", the: "the file",
	about: "A file that `include` names. The settings are those of the first file alone.",
	fields: []field{
		{name: "version", is: kind{words: "`1`", schema: node{"const": 1}}, example: "1",
			about: "The version of the language; may be left out."},
		{name: "scope", is: a(&selectorShape), example: "{ all: [team=a] }",
			about: "What none of the selectors of this file can leave."},
		{name: "schedules", is: byName(a(&scheduleShape)), example: `{ early: { running: ["Mon-Fri 06:00-15:00"] } }`,
			about: "As in the first file. Names are those of all files together."},
		{name: "calendars", is: byName(a(&calendarShape)), example: "{ fairs: { dates: [2026-10-05..2026-10-09] } }",
			about: "As in the first file."},
		{name: "policies", is: list(a(&policyShape)), example: `[ { name: a-hours, select: { all: [env=dev] }, schedule: { running: ["Mon-Fri 08:00-19:00"] } } ]`,
			about: "As in the first file."},
		{name: "tests", is: list(a(&testShape)), example: `[ { instance: { name: a-1, tags: [team=a] }, at: "2026-12-25 10:00", want: any } ]`,
			about: "As in the first file."},
	},
}

var scheduleShape = shape{
	name: "schedule", the: "the schedule",
	about: "Weekly windows in a zone. Outside of them the opposite is wanted. A schedule has windows on at least one side.",
	such:  `{ running: ["Mon-Fri 08:00-19:00"] }`,
	fields: []field{
		{name: "running", is: windowList, example: `["Mon-Fri 08:00-19:00"]`,
			about: "When instances are wanted running."},
		{name: "stopped", is: windowList, example: `["22:00-06:00"]`,
			about: "When instances are wanted stopped. With `running` too the windows may not overlap, and what lies in neither is left as it is."},
		{name: "timezone", is: zoneKind, example: "America/New_York",
			about: "The zone of the windows; default: the file's `timezone`."},
		{name: "only", is: truth(), standard: "false", example: "true",
			about: "One-sided: outside of the windows the schedule has no voice."},
	},
}

var fromTagShape = shape{
	name: "schedule-from-tag", the: "the schedule",
	about: "Each instance follows the schedule that it carries in a tag.",
	such:  "{ from_tag: nightshift.hours }",
	fields: []field{
		{name: "from_tag", is: text("the key of a tag", tagKeyForm), needed: true, example: "nightshift.hours",
			about: "The key. The value holds windows, with `_` for blanks (`Mon-Fri_08:00-19:00_Europe/London`), or the name of a schedule. A key with the owners' prefix must be in `owners.keys`."},
		{name: "grammar", is: anyOf(grammars), standard: foreign.Native, example: foreign.CustodianOffhours,
			about: "Whose grammar the value is in: ours, or that of another tool, traps included."},
		{name: "settings", is: kind{words: "a mapping", schema: node{"type": "object"}}, with: []string{"grammar"}, example: "{ onhour: 8, offhour: 19, default_tz: Europe/London }",
			about: "What stands around the tag in the other tool: the keys of its policy."},
		{name: "timezone", is: zoneKind, example: "America/New_York",
			about: "The zone of values that name none; default: the file's `timezone`."},
	},
}

var calendarShape = shape{
	name: "calendar", the: "the calendar",
	about: "Dates, written out or in an iCalendar file: one of the two.",
	such:  "{ dates: [2026-12-24..2027-01-01] } or { ics: uk-holidays.ics }",
	one:   []string{"dates", "ics"},
	fields: []field{
		{name: "dates", is: list(text("a date, a range, or a day of every year; a name may follow", dateForm)), example: `["2026-12-24..2027-01-01 closed", "12-25 Christmas"]`,
			about: "The dates, in the zone of the schedule that uses the calendar."},
		{name: "ics", is: text("a path", `\S`), example: "uk-holidays.ics",
			about: "An iCalendar file; its path counts from the file that names it. Recurring events are read, too."},
	},
}

var selectorShape = shape{
	name: "selector", the: "the selector",
	about: "Which instances. The keys are ANDed. `all`, `any` and `none` look at tags; a glob (`*`, `?`, `[a-c]`) matches a whole tag or value. At least one key; every instance is `{ all: [\"*\"] }`.",
	such:  "{ all: [env=dev] }",
	some:  true,
	fields: []field{
		{name: "all", is: globList, example: "[env=dev]", about: "Every one of these tags is on the instance."},
		{name: "any", is: globList, example: `[batch, "job=*"]`, about: "At least one of these tags is."},
		{name: "none", is: globList, example: "[keep-on]", about: "None of these tags is."},
		{name: "region", is: globList, example: "[LON1]", about: "Its region is one of these."},
		{name: "size", is: globList, example: `["g3.*"]`, about: "Its size is one of these."},
		{name: "status", is: globList, example: "[ACTIVE]", about: "Its status, in the API's words, is one of these."},
		{name: "hostname", is: globList, example: `["dev-*"]`, about: "Its host name is one of these."},
		{name: "when", is: kind{words: "a CEL expression", schema: node{"type": []string{"string", "boolean"}, "pattern": `\S`, "examples": []string{`"batch" in tags && cpu_cores >= 4`}}}, example: `'"batch" in tags && cpu_cores >= 4'`,
			about: "An expression that yields true for the instance, over " + code(policies.ExprFields) + ". It is type-checked when the file is read."},
	},
}

var policyShape = shape{
	name: "policy", the: "the policy",
	about: "A selector, one cause (`schedule`, `cron` or `trigger`), and what it wants. With `cron` and `trigger` goes `do`; a schedule wants running or stopped.",
	one:   []string{"schedule", "cron", "trigger"},
	needs: map[string][]string{"cron": {"do"}, "trigger": {"do"}},
	fields: slices.Concat([]field{
		{name: "name", is: nameKind, needed: true, example: "dev-hours",
			about: "Its name, in events, commands and metrics."},
		{name: "was", is: nameKind, example: "office-hours",
			about: "A former name: its history is carried on, so that a renamed policy does not begin anew."},
		{name: "select", is: a(&selectorShape), needed: true, example: "{ all: [env=dev], none: [keep-on] }",
			about: "Which instances. With `trigger` it bounds which instances the signal may name."},
		{name: "priority", is: whole(priority), standard: "0", example: "10",
			about: "The higher wins. Between equals running beats stopped."},
		{name: "mode", is: anyOf(modes), example: "observe",
			about: "Of this policy alone; default: the file's `mode`."},
		{name: "schedule", is: byType("the name of a schedule, a schedule written in place, or a tag to read it from",
			kind{schema: node{"if": node{"required": []string{"from_tag"}}, "then": a(&fromTagShape).schema, "else": a(&scheduleShape).schema},
				inside: []inside{{"", &scheduleShape}, {"", &fromTagShape}}}, kind{}, nameKind), example: "office",
			about: "Cause: wants running or stopped for as long as a window lasts."},
		{name: "except", is: list(a(&exceptShape)), with: []string{"schedule"}, example: "[ { calendar: holidays, use: never } ]",
			about: "What the schedule does on the dates of calendars; the first that matches counts. A date is that of the schedule's zone."},
		{name: "cron", is: cronSpec, example: `"30 5 * * MON-FRI"`,
			about: "Cause: an impulse at each planned time, in the file's `timezone`."},
		{name: "trigger", is: a(&triggerShape), example: "{ alert: InstanceDown }",
			about: "Cause: an impulse at each signal that fits."},
		{name: "do", is: byType("a step, or a list of steps", a(&stepShape), list(stepKind()), anyOf(plainSteps)), with: []string{"cron", "trigger"},
			hint: "a schedule wants running or stopped for as long as its windows last", example: "start",
			about: "What is done: " + code(plainSteps) + ", or mappings as below. A policy starts or stops, not both."},
		{name: "lasts", is: duration(), clock: planTime, with: []string{"cron", "trigger"}, hint: "a schedule wants running or stopped for as long as its windows last", example: "3h",
			about: "How long a start or stop is wanted. Its end is an edge: the winner is worked out anew. Default: until the next edge that concerns the instance."},
		{name: "spread", is: span(), clock: planTime, standard: "0", with: []string{"schedule", "cron"}, example: "2m",
			about: "Edges are due within this after their planned time, each instance at a time of its own."},
		{name: "give_up_after", is: duration(), clock: machineTime, example: "30m",
			about: "What could not be done so long after it was due is not done. Default: a start by schedule is good until its window ends, a stop by schedule for " + policies.SpanWords(policies.DefaultStopGiveUp) + ", all else for " + policies.SpanWords(policies.DefaultGiveUp) + "."},
		{name: "enforce", is: oneOf(true, string(policies.EnforceStrict), false), standard: "false", with: []string{"schedule"}, example: "true",
			about: "Drift, looked for every 10 minutes, is mended: with `true` unless somebody did it by hand, with `strict` that too. It is reported in any case."},
		{name: "stop_again_after", is: duration(), clock: planTime, with: []string{"schedule"}, example: "3h",
			about: "What somebody started by hand in the off time is stopped after it. Default: at the next edge."},
		{name: "respect_stop", is: span(), clock: planTime, standard: policies.SpanWords(policies.DefaultRespectStop), with: []string{"schedule"}, example: "24h",
			about: "What somebody stopped by hand in the on time is not started within."},
		{name: "cooldown", is: duration(), clock: planTime, standard: policies.SpanWords(policies.DefaultCooldown), with: []string{"trigger"}, example: "30m",
			about: "After an action the policy leaves that instance alone for so long; it grows where the same comes again and again."},
		{name: "at_most", is: a(&atMostShape), with: []string{"trigger"}, example: "{ instances: 2, within: 30m }",
			about: "On how many instances the policy acts within a time: forty alerts at once are the network. Default for reboot and resize: " + count(policies.DefaultAtMost) + " within " + policies.SpanWords(policies.DefaultAtMostIn) + ", else no bound."},
		{name: "pick", is: a(&pickShape), with: []string{"trigger"}, example: "{ count: signal.value, at_most: 8 }",
			about: "How many of the selected instances to start or stop, where a signal names none."},
		{name: "canary", is: duration(), clock: planTime, example: "10m",
			about: "Of a run with more than one instance, the first of each region goes alone; when it has stayed as it was brought for so long the others follow, and where it fails they are skipped. Starts by schedule do not wait."},
		{name: "warn", is: a(&warnShape), with: []string{"schedule", "cron"}, example: "{ before: 15m, to: [team-chat] }",
			about: "Who hears of a stop before it comes, with the instances that will be stopped."},
	}, later("when_stopped", "min_off", "fallback_sizes")),
}

func stepKind() kind { return byType("a step", a(&stepShape), kind{}, anyOf(plainSteps)) }

var exceptShape = shape{
	name: "exception", the: "the exception",
	about: "What a schedule does on the dates of a calendar.",
	such:  "{ calendar: holidays, use: never }",
	fields: []field{
		{name: "calendar", is: nameKind, needed: true, example: "holidays",
			about: "The name of a calendar."},
		{name: "use", is: kind{words: "one of " + code(uses) + ", or the name of a schedule", schema: node{"anyOf": []node{anyOf(uses).schema, nameKind.schema}}}, needed: true, example: "never",
			about: "`never`: not running on that day; `always`: running all day; `unchanged`: as on any other; or the windows that another schedule has on that day."},
	},
}

var triggerShape = shape{
	name: "trigger", the: "the trigger",
	about: "Which signals: those of exactly one of `alert`, `load` and `signal`.",
	such:  "{ alert: InstanceDown }, { load: cpu, above: 85 } or { signal: ci.queued }",
	one:   []string{"alert", "load", "signal"},
	needs: map[string][]string{"load": {"above"}},
	fields: []field{
		{name: "alert", is: filledText, example: "InstanceDown",
			about: "An alert of this name (Prometheus: `alertname`)."},
		{name: "load", is: filledText, example: "cpu",
			about: "A load metric of this name."},
		{name: "signal", is: text("a name: letters, digits and `_.:-`", signalForm.String()), example: "ci.queued",
			about: "Any other signal of this name."},
		{name: "labels", is: kind{words: "a mapping of texts", schema: node{"type": "object", "additionalProperties": scalar()}}, with: []string{"alert", "signal"}, example: "{ severity: critical }",
			about: "All must be equal to the signal's."},
		{name: "matchers", is: list(text("a matcher", "[=~]")), with: []string{"alert", "signal"}, example: `['team=~"web|api"', 'env!=prod']`,
			about: "All must match: `=`, `!=`, `=~`, `!~`, as in Alertmanager."},
		{name: "for", is: duration(), clock: planTime, with: []string{"alert", "load"}, example: "5m",
			about: "An alert fires, or a load is high, for so long before anything is done. An alert's time counts from its start."},
		{name: "above", is: number(), with: []string{"load"}, example: "85",
			about: "A load is high when its value is greater. A load needs it."},
		{name: "clear_below", is: number(), with: []string{"load"}, example: "60",
			about: "A high load counts as high until it is less than this. Default: until it is not above `above`."},
	},
}

var stepShape = shape{
	name: "step", the: "the step",
	about: "One thing to do: exactly one of the verbs.",
	one:   []string{"start", "stop", "reboot", "resize", "retag", "firewall", "notify"},
	fields: slices.Concat([]field{
		{name: "start", is: nothing(), example: "{}", about: "As the word `start` alone; written so where `after` goes with it."},
		{name: "stop", is: nothing(), example: "{}", about: "As the word `stop` alone."},
		{name: "reboot", is: anyOf(reboots), example: "hard", about: "The word `reboot` alone is a soft one."},
		{name: "resize", is: kind{words: "a list of at least two sizes", schema: node{"type": "array", "items": scalar(), "minItems": 2, "uniqueItems": true}}, example: "[g3.small, g3.medium, g3.large]",
			about: "One step up this ladder, never down. Needs `resize` in `allow`."},
		{name: "retag", is: a(&retagShape), example: "{ add: [quarantined] }", about: "Adds and removes tags, and leaves all others."},
		{name: "firewall", is: text("the id of a firewall", `\S`), example: "4c2e51ee-0a5c-4d0b-9c58-0c2f2f3c9a10", about: "Puts the instance behind this firewall."},
		{name: "notify", is: list(nameKind), example: "[oncall]", about: "With `trigger`: tells these targets of `notify`. Touches nothing, so it needs no leave in `allow` and no approval."},
		{name: "after", is: duration(), clock: planTime, example: "5m", about: "With `trigger`: so long after the signal."},
		{name: "if", is: oneOf(stillFiring), example: stillFiring, about: "With an alert or a load: only while it is so still."},
	}, later("hibernate", "create", "delete")),
}

func nothing() kind {
	return kind{words: "nothing: `{}`", schema: node{"type": []string{"object", "null"}, "maxProperties": 0}}
}

var warnShape = shape{
	name: "warn", the: "warn",
	about: "Who hears of a stop, and how long before.",
	such:  "{ before: 15m, to: [team-chat] }",
	fields: []field{
		{name: "before", is: duration(), clock: planTime, needed: true, example: "15m", about: "How long before the planned time, at most " + policies.SpanWords(maxWarn) + "."},
		{name: "to", is: list(nameKind), needed: true, example: "[team-chat]", about: "Names of targets under `notify`."},
	},
}

var targetShape = shape{
	name: "target", the: "the target",
	about: "A webhook that messages are sent to. Its address is a secret, and never shown: better name a variable or a file.",
	such:  "{ webhook_env: TEAM_CHAT_WEBHOOK, form: slack }",
	one:   []string{"webhook", "webhook_env", "webhook_file"},
	fields: []field{
		{name: "webhook", is: text("an address", `^[hH][tT][tT][pP][sS]?://[^/\s]`), example: "https://chat.example.com/hooks/0000", about: "The address, written out: whoever reads the file can send messages."},
		{name: "webhook_env", is: text("the name of a variable", envForm.String()), example: "TEAM_CHAT_WEBHOOK", about: "The variable of the environment that holds the address."},
		{name: "webhook_file", is: text("a path", `\S`), example: "/run/secrets/team-chat", about: "The file that holds the address. It is read again for each message."},
		{name: "form", is: anyOf(forms), standard: DefaultForm, example: "slack", about: "What is sent: Slack's form (Mattermost and others take it, too), plain JSON, or a CloudEvent in structured mode."},
		{name: "about", is: list(anyOf(abouts)), standard: listed(abouts), example: "[held, failed]", about: "Of what it is told: every held run, every failed run, warnings that policies address to it. Steps that name it always reach it."},
	},
}

var retagShape = shape{
	name: "retag", the: "retag",
	about: "Which tags to add and which to remove: at least one.",
	such:  "{ add: [quarantined] }",
	some:  true,
	fields: []field{
		{name: "add", is: tagList, example: "[quarantined]", about: "Tags to add."},
		{name: "remove", is: tagList, example: "[public]", about: "Tags to remove, written out: no globs."},
	},
}

var atMostShape = shape{
	name: "at-most", the: "at_most",
	about: "So many instances within a time.",
	such:  "{ instances: 2, within: 30m }",
	fields: []field{
		{name: "instances", is: whole(anyCount), needed: true, example: "2", about: "How many different instances."},
		{name: "within", is: duration(), clock: planTime, needed: true, example: "30m", about: "In which time."},
	},
}

var pickShape = shape{
	name: "pick", the: "pick",
	about: "How many instances a signal that names none is for.",
	such:  "{ count: signal.value, at_most: 8 }",
	fields: []field{
		{name: "count", is: kind{words: "a whole number from 1, or `signal.value`", schema: node{"anyOf": []node{{"const": "signal.value"}, whole(anyCount).schema}}}, needed: true, example: "signal.value",
			about: "How many are wanted started or stopped. Those that are so already count."},
		{name: "at_most", is: whole(anyCount), example: "8", about: "Never more than these. Default: no bound."},
	},
}

var limitsShape = shape{
	name: "limits", the: "limits",
	about: "Limits over all triggers.",
	fields: []field{
		{name: "per_run", is: whole(anyCount), standard: count(policies.DefaultPerRun), example: "50", about: "Actions of one run. A larger run is held until `nightshift approve`, all of it: nobody can say which part was meant. Starts by schedule do not count."},
		{name: "per_hour", is: whole(anyCount), standard: count(policies.DefaultPerHour), example: "200", about: "Actions started in any hour, over all runs."},
		{name: "share", is: kind{words: "a number above 0, at most 1", schema: node{"type": "number", "exclusiveMinimum": 0, "maximum": 1}}, example: "0.5",
			about: "Of the fleet in one run, and of what a policy with `trigger` selects within " + policies.SpanWords(policies.ShareWithin) + "; rounded down, at least 1, ignored under " + count(policies.FewInstances) + " instances. What is more is held until `nightshift approve`. Starts by schedule are never held. Default: no bound."},
	},
}

var floorShape = shape{
	name: "floor", the: "the floor",
	about: "So many of these instances stay running, whoever wants otherwise. A stop that would leave fewer is skipped (`floor`); a reboot or resize waits until others are back.",
	such:  "{ select: { all: [role=web] }, running: 2 }",
	fields: []field{
		{name: "select", is: a(&selectorShape), needed: true, example: "{ all: [role=web] }", about: "Which instances are counted."},
		{name: "running", is: whole(anyCount), needed: true, example: "2", about: "How many of them stay `" + policies.StatusActive + "`."},
	},
}

var ownersShape = shape{
	name: "owners", the: "owners",
	about: "Which of the owners' tags count, and how far an owner may go. No tag outranks `protect`.",
	fields: []field{
		{name: "keys", is: list(anyOf(policies.OwnerKeys)), example: "[keep, hours, schedule, mark]",
			about: "The keys that count. Default: none."},
		{name: "max", is: duration(), clock: planTime, standard: policies.SpanWords(policies.DefaultKeep), example: "12h",
			about: "How long a keep by tag may last, from when the tag was first seen."},
		{name: "prefix", is: text("the beginning of a tag", tagKeyForm), standard: policies.DefaultPrefix, example: "sleep.",
			about: "What the tags begin with."},
	},
}

var testShape = shape{
	name: "test", the: "the test",
	about: "What an instance is to be at an instant.",
	such:  `{ instance: { name: dev-1, tags: [env=dev] }, at: "2026-12-25 10:00", want: stopped, by: dev-hours }`,
	fields: []field{
		{name: "instance", is: a(&testInstanceShape), needed: true, example: "{ name: dev-1, tags: [env=dev] }",
			about: "The instance."},
		{name: "at", is: text("an instant", `^[0-9]{4}-[0-9]{2}-[0-9]{2}`), needed: true, example: `"2026-12-25 10:00"`,
			about: "When: a date, a date and a time, a zone if it is not the file's; or RFC 3339."},
		{name: "want", is: anyOf(states), needed: true, example: "stopped",
			about: "What it is to be; `any` where nobody wants either."},
		{name: "by", is: filledText, example: "dev-hours",
			about: "The policy that is to win. Default: whichever."},
	},
}

var testInstanceShape = shape{
	name: "test-instance", the: "the instance",
	about: "An instance for a test. What is left out is empty; the status is " + "`" + policies.StatusActive + "`" + ", the region the first of `regions`.",
	such:  "{ name: dev-1, tags: [env=dev] }",
	fields: []field{
		{name: "name", is: anyText, example: "dev-1", about: "Its host name."},
		{name: "id", is: anyText, example: "i-1", about: "Its id; default: the name."},
		{name: "tags", is: list(anyText), example: "[env=dev]", about: "Its tags."},
		{name: "region", is: anyText, example: "LON1", about: "Its region."},
		{name: "size", is: anyText, example: "g3.medium", about: "Its size."},
		{name: "status", is: anyText, standard: policies.StatusActive, example: policies.StatusShutoff, about: "Its status, in the API's words."},
		{name: "cpu_cores", is: whole(anySize), example: "4", about: "Its cores."},
		{name: "ram_mb", is: whole(anySize), example: "8192", about: "Its memory."},
		{name: "disk_gb", is: whole(anySize), example: "80", about: "Its disk."},
		{name: "firewall_id", is: anyText, example: "4c2e51ee-0a5c-4d0b-9c58-0c2f2f3c9a10", about: "Its firewall."},
		{name: "network_id", is: anyText, example: "75ba4d1c-9ddf-4b6b-b0ee-f1d4ed0c6ba8", about: "Its network."},
		{name: "public_ip", is: anyText, example: "203.0.113.7", about: "Its public address."},
		{name: "private_ip", is: anyText, example: "192.168.1.7", about: "Its private address."},
		{name: "created_at", is: text("an instant", `^[0-9]{4}-[0-9]{2}-[0-9]{2}`), example: "2026-01-31", about: "When it was created."},
	},
}

var natsShape = shape{
	name: "nats", the: "nats",
	about: "Without `url` the daemon embeds a NATS server, with its store in `data_dir`.",
	fields: []field{
		{name: "url", is: text("one or more addresses, separated by `,`", ""), variable: true, example: "nats://nats.example.com:4222",
			about: "The external NATS. Default: none, the embedded one. With a user and a password in it, it is written into the variable only."},
		{name: "creds", is: text("a path", ""), variable: true, example: "/etc/nightshift/nightshift.creds",
			about: "The file with credentials for the external NATS. This, `nkey` and `token_file` are read again at each connection; one of them at most is given."},
		{name: "nkey", is: text("a path", ""), variable: true, example: "/etc/nightshift/nightshift.nk",
			about: "The file with the seed of an NKey."},
		{name: "token_file", is: text("a path", ""), variable: true, example: "/run/secrets/nats-token",
			about: "The file with a token. The variable `NIGHTSHIFT_NATS_TOKEN` holds the token itself."},
		{name: "token", refused: "the token does not belong in a file", hint: "set the variable NIGHTSHIFT_NATS_TOKEN, or name a file with token_file"},
		{name: "user", refused: "the user does not belong in a file", hint: "set the variable NIGHTSHIFT_NATS_URL to nats://user:password@host:port"},
		{name: "password", refused: "the password does not belong in a file", hint: "set the variable NIGHTSHIFT_NATS_URL to nats://user:password@host:port"},
		{name: "tls", is: a(&natsTLSShape), example: "{ ca: /etc/nightshift/ca.pem }",
			about: "TLS to the external NATS, with files of one's own."},
		{name: "inbox", is: text("the beginning of a subject", inboxForm), variable: true, example: "_INBOX.worker",
			about: "Where answers to the daemon come. Default: `_INBOX.worker`, as `nightshift nats permissions worker` allows."},
		{name: "listen", is: text("`host:port`, or `none`", `^(none|.*:[0-9]+)$`), standard: DefaultNATSListen, variable: true, example: `"127.0.0.1:4222"`,
			about: "Where the embedded server answers; port 0 is a free one. `none`: within the process only."},
		{name: "users_file", is: text("a path", ""), variable: true, example: "/etc/nightshift/users.conf",
			about: "The users of the embedded server, as `nightshift nats permissions` prints them; SIGHUP has it read again. Without it `listen` is on loopback only."},
		{name: "replicas", is: whole(replicas), variable: true, example: "3",
			about: "Of the streams on an external NATS. Default: 3 in a cluster, else 1."},
		{name: "events_size", is: text("a size: `500MiB`, `2GiB`", sizeForm.String()), standard: DefaultEventsSize, variable: true, example: "2GiB",
			about: "What the stored events may take on each node of NATS; beyond, as beyond 30 days and 500,000 of them, the oldest go. An external NATS counts it as taken."},
	},
}

const inboxForm = `^[^ .*>][^ *>]*[^ .*>]$`

var natsTLSShape = shape{
	name: "nats-tls", the: "tls",
	about: "TLS to the external NATS. The files are read again at each connection.",
	such:  "{ ca: /etc/nightshift/ca.pem }",
	some:  true,
	fields: []field{
		{name: "ca", is: text("a path", ""), variable: true, example: "/etc/nightshift/ca.pem",
			about: "The certificates that the server's is signed by. Default: those of the system."},
		{name: "cert", is: text("a path", ""), variable: true, with: []string{"key"}, hint: "a certificate goes with its key", example: "/etc/nightshift/client.pem",
			about: "The client's certificate."},
		{name: "key", is: text("a path", ""), variable: true, with: []string{"cert"}, hint: "a key goes with its certificate", example: "/etc/nightshift/client.key",
			about: "The key of the client's certificate."},
	},
}

var civoShape = shape{
	name: "civo", the: "civo",
	about: "Calls to the API.",
	fields: []field{
		{name: "api_url", is: text("an address", `^[hH][tT][tT][pP][sS]?://[^/\s]`), standard: DefaultAPIURL, variable: true, example: "https://api.civo.com",
			about: "The address of the API; also the variable `CIVO_API_URL`."},
		{name: "rate", is: kind{words: "a rate: `5/s`, `300/m`, or a number per second, at most 1000/s", schema: node{"type": []string{"string", "number"}, "pattern": rateForm.String(), "exclusiveMinimum": 0, "maximum": maxRate}}, standard: count(DefaultRate) + "/s", variable: true, example: "5/s",
			about: "How many requests are sent at most, over all regions."},
		{name: "timeout", is: duration(), clock: machineTime, standard: policies.SpanWords(DefaultTimeout), variable: true, example: "30s",
			about: "Of one attempt of a request."},
		{name: "token", refused: "the token does not belong in a file", hint: "set the variable CIVO_TOKEN"},
	},
}

var verifyShape = shape{
	name: "verify", the: "verify",
	about: "An accepted call is not an outcome: the instance is looked at until it is so.",
	fields: []field{
		{name: "within", is: duration(), clock: machineTime, standard: policies.SpanWords(DefaultVerifyWithin), variable: true, example: "10m",
			about: "What is never seen so within this has failed."},
		{name: "settle", is: duration(), clock: machineTime, standard: policies.SpanWords(DefaultVerifySettle), variable: true, example: "2m",
			about: "So long after an accepted call no reading counts as \"already so\"."},
		{name: "apart", is: duration(), clock: machineTime, standard: policies.SpanWords(DefaultVerifyApart), variable: true, example: "30s",
			about: "\"Already so\" needs two readings that agree, this far apart."},
	},
}

var httpShape = shape{
	name: "http", the: "http",
	about: "The HTTP server: `/healthz` (alive), `/readyz` (ready), `/v1/hooks/<source>`.",
	fields: []field{
		{name: "listen", is: text("`host:port`, or `none`", `^(none|.*:[0-9]+)$`), variable: true, example: `"127.0.0.1:8422"`,
			about: "Where it answers; port 0 is a free one. Default: `" + DefaultHTTPListen + "` where the file has `http` or `webhooks`, else `none`. An address beyond this machine needs a secret for every webhook."},
		{name: "url", is: text("an address", `^[hH][tT][tT][pP][sS]?://[^/\s]`), variable: true, example: "https://nightshift.example.com", about: "How people reach the daemon. With it a warning has a link for each instance, to keep it running for a while."},
	},
}

const webhookSuch = "{ form: alertmanager, secret_file: /etc/nightshift/alerts.secret, policies: [web-down] }"

var webhookShape = shape{
	name: "webhook", the: "the webhook",
	about: "A source of signals over HTTP: `POST /v1/hooks/<name>`. It may trigger the policies that it lists and no others.",
	such:  webhookSuch,
	fields: []field{
		{name: "form", is: anyOf(WebhookForms), needed: true, example: "alertmanager",
			about: "What is sent: Prometheus Alertmanager's webhook (version 4), CloudEvents 1.0 (structured, binary, batched), or JSON of any form."},
		{name: "policies", is: list(nameKind), needed: true, example: "[web-down]",
			about: "The policies that it may trigger."},
		{name: "secret_file", is: filledText, example: "/etc/nightshift/alerts.secret",
			about: "The file with the secret; its path counts from this file, and it is read anew at each delivery. Without a secret the server answers on this machine only."},
		{name: "secret_env", is: text("the name of a variable", envForm.String()), example: "ALERTS_SECRET",
			about: "The variable of the environment with the secret, instead of a file."},
		{name: "secret", refused: "the secret does not belong in a file that others read", hint: "name a file with secret_file, or a variable with secret_env"},
		{name: "signature", is: anyOf(WebhookSignatures), example: "github",
			about: "How a delivery shows that it knows the secret: `bearer`, the header `Authorization: Bearer <secret>`; `github`, `X-Hub-Signature-256: sha256=<hex HMAC-SHA256 of the body>`; `civo`, `X-Civo-Signature: <hex HMAC-SHA1 of the body>`. Default: `bearer` with a secret, `none` without."},
		{name: "instance_label", is: filledText, standard: DefaultInstanceLabel, example: "node",
			about: "Alertmanager: the label that names the instance."},
		{name: "region_label", is: filledText, example: "region",
			about: "Alertmanager: the label that holds the code of the region. Default: none does, and all regions are searched."},
		{name: "instance_is", is: list(anyOf(WebhookInstanceIs)), standard: listed(WebhookInstanceIs), example: "[hostname, private_ip]",
			about: "What the source calls an instance. A port, or the rest of a URL, is left aside."},
		{name: "map", is: a(&mapShape), example: "{ signal: body.event, instance: body.resourceID }",
			about: "JSON and CloudEvents: where in the body the parts of a signal are. Default: they stand in Nightshift's own form."},
	},
}

// mapPart is a part of a signal in a mapping.
func mapPart(name, example, about string) field {
	return field{name: name, is: kind{words: "a CEL expression", schema: node{"type": "string", "pattern": `\S`}}, example: "'" + example + "'", about: about}
}

var mapShape = shape{
	name: "map", the: "the map",
	about: "A CEL expression for each part of a signal, over `body` (the JSON), `headers` (their names in lower case) and, with `each`, `item`. Exactly one of `alert`, `load` and `signal`. See [webhooks](webhooks.md).",
	such:  "{ signal: body.event, instance: body.resourceID }",
	one:   []string{"alert", "load", "signal"},
	needs: map[string][]string{"load": {"value"}},
	fields: []field{
		mapPart("each", "body.alerts", "A list in the body: each item of it is a signal."),
		mapPart("alert", "item.labels.alertname", "The name of an alert."),
		mapPart("load", `"cpu"`, "The name of a load."),
		mapPart("signal", "body.event", "The name of any other signal."),
		mapPart("status", "item.status", "`firing` or `resolved`. Default: `firing`."),
		mapPart("value", "double(body.cpu)", "A number."),
		mapPart("instance", "item.labels.instance", "What the source calls the instance. Empty: none is named."),
		mapPart("region", "body.region", "The code of the region. Default: all are searched."),
		mapPart("labels", "item.labels", "A map of texts."),
		mapPart("fingerprint", "item.fingerprint", "With `starts_at` the identity of a firing: repeats count once."),
		mapPart("starts_at", "item.startsAt", "Since when it fires: RFC 3339, or unix seconds."),
		mapPart("id", `headers["x-civo-event"]`, "The source's own id of the signal: repeats count once."),
	},
}
