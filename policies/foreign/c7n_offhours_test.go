package foreign_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"nightshift/policies/foreign"
)

// The rows of Custodian's own tests (tests/test_offhours.py, by the name of the
// test), and what follows from its code.
func TestCustodianOffhours(t *testing.T) {
	const evening, morning = "2015-12-01T19:05:00-05:00", "2015-12-01T07:05:00-05:00" // a Tuesday
	for _, tt := range []struct {
		source, spec, policy string
		edge                 foreign.Edge
		at                   string
		want                 any
	}{
		{"test_opt_out_behavior: no tag", `null`, `{"opt-out":true}`, "off", evening, true},
		{"test_opt_out_behavior: empty", `""`, `{"opt-out":true}`, "off", evening, true},
		{"test_opt_out_behavior: off", `"off"`, `{"opt-out":true}`, "off", evening, false},
		{"test_opt_in_behavior: no tag", `null`, ``, "off", evening, false},
		{"test_opt_in_behavior: empty", `""`, ``, "off", evening, true},
		{"test_opt_in_behavior: on", `"on"`, ``, "on", morning, true},
		{"test_process: a value that cannot be read", `"off=(m-f,5);zebrablue,on=(t-w,5)"`, `{"opt-out":true}`, "off", evening, "error"},
		{"test_everyday_onhour: Sunday", `"tz=est"`, `{"weekends":false}`, "on", "2016-08-14T07:20:00-04:00", true},
		{"weekends: not on Sunday", `"tz=est"`, ``, "on", "2016-08-14T07:20:00-04:00", false},
		{"test_weekends_only_onhour_support: Monday", `"tz=est"`, `{"weekends-only":true}`, "on", "2016-08-15T07:20:00-04:00", true},
		{"test_weekends_only_onhour_support: Tuesday", `"tz=est"`, `{"weekends-only":true}`, "on", "2016-08-16T07:20:00-04:00", false},
		{"test_onhour_weekend_support: Friday", `"tz=est"`, `{"weekends-only":true}`, "off", "2016-02-19T19:20:00-05:00", true},
		{"test_offhours_real_world_values: quoted", `"\"Offhours tz=ET\""`, ``, "off", evening, true},
		{"test_offhours_get_value: another zone", `"Offhours tz=PT"`, ``, "off", evening, false},
		{"test_onhour: the policy's hour", `"tz=est"`, `{"onhour":8}`, "on", morning, false},
		{"test_cant_parse_tz", `"tz=evt"`, ``, "off", evening, "error"},
		{"test_custom_offhours", `"off=(m-f,19);on=(m-f,7);tz=et"`, ``, "off", "2016-05-26T19:00:00-04:00", true},
		{"test_custom_offhours: later", `"off=(m-f,20);on=(m-f,7);tz=et"`, ``, "off", "2016-05-26T19:00:00-04:00", false},
		{"test_arizona_tz", `"off=(m-f,19);on=(m-f,7);tz=at"`, ``, "on", "2016-05-26T07:00:00-07:00", true},
		{"test_custom_bad_hours: empty parentheses", `"off=();tz=et"`, ``, "off", "2016-05-26T19:00:00-04:00", "error"},
		{"test_custom_bad_hours: 90", `"off=(m-f,90);on=(m-f,7);tz=et"`, ``, "off", "2016-05-26T19:00:00-04:00", "error"},
		{"test_offhours_skip", `"tz=est"`, `{"skip-days":["2017-01-01","2015-12-01"]}`, "off", evening, false},
		{"test_offhours_skip: another day", `"tz=est"`, `{"skip-days":["2015-12-02"]}`, "off", evening, true},
		{"test_offhours_get_value_fallback", `null`, `{"fallback-schedule":"off=[(T,19)];on=[(M,6)];tz=est"}`, "off", evening, true},
		{"test_tz_long_form_resolve", `"off=(m-f,19);tz=america/los_angeles"`, ``, "off", "2015-12-01T19:05:00-08:00", true},
		{"test_tz_long_form_resolve: not in title case", `"off=(m-f,19);tz=chile/easterisland"`, ``, "off", "2015-12-01T19:05:00-05:00", true},
		{"code: a blank before a key makes another key of it", `"off=(m-f,19); on=(m-f,7)"`, ``, "on", "2016-05-26T07:00:00-04:00", false},
		{"code: disabled leaves a side alone", `"off=disabled;on=(m-f,7);tz=et"`, ``, "off", evening, false},
		{"code: a side that is missing takes the policy's hour", `"on=(m-f,7);tz=et"`, ``, "off", evening, true},
		{"code: a trailing semicolon is passed over", `"off=(m-f,19);"`, ``, "off", evening, true},
		{"code: any minute of the hour counts", `"off=(m-f,19);tz=et"`, ``, "off", "2015-12-01T19:59:00-05:00", true},
		{"code: ist is Dublin", `"off=(m-f,19);tz=ist"`, ``, "off", "2015-12-01T19:05:00Z", true},
		{"code: an hour in the gap does not come", `"off=(m-u,2);tz=et"`, ``, "off", "2016-03-13T07:00:00Z", false},
		{"code: an hour in the overlap comes twice", `"off=(m-u,1);tz=et"`, ``, "off", "2016-11-06T06:10:00Z", true},
		{"test_validate: default_tz", `null`, `{"default_tz":"zmta"}`, "validate", "", "error"},
		{"test_validate: offhour", `null`, `{"offhour":25}`, "validate", "", "error"},
		{"test_validate: two lists", `null`, `{"skip-days":["2017-01-01"],"skip-days-from":{}}`, "validate", "", "error"},
		{"test_validate: nothing", `null`, `{}`, "validate", "", "ok"},
		{"test_schedule_parser: wrap around", `"on=[(s-m,10)];off=(s-m,19)"`, ``, "validate", "", "ok"},
		{"test_schedule_parser: brackets alone", `"off=[m-f,20];on=[m-f,5];tz=est"`, ``, "validate", "", "ok"},
		{"test_schedule_parser: empty", `""`, ``, "validate", "", "error"},
		{"test_schedule_parser: day", `"off=(1-2,12);on=(m-f,10);tz=est"`, ``, "validate", "", "error"},
		{"test_schedule_parser: hour", `"off=(m-f,a);on=(m-f,10);tz=est"`, ``, "validate", "", "error"},
		{"test_schedule_parser: no hour", `"off=(m-f);on=(m-f,10);tz=est"`, ``, "validate", "", "error"},
		{"test_schedule_parser: three days", `"off=(m-t-f,12);on=(m-f,10);tz=est"`, ``, "validate", "", "error"},
		{"test_schedule_parser: an extra key", `"off=(m-f,5);zebra=blue;on=(t-w,5)"`, ``, "validate", "", "error"},
	} {
		t.Run(tt.source, func(t *testing.T) {
			if got := ask(t, foreign.CustodianOffhours, tt.spec, tt.policy, nil, tt.edge, tt.at); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// What Custodian's tests go through day by day: a week from a Sunday, x for a day
// on which it acts.
func TestCustodianOffhoursOverAWeek(t *testing.T) {
	for _, tt := range []struct {
		source, policy string
		edge           foreign.Edge
		from, want     string
	}{
		{"test_everyday_onhour", `{"weekends":false}`, "on", "2016-08-14T07:20:00-04:00", "xxxxxxx"},
		{"test_everyday_offhour", `{"weekends":false}`, "off", "2016-08-14T19:20:00-04:00", "xxxxxxx"},
		{"test_weekends_only_onhour_support", `{"weekends-only":true}`, "on", "2016-08-14T07:20:00-04:00", ".x....."},
		{"test_onhour_weekend_support", `{"weekends-only":true}`, "off", "2016-02-14T19:20:00-05:00", ".....x."},
		{"test_offhour_weekend_support, from a Friday", `{}`, "off", "2016-02-26T19:20:00-05:00", "x..x"},
		{"code: weekends-only outdoes weekends", `{"weekends-only":true,"weekends":false}`, "on", "2016-08-14T07:20:00-04:00", ".x....."},
	} {
		t.Run(tt.source, func(t *testing.T) {
			from, err := time.Parse(time.RFC3339, tt.from)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for n := range len(tt.want) {
				acts := ask(t, foreign.CustodianOffhours, `"tz=est"`, tt.policy, nil, tt.edge, from.AddDate(0, 0, n).Format(time.RFC3339))
				got += map[any]string{true: "x", false: "."}[acts]
			}
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// tests/test_offhours.py, ScheduleParserTest.table, whole.
func TestCustodianScheduleParser(t *testing.T) {
	for _, tt := range []struct{ spec, want string }{
		{"off=(m-f,10);on=(m-f,7);tz=et", "ok"},
		{"off=[(m-f,9)];on=(m-s,10);tz=pt", "ok"},
		{"off=[(m-f,23)];on=(m-s,10);tz=pt", "ok"},
		{"off=(m-f,19);on=(m-f,7);tz=pst", "ok"},
		{"on=[(s-m,10)];off=(s-m,19)", "ok"},
		{"on=[(m,9),(t,10),(w,7)];off=(m-u,19)", "ok"},
		{"off=[m-f,20];on=[m-f,5];tz=est", "ok"},
		{"", "error"},
		{"off=(1-2,12);on=(m-f,10);tz=est", "error"},
		{"off=(m-f,a);on=(m-f,10);tz=est", "error"},
		{"off=(m-f,99);on=(m-f,7);tz=pst", "error"},
		{"off=(x-f,10);on=(m-f,10);tz=est", "error"},
		{"off=(m-f);on=(m-f,10);tz=est", "error"},
		{"off=(m-t-f,12);on=(m-f,10);tz=est", "error"},
		{"off=(m-f,5);zebra=blue,on=(t-w,5)", "error"},
		{"off=(m-f,5);zebra=blue;on=(t-w,5)", "error"},
		{"off=(m-f,5);zebrablue,on=(t-w,5)", "error"},
		{"bar;off=(m-f,5);zebrablue,on=(t-w,5)", "error"},
	} {
		spec, _ := json.Marshal(tt.spec)
		if got := ask(t, foreign.CustodianOffhours, string(spec), "", nil, "validate", ""); got != tt.want {
			t.Errorf("%s: got %v, want %s", tt.spec, got, tt.want)
		}
	}
}

// What the parser makes of a value: at which hours of which days it acts.
func TestCustodianHours(t *testing.T) {
	for _, tt := range []struct {
		source, spec string
		edge         foreign.Edge
		want         string // day and hour in the zone, over a week from a Monday
	}{
		{"table: wrap around", "on=[(s-m,10)];off=(s-m,19);tz=utc", "on", "Mon 10 Sat 10 Sun 10"},
		{"table: single days", "on=[(m,9),(t,10),(w,7)];off=(m-u,19);tz=utc", "on", "Mon 09 Tue 10 Wed 07"},
		{"table: brackets alone", "off=[m-f,20];on=[m-f,5];tz=utc", "off", "Mon 20 Tue 20 Wed 20 Thu 20 Fri 20"},
		{"test_unescape_tag_restrictions, in a tag", "off=u5bu28M-Tu2c18u29u2cu28Su2c13u29u5du3btzu3dutc", "off", "Mon 18 Tue 18 Sat 13"},
		{"docs: all of it escaped", "offu3du28M-Tu2c18u29u3btzu3dEtcu2fUTC", "off", "Mon 18 Tue 18"},
		{"code: an end that is no day is passed over", "off=(m-x-t,7);tz=utc", "off", "Mon 07 Tue 07"},
		{"code: an hour with a nought before it", "off=(h,007);tz=utc", "off", "Thu 07"},
		{"code: the later of two keys", "off=(m,7);off=(t,8);tz=utc", "off", "Tue 08"},
		{"code: disabled takes nothing back", "off=(m,7);off=disabled;tz=utc", "off", "Mon 07"},
		{"code: tz=disabled is none, so the policy's counts", "off=(m,7);tz=disabled", "off", "Mon 07"},
		{"code: quotes within quotes", `'"off=(m,7);tz=utc"'`, "off", "Mon 07"},
		{"code: and the other way round they stay", `"'off=(m,7);tz=utc'"`, "off", "error"},
		{"code: empty pieces", ";;off=(m,7);;tz=utc;", "off", "Mon 07"},
		{"code: a key with a word before it is another key", "then off=(m,7);tz=utc", "off", ""},
		{"code: minutes", "off=(m,7:30);tz=utc", "off", "error"},
		{"code: half an hour", "off=(m,7.5);tz=utc", "off", "error"},
		{"code: -1", "off=(m,-1);tz=utc", "off", "error"},
		{"code: 24", "off=(m,24);tz=utc", "off", "error"},
		{"code: a blank before the hour", "off=(m, 7);tz=utc", "off", "error"},
		{"code: no side", "off=;tz=utc", "off", "error"},
		{"code: a fault of the other side matters", "off=(m,7);on=(m,99);tz=utc", "off", "error"},
		{"code: but not where one's own side is not there", "on=(m,99);tz=utc", "off", "Mon 19 Tue 19 Wed 19 Thu 19 Fri 19"},
	} {
		t.Run(tt.source, func(t *testing.T) {
			spec, _ := json.Marshal(tt.spec)
			var got []string
			for at := time.Date(2026, 6, 15, 0, 30, 0, 0, time.UTC); at.Day() < 22; at = at.Add(time.Hour) {
				switch ask(t, foreign.CustodianOffhours, string(spec), `{"default_tz":"utc"}`, nil, tt.edge, at.Format(time.RFC3339)) {
				case true:
					got = append(got, at.Format("Mon 15"))
				case "error":
					got = []string{"error"}
				}
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("got %s, want %s", strings.Join(got, " "), tt.want)
			}
		})
	}
}

// The zone is found as dateutil finds it. The row says at which instant it is 19:00
// on a Monday in summer; none: the zone is refused.
func TestCustodianZones(t *testing.T) {
	for _, tt := range []struct{ source, zone, at string }{
		{"test_tz_long_form_resolve", "america/los_angeles", "2026-06-15T19:00:00-07:00"},
		{"test_tz_long_form_resolve", "pst", "2026-06-15T19:00:00-07:00"},
		{"test_tz_long_form_resolve", "pacific/auckland", "2026-06-15T19:00:00+12:00"},
		{"test_tz_long_form_resolve", "gmt", "2026-06-15T19:00:00Z"},
		{"test_tz_long_form_resolve", "chile/easterisland", "2026-06-15T19:00:00-06:00"},
		{"test_current_time_test", "est", "2026-06-15T19:00:00-04:00"},
		{"test_arizona_tz", "at", "2026-06-15T19:00:00-07:00"},
		{"test_cant_parse_tz", "evt", ""},
		{"test_custom_bad_tz", "abc", ""},
		{"aliases: ist", "ist", "2026-06-15T19:00:00+01:00"},
		{"aliases: it", "it", "2026-06-15T19:00:00+05:30"},
		{"aliases: cet", "cet", "2026-06-15T19:00:00+02:00"},
		{"aliases: bst", "bst", "2026-06-15T19:00:00+01:00"},
		{"aliases: brt", "brt", "2026-06-15T19:00:00-03:00"},
		{"aliases: nzst", "nzst", "2026-06-15T19:00:00+12:00"},
		{"not in title case: us/eastern", "us/eastern", "2026-06-15T19:00:00-04:00"},
		{"not in title case: gb", "gb", "2026-06-15T19:00:00+01:00"},
		{"not in title case: etc/gmt+3", "etc/gmt+3", "2026-06-15T19:00:00-03:00"},
		{"not in title case: america/port-au-prince", "america/port-au-prince", "2026-06-15T19:00:00-04:00"},
		{"gettz: utc+3 is for POSIX", "utc+3", "2026-06-15T19:00:00-03:00"},
		{"gettz: and gmt-2", "gmt-2", "2026-06-15T19:00:00+02:00"},
		{"gettz: minutes", "xyz-0530", "2026-06-15T19:00:00+05:30"},
		{"gettz: an old summer time", "abc5xyz", "2026-06-15T19:00:00-04:00"},
		{"gettz: hours with minutes", "abc-5:45", "2026-06-15T19:00:00+05:45"},
		{"gettz: no name is the process's zone", "", "2026-06-15T19:00:00+09:00"},
		{"gettz: +3 alone", "+3", ""},
		{"a city alone", "london", ""},
		{"an area alone", "europe", ""},
	} {
		for _, hour := range []string{"19", "20"} { // and an hour later it does not
			want := any(hour == "19")
			at := strings.Replace(tt.at, "T19", "T"+hour, 1)
			if tt.at == "" {
				want, at = "error", "2026-06-15T19:00:00Z"
			}
			spec, _ := json.Marshal("off=(m,19);on=(m,7);tz=" + tt.zone)
			policy := `{"default_tz":"ist"}`
			if tt.zone == "" { // a tz that is empty counts only where no side is written
				spec = []byte(`"tz="`)
			}
			if got := ask(t, foreign.CustodianOffhours, string(spec), policy, map[string]any{"TZ": "Asia/Tokyo"}, "off", at); got != want {
				t.Errorf("%s: %s at %s: got %v, want %v", tt.source, tt.zone, at, got, want)
			}
		}
	}
	// As a policy's default_tz the alias counts in small letters only.
	for zone, want := range map[string]any{"et": "ok", "America/New_York": "ok", "ET": "error", "EST": "error", "UTC": "error", "US/Eastern": "error", "us/eastern": "ok", "zmta": "error"} {
		if got := ask(t, foreign.CustodianOffhours, `null`, `{"default_tz":"`+zone+`"}`, nil, "validate", ""); got != want {
			t.Errorf("default_tz %s: got %v, want %v", zone, got, want)
		}
	}
}

func TestCustodianSettings(t *testing.T) {
	const evening = "2015-12-01T19:05:00-05:00" // a Tuesday
	for _, tt := range []struct {
		source, spec, policy string
		want                 any
	}{
		{"test_process: on", `"on"`, `{"opt-out":true}`, true},
		{"test_opt_out_behavior: OFF in capitals", `"OFF"`, `{"opt-out":true}`, false},
		{"code: off in quotes", `"'off'"`, `{"opt-out":true}`, false},
		{"code: off with a semicolon is not off", `"off;"`, `{}`, true},
		{"code: off with a blank is not off", `" off"`, `{}`, true},
		{"code: any word is as good as on", `"true"`, `{}`, true},
		{"test_offhours_get_value_fallback: opted out by it", `null`, `{"fallback-schedule":"off","opt-out":true}`, false},
		{"code: a tag outdoes the fallback", `""`, `{"fallback-schedule":"off=(t,3)"}`, true},
		{"code: an empty fallback is none", `null`, `{"fallback-schedule":""}`, false},
		{"code: the older spelling of it", `null`, `{"fallback_schedule":"off=(t,19);tz=est"}`, true},
		{"code: the older one where the newer is empty", `null`, `{"fallback_schedule":"off=(t,19);tz=est","fallback-schedule":""}`, true},
		{"code: the newer spelling comes first", `null`, `{"fallback_schedule":"off=(t,3)","fallback-schedule":"off=(t,19);tz=est"}`, true},
		{"test_offhours_skip: the date is that of the tag's zone", `"tz=aet"`, `{"skip-days":["2015-12-02"],"offhour":11}`, false},
		{"code: a list that is fetched", `"tz=et"`, `{"skip-days-from":{"url":"s3://x/y.csv"}}`, "error"},
		{"code: an hour that never comes", `"tz=et"`, `{"offhour":25}`, false},
		{"schema: half an hour", `"tz=et"`, `{"offhour":19.5}`, "error"},
		{"schema: a list of days that is none", `"tz=et"`, `{"skip-days":"2015-12-01"}`, "error"},
	} {
		t.Run(tt.source, func(t *testing.T) {
			if got := ask(t, foreign.CustodianOffhours, tt.spec, tt.policy, nil, "off", evening); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
	for policy, want := range map[string]any{`{"onhour":-1}`: "error", `{"onhour":0}`: "ok", `{"offhour":23}`: "ok", `{"offhour":24}`: "error", `{"skip-days":null,"skip-days-from":{}}`: "error", `{"skip-days":[]}`: "ok"} {
		if got := ask(t, foreign.CustodianOffhours, `null`, policy, nil, "validate", ""); got != want {
			t.Errorf("validate %s: got %v, want %v", policy, got, want)
		}
	}
}
