package foreign

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"nightshift/policies/schedule"
)

// CustodianOffhours is the grammar of Cloud Custodian's filters offhour and onhour
// (c7n/filters/offhours.py and its tests).
const CustodianOffhours = "c7n-offhours"

// custodianZones are its short names for zones. Some are not what one expects.
var custodianZones = map[string]string{
	"pdt": "America/Los_Angeles", "pt": "America/Los_Angeles", "pst": "America/Los_Angeles", "ast": "America/Phoenix", "at": "America/Phoenix",
	"est": "America/New_York", "edt": "America/New_York", "et": "America/New_York", "cst": "America/Chicago", "cdt": "America/Chicago",
	"ct": "America/Chicago", "mst": "America/Denver", "mdt": "America/Denver", "mt": "America/Denver", "gmt": "Etc/GMT", "gt": "Etc/GMT",
	"bst": "Europe/London", "ist": "Europe/Dublin", "cet": "Europe/Berlin", "it": "Asia/Kolkata", "jst": "Asia/Tokyo", "kst": "Asia/Seoul",
	"sgt": "Asia/Singapore", "aet": "Australia/Sydney", "brt": "America/Sao_Paulo", "nzst": "Pacific/Auckland", "utc": "Etc/UTC",
}

// custodianZone finds a zone as Custodian does: an alias, else the name in title
// case. An empty name is the process's own zone.
func custodianZone(name string, env map[string]any) *time.Location {
	if alias, ok := custodianZones[name]; ok {
		return zoneFile(alias)
	}
	if odd, ok := oddZones[name]; ok {
		return zoneFile(odd)
	}
	return dateutilZone(titled(name), env)
}

// offhours are the settings of a policy around a tag.
type offhours struct {
	zone         string
	weekends     bool // off at the weekend
	weekendsOnly bool
	optOut       bool
	onHour       int
	offHour      int
	skip         []string
	skipFrom     bool
	fallback     string // schedule where there is no tag
	only         Edge   // ours: the one side that a lone policy acts on; empty: both
	env          map[string]any
}

func newOffhours(set Settings, defaultTZ string, env map[string]any) (*offhours, error) {
	o := &offhours{zone: "et", weekends: true, onHour: 7, offHour: 19, env: env}
	if defaultTZ != "" {
		o.zone = defaultTZ
	}
	for key, v := range set {
		ok := true
		switch strings.ReplaceAll(key, "_", "-") {
		case "default-tz":
			o.zone, ok = v.(string)
		case "weekends":
			o.weekends, ok = v.(bool)
		case "weekends-only":
			o.weekendsOnly, ok = v.(bool)
		case "opt-out":
			o.optOut, ok = v.(bool)
		case "onhour":
			o.onHour, ok = wholeNumber(v)
		case "offhour":
			o.offHour, ok = wholeNumber(v)
		case "skip-days":
			var list []any
			if list, ok = v.([]any); ok {
				for _, d := range list {
					if date, is := d.(time.Time); is { // YAML's, where it stands without quotes
						d = date.Format(time.DateOnly)
					}
					day, isText := d.(string)
					o.skip, ok = append(o.skip, day), ok && isText
				}
			}
		case "skip-days-from":
			o.skipFrom = true
		case "fallback-schedule":
			var text string
			if text, ok = v.(string); text != "" && (key == "fallback-schedule" || set["fallback-schedule"] == nil || set["fallback-schedule"] == "") {
				o.fallback = text // the older spelling counts where this one is not there or empty
			}
		case "only":
			side, _ := v.(string)
			o.only, ok = map[string]Edge{"start": EdgeOn, "stop": EdgeOff}[side]
		}
		if !ok {
			return nil, fmt.Errorf("the setting %s cannot be %v", key, v)
		}
	}
	return o, nil
}

func wholeNumber(v any) (int, bool) {
	switch n := v.(type) {
	case int:
		return n, true
	case float64:
		return int(n), n == float64(int(n))
	}
	return 0, false
}

// validate is what Custodian checks when it reads a policy.
func (o *offhours) validate(set Settings) error {
	switch {
	case custodianZone(o.zone, o.env) == nil:
		return fmt.Errorf("default_tz %q is no zone", o.zone)
	case o.onHour < 0 || o.onHour > 23:
		return fmt.Errorf("onhour %d is not from 0 to 23", o.onHour)
	case o.offHour < 0 || o.offHour > 23:
		return fmt.Errorf("offhour %d is not from 0 to 23", o.offHour)
	}
	if _, both := set["skip-days"]; both && o.skipFrom {
		return errors.New("skip-days and skip-days-from exclude each other")
	}
	return nil
}

var errSkipFrom = errors.New("skip-days-from names a list that nobody here can fetch: write its days in skip-days")

// hours are the days and hours at which it acts on one side.
type hours []struct {
	days []int // 0 is Monday
	hour int
}

func (h hours) match(wall time.Time) bool {
	for _, x := range h {
		if x.hour == wall.Hour() && slices.Contains(x.days, monday(wall)) {
			return true
		}
	}
	return false
}

// minutes are those of the day at which it acts.
func (h hours) minutes() (list []int) {
	for _, x := range h {
		list = append(list, x.hour*60)
	}
	return list
}

// byDefault are the hours of the policy for a side.
func (o *offhours) byDefault(side Edge) hours {
	days, hour, weekendDay := []int{0, 1, 2, 3, 4, 5, 6}, o.offHour, 4
	if side == EdgeOn {
		hour, weekendDay = o.onHour, 0
	}
	switch {
	case o.weekendsOnly:
		days = []int{weekendDay}
	case o.weekends:
		days = days[:5]
	}
	return hours{{days, hour}}
}

// normal is a tag's value as Custodian looks at it.
func normal(value string) string {
	value = strings.ToLower(value)
	for _, pair := range [][2]string{{"u28", "("}, {"u29", ")"}, {"u5b", "["}, {"u5d", "]"}, {"u2c", ","}, {"u3b", ";"}, {"u3d", "="}, {"u2f", "/"}, {"u2d", "-"}} {
		value = strings.ReplaceAll(value, pair[0], pair[1]) // one after the other, as there
	}
	return strings.Trim(strings.Trim(value, "'"), `"`)
}

// pieces are the key=value parts of a value, split at blanks and semicolons;
// whatever is no such part is passed over.
func pieces(value string) map[string]string {
	out := make(map[string]string)
	for _, p := range strings.FieldsFunc(value, func(r rune) bool { return r == ' ' || r == ';' }) {
		if kv := strings.Split(p, "="); len(kv) == 2 {
			out[kv[0]] = kv[1]
		}
	}
	return out
}

var errBadKeys = errors.New("the keys are on, off and tz")

func checkKeys(value string) error {
	for key := range pieces(value) {
		if key != "on" && key != "off" && key != "tz" {
			return fmt.Errorf("key %q: %w", key, errBadKeys)
		}
	}
	return nil
}

// parsed is a schedule written in a tag.
type parsed struct {
	sides map[string]hours
	zone  string
}

// parse reads a schedule written out. Only semicolons separate here, so a blank
// before a key makes another key of it, which nobody asks for.
func (o *offhours) parse(value string) (p parsed, err error) {
	if err := checkKeys(value); err != nil {
		return p, err
	}
	p.sides = make(map[string]hours)
	for piece := range strings.SplitSeq(value, ";") {
		kv := strings.Split(piece, "=")
		if len(kv) != 2 {
			return p, fmt.Errorf("%q is not key=value", piece)
		}
		switch {
		case kv[1] == "disabled": // of tz, too: then the policy's zone counts
		case kv[0] == "tz":
			p.zone = kv[1]
		default:
			if p.sides[kv[0]], err = parseHours(kv[1]); err != nil {
				return p, err
			}
		}
	}
	if p.zone == "" {
		p.zone = o.zone
	}
	return p, nil
}

// parseHours reads (m-f,19) or [(m-f,21),(u,18)].
func parseHours(text string) (out hours, err error) {
	for e := range strings.SplitSeq(strings.NewReplacer("[", "", "]", "").Replace(text), ",(") {
		days, hour, ok := strings.Cut(strings.NewReplacer("(", "", ")", "").Replace(e), ",")
		if !ok || strings.Contains(hour, ",") {
			return nil, fmt.Errorf("%q is not (days,hour)", e)
		}
		n, err := strconv.ParseUint(hour, 10, 16)
		if err != nil || n > 23 {
			return nil, fmt.Errorf("%q is not an hour from 0 to 23", hour)
		}
		list, ok := dayRange(days)
		if !ok {
			return nil, fmt.Errorf("%q are not days: M T W H F S U", days)
		}
		out = append(out, struct {
			days []int
			hour int
		}{list, int(n)})
	}
	return out, nil
}

// dayRange reads m, m-f or s-m. Parts that are no days are passed over, as there.
func dayRange(text string) (days []int, ok bool) {
	const letters = "mtwhfsu"
	index := func(s string) int {
		if len(s) != 1 {
			return -1
		}
		return strings.Index(letters, s)
	}
	if i := index(text); i >= 0 {
		return []int{i}, true
	}
	var ends []int
	for part := range strings.SplitSeq(text, "-") {
		if i := index(part); i >= 0 {
			ends = append(ends, i)
		}
	}
	if len(ends) != 2 {
		return nil, false
	}
	for d := ends[0]; ; d = (d + 1) % 7 {
		days = append(days, d)
		if d == ends[1] {
			return days, true
		}
	}
}

// side is when it acts on one side by a tag's value, and in which zone. It does
// not act at all where optedOut.
func (o *offhours) side(value *string, side Edge) (h hours, zone *time.Location, optedOut bool, err error) {
	if value == nil && o.fallback != "" {
		value = &o.fallback
	}
	if value == nil && !o.optOut {
		return nil, nil, true, nil
	}
	text := ""
	if value != nil {
		text = normal(*value)
	}
	if text == "off" {
		return nil, nil, true, nil
	}
	text = strings.Join(slices.DeleteFunc(strings.Split(text, ";"), func(s string) bool { return s == "" }), ";")
	name := o.zone
	raw := pieces(text)
	if _, own := raw[string(side)]; own {
		p, err := o.parse(text)
		if err != nil {
			return nil, nil, false, err
		}
		h, name = p.sides[string(side)], p.zone
	} else {
		if err := checkKeys(text); err != nil {
			return nil, nil, false, err
		}
		h = o.byDefault(side)
		if tz, ok := raw["tz"]; ok {
			name = tz
		}
	}
	if zone = custodianZone(name, o.env); zone == nil {
		return nil, nil, false, fmt.Errorf("tz %q is no zone", name)
	}
	return h, zone, false, nil
}

// acts reports whether it acts on one side at an instant.
func (o *offhours) acts(value *string, side Edge, at time.Time) (bool, string, error) {
	h, zone, optedOut, err := o.side(value, side)
	if err != nil || optedOut {
		return false, "opted out", err
	}
	if o.skipFrom {
		return false, "", errSkipFrom
	}
	wall := wallOf(at, zone)
	if slices.Contains(o.skip, wall.Format(time.DateOnly)) {
		return false, "a day of skip-days", nil
	}
	return h.match(wall), wall.Format("Mon 15:04 ") + zone.String(), nil
}

func answerOffhours(q Question) (any, string, error) {
	value, err := textSpec(q.Spec)
	if err != nil {
		return nil, "", err
	}
	o, err := newOffhours(q.Policy, q.DefaultTZ, q.Env)
	if err != nil {
		return nil, "", err
	}
	switch q.Edge {
	case EdgeOn, EdgeOff:
		acts, why, err := o.acts(value, q.Edge, q.At)
		return acts, why, err
	case EdgeValidate:
		if err := o.validate(q.Policy); err != nil {
			return nil, "", err
		}
		if value != nil {
			if _, err := o.parse(*value); err != nil {
				return nil, "", err
			}
		}
		return "ok", "", nil
	case EdgeState:
		table, _, err := o.table(value)
		if err != nil {
			return nil, "", err
		}
		return string(table.At(q.At)), "of the last hour at which it acted", nil
	}
	return nil, "", fmt.Errorf("%s knows no edge %q", CustodianOffhours, q.Edge)
}

// textSpec is a spec that is a text, or nil for null or none.
func textSpec(spec json.RawMessage) (*string, error) {
	if len(spec) == 0 || string(spec) == "null" {
		return nil, nil
	}
	var s string
	if err := json.Unmarshal(spec, &s); err != nil {
		return nil, errors.New("the spec is not a text")
	}
	return &s, nil
}

// table is the timetable that Custodian's two policies make of a tag, run every
// hour.
func (o *offhours) table(value *string) (schedule.Timetable, []Warning, error) {
	on, zone, optedOut, err := o.side(value, EdgeOn)
	if err != nil {
		return nil, nil, err
	}
	off, offZone, _, err := o.side(value, EdgeOff)
	if err != nil {
		return nil, nil, err
	}
	if optedOut {
		return &level{zone: time.UTC, text: "opted out", at: func(time.Time) schedule.State { return schedule.Any }}, nil, nil
	}
	if o.skipFrom {
		return nil, nil, errSkipFrom
	}
	if o.only != "" {
		return o.lone(map[Edge]hours{EdgeOn: on, EdgeOff: off}[o.only], map[Edge]*time.Location{EdgeOn: zone, EdgeOff: offZone}[o.only]), o.warn(value), nil
	}
	fires := func(t time.Time) (schedule.State, bool) {
		for _, side := range []struct {
			h    hours
			zone *time.Location
			to   schedule.State
		}{{on, zone, schedule.Running}, {off, offZone, schedule.Stopped}} { // running beats stopped
			wall := wallOf(t, side.zone)
			if wall.Minute() == 0 && side.h.match(wall) && !slices.Contains(o.skip, wall.Format(time.DateOnly)) {
				return side.to, true
			}
		}
		return "", false
	}
	table := &edges{zone: zone, text: fmt.Sprintf("%s on %v off %v %s skip %v", CustodianOffhours, on, off, zone, o.skip), looks: looks{clocks: []clock{{zone, on.minutes()}, {offZone, off.minutes()}}}, within: 35, fires: fires}
	return table, o.warn(value), nil
}

// lone is the timetable of one policy without its counterpart: it wants something
// in the hours at which Custodian acts, and nothing at all other times.
func (o *offhours) lone(h hours, zone *time.Location) schedule.Timetable {
	want := schedule.Stopped
	if o.only == EdgeOn {
		want = schedule.Running
	}
	var minutes []int
	for _, begin := range h.minutes() {
		minutes = append(minutes, begin, (begin+60)%1440)
	}
	return &level{zone: zone, text: fmt.Sprintf("%s only %s %v %s skip %v", CustodianOffhours, o.only, h, zone, o.skip), looks: looks{clocks: []clock{{zone, minutes}}}, within: 35, at: func(t time.Time) schedule.State {
		wall := wallOf(t, zone)
		if h.match(wall) && !slices.Contains(o.skip, wall.Format(time.DateOnly)) {
			return want
		}
		return schedule.Any
	}}
}

// warn names what behaves otherwise than a reader of the tag would think.
func (o *offhours) warn(value *string) (list []Warning) {
	if value == nil {
		return nil
	}
	raw := pieces(normal(*value))
	for _, side := range []Edge{EdgeOn, EdgeOff} {
		if o.only != "" && o.only != side {
			continue
		}
		other := map[Edge]Edge{EdgeOn: EdgeOff, EdgeOff: EdgeOn}[side]
		if _, ok := raw[string(side)]; !ok && raw[string(other)] != "" {
			hour := o.onHour
			if side == EdgeOff {
				hour = o.offHour
			}
			list = append(list, Warning{Text: fmt.Sprintf("%s is not in the tag: the policy's own hour %d counts, it is not left alone", side, hour), Hint: fmt.Sprintf("write %s=disabled to leave that side alone", side)})
		}
	}
	switch raw["tz"] {
	case "ist":
		list = append(list, Warning{Text: "tz=ist is Europe/Dublin, not India", Hint: "write tz=asia/kolkata"})
	case "ast", "at":
		list = append(list, Warning{Text: "tz=" + raw["tz"] + " is America/Phoenix, not the Atlantic", Hint: "write tz=america/halifax"})
	case "gmt", "gt":
		list = append(list, Warning{Text: "tz=" + raw["tz"] + " is UTC all year, without summer time", Hint: "write tz=europe/london"})
	}
	return append(list, Warning{Text: "an hour that summer time skips does not happen, one that it repeats happens twice", Hint: "our own windows handle both", Always: true})
}

func readOffhours(value string, set Settings, zone *time.Location) (schedule.Timetable, []Warning, error) {
	o, err := newOffhours(set, "", nil)
	if err != nil {
		return nil, nil, err
	}
	if set["default_tz"] == nil && set["default-tz"] == nil {
		o.zone = strings.ToLower(zone.String())
	}
	if err := o.validate(set); err != nil {
		return nil, nil, err
	}
	return o.table(&value)
}
