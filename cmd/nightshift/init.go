package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"nightshift/configs"
	"nightshift/policies"
	"nightshift/policies/schedule"
	"nightshift/worker"
)

func newInitCommand() *cobra.Command {
	var file, output, timezone, apiURL, region string
	var force bool
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Read the account, and write a first file that touches nothing",
		Long: `init reads your instances, groups them by their tags (env=dev, role=web, batch)
and host names, and writes a commented policy file for them. It is in mode:
observe, so even the daemon only reports; hours are proposed as comments, for you
to take the # away; what looks like production is protected.

Then: nightshift plan, nightshift simulate --mode act, nightshift run; and when
its reports are as you want them, mode: act. The same instances give the same
file. A file that exists is not replaced without --force.

Exit codes: 0; 1 when a region could not be read, there is no token, or the file
exists: then nothing is written; 64 wrong usage.`,
		Example: `  nightshift init --timezone Europe/London
  nightshift init -o -                                  # print it
  nightshift init --inventory fleet.json -o first.yaml  # saved: nightshift instances list -o json
  CIVO_TOKEN=12345 nightshift init --api-url http://127.0.0.1:8080 --force   # nightshift sim`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := schedule.LoadZone(timezone); err != nil {
				return usagef("--timezone %q: %v", timezone, err)
			}
			if output != "-" && !force {
				if _, err := os.Lstat(output); err == nil {
					return fileExists(output)
				}
			}
			account, err := readAccount(cmd.Context(), file, apiURL, region)
			if err != nil {
				return err
			}
			first := newFirstFile(account, timezone)
			text := first.String()
			if _, err := configs.Parse(output, []byte(text)); err != nil {
				return fmt.Errorf("the file that init made has a fault, which is a fault of init; nothing is written: %w", err)
			}
			if output == "-" {
				_, err := io.WriteString(cmd.OutOrStdout(), text)
				return err
			}
			if err := writeFirst(output, text, force); err != nil {
				return err
			}
			config := ""
			if output != configs.DefaultFile {
				config = " --config " + output
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "wrote %s: %s in %s, mode observe, %s in comments\nnext: nightshift plan%s; nightshift simulate%s --mode act\n",
				output, count(len(account.instances), "instance"), strings.Join(first.regions, ", "), count(len(first.proposals), "proposal"), config, config)
			return err
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", configs.DefaultFile, "where to write; - is standard output")
	cmd.Flags().BoolVar(&force, "force", false, "replace a file that exists")
	cmd.Flags().StringVar(&timezone, "timezone", "UTC", "zone of the times in the file, such as Europe/London")
	cmd.Flags().StringVar(&file, "inventory", "", inventoryHelp)
	cmd.Flags().StringVar(&apiURL, "api-url", "", "address of the API, such as that of nightshift sim (default CIVO_API_URL, else https://api.civo.com)")
	cmd.Flags().StringVar(&region, "region", "", "this region only (default CIVO_REGION, else all of the account)")
	return cmd
}

func fileExists(path string) error {
	return fmt.Errorf("%s exists: name another with --output, or replace it with --force", path)
}

func writeFirst(path, text string, force bool) error {
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force {
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(path, flags, 0o644)
	if errors.Is(err, os.ErrExist) {
		return fileExists(path)
	}
	if err != nil {
		return fmt.Errorf("write the policy file: %w", err)
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// account is what init reads.
type account struct {
	instances []policies.Instance
	regions   []string // that were read, upper case
}

// readAccount reads all or nothing: a region that is missing would be missing in
// the file, too.
func readAccount(ctx context.Context, file, apiURL, region string) (account, error) {
	if file != "" {
		var regions []string
		if region != "" {
			regions = []string{strings.ToUpper(region)}
		}
		instances, err := readInventoryFile(ctx, file, regions)
		if len(regions) > 0 {
			instances = inRegions(instances, regions, "in "+file, io.Discard)
		}
		return account{instances, regions}, err
	}
	api, regions, err := apiFromEnvironment(ctx, apiURL, region)
	if err != nil {
		return account{}, err
	}
	wait := newProgress(os.Stderr, "reading the instances of %s", strings.Join(regions, ", "))
	instances, faults := worker.ReadInventory(ctx, api, regions)
	wait.end()
	for _, r := range slices.Sorted(maps.Keys(faults)) {
		return account{}, fmt.Errorf("nothing is written, since a region could not be read (--region names one that can): %w", faults[r])
	}
	return account{instances, regions}, nil
}

// firstFile is what init writes, before it is text.
type firstFile struct {
	timezone  string
	regions   []string
	empty     []string // regions without instances
	perRegion map[string]int
	nodes     int // of Kubernetes clusters
	total     int // without those
	families  []family
	hosts     []group // by pattern of the host name
	untagged  int
	protect   []string // tags
	protected int
	ownHours  int
	proposals []proposal
}

// family is the values of a key, or the tags without one.
type family struct {
	key    string // empty: plain tags
	values []group
}

// group is the instances that have something in common.
type group struct {
	word    string // value, tag or pattern
	pattern string // for a selector: the tag or the host name, as a glob; empty: it cannot be one
	members []policies.Instance
}

// proposal is a policy in comments.
type proposal struct {
	name, title, selector, schedule string
}

func newFirstFile(a account, timezone string) *firstFile {
	f := &firstFile{timezone: timezone, perRegion: make(map[string]int)}
	var own []policies.Instance
	for _, i := range sortedInstances(a.instances) {
		f.perRegion[i.Region]++
		if policies.IsClusterNode(i) {
			f.nodes++
			continue
		}
		own = append(own, i)
	}
	f.total = len(own)
	f.setRegions(a.regions)
	f.groupTags(own)
	f.groupHosts(own)
	f.setProtect(own)
	f.propose()
	return f
}

func (f *firstFile) setRegions(read []string) {
	f.regions = slices.Sorted(maps.Keys(f.perRegion))
	for _, r := range slices.Sorted(slices.Values(read)) {
		if f.perRegion[r] == 0 {
			f.empty = append(f.empty, r)
		}
	}
	if len(f.regions) == 0 {
		f.regions, f.empty = f.empty, nil
	}
	if len(f.regions) == 0 {
		f.regions = []string{"LON1"}
	}
}

func (f *firstFile) groupTags(own []policies.Instance) {
	byKey := make(map[string]map[string][]policies.Instance)
	for _, i := range own {
		if len(i.Tags) == 0 {
			f.untagged++
		}
		for _, tag := range slices.Compact(slices.Sorted(slices.Values(i.Tags))) {
			key, value, ok := strings.Cut(tag, "=")
			if !ok {
				key, value = "", tag
			}
			if key == policies.DefaultPrefix+policies.OwnHours {
				f.ownHours++
			}
			if byKey[key] == nil {
				byKey[key] = make(map[string][]policies.Instance)
			}
			byKey[key][value] = append(byKey[key][value], i)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		fam := family{key: key}
		for _, value := range slices.Sorted(maps.Keys(byKey[key])) {
			tag := value
			if key != "" {
				tag = key + "=" + value
			}
			fam.values = append(fam.values, group{word: value, pattern: asGlob(tag), members: byKey[key][value]})
		}
		slices.SortStableFunc(fam.values, func(a, b group) int { return cmp.Compare(len(b.members), len(a.members)) })
		f.families = append(f.families, fam)
	}
	slices.SortStableFunc(f.families, func(a, b family) int { return cmp.Compare(boolInt(a.key == ""), boolInt(b.key == "")) })
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// asGlob writes a text so that a selector matches just that; empty where none can.
func asGlob(s string) string {
	glob := strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(s)
	if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) || policies.CheckGlob(glob) != nil {
		return ""
	}
	return glob
}

var numbered = regexp.MustCompile(`^(.*[^0-9])[0-9]+$`)

// groupHosts finds host names that differ by a number: web-1, web-2, web-10.
func (f *firstFile) groupHosts(own []policies.Instance) {
	byStem := make(map[string][]policies.Instance)
	for _, i := range own {
		label, _, _ := strings.Cut(i.Hostname, ".")
		if m := numbered.FindStringSubmatch(label); m != nil {
			byStem[m[1]] = append(byStem[m[1]], i)
		}
	}
	for _, stem := range slices.Sorted(maps.Keys(byStem)) {
		if glob := asGlob(stem); glob != "" && len(byStem[stem]) > 1 {
			f.hosts = append(f.hosts, group{word: stem + "*", pattern: glob + "*", members: byStem[stem]})
		}
	}
}

// Words of tags and host names that say what a machine is for.
var (
	devWords  = []string{"dev", "develop", "development", "test", "tests", "testing", "qa", "staging", "stage", "stg", "uat", "review", "preview", "sandbox", "demo", "lab", "playground", "nonprod", "preprod"}
	prodWords = []string{"prod", "prd", "production", "live", "protected", "critical"}
)

func hasWord(s string, words []string) bool {
	lower := strings.ToLower(s)
	parts := strings.FieldsFunc(lower, func(r rune) bool { return !unicode.IsLetter(r) })
	return slices.ContainsFunc(parts, func(p string) bool { return slices.Contains(words, p) }) || slices.Contains(words, strings.Join(parts, ""))
}

func isDev(s string) bool  { return hasWord(s, devWords) }
func isProd(s string) bool { return hasWord(s, prodWords) && !isDev(s) }

func (f *firstFile) setProtect(own []policies.Instance) {
	for _, fam := range f.families {
		for _, g := range fam.values {
			truth := slices.Contains([]string{"true", "yes", "1"}, strings.ToLower(g.word)) && isProd(fam.key)
			if g.pattern != "" && (isProd(g.word) || truth) {
				f.protect = append(f.protect, g.pattern)
			}
		}
	}
	if len(f.protect) > 0 {
		sel := policies.Selector{Any: f.protect}
		for _, i := range own {
			if sel.Matches(i) {
				f.protected++
			}
		}
	}
}

// propose writes hours for what looks like machines that are not needed at night;
// where nothing does, for the largest group, to show the form.
func (f *firstFile) propose() {
	covered := make(map[string]bool)
	for _, fam := range f.families {
		for _, g := range fam.values {
			if isDev(g.word) && g.pattern != "" {
				f.add(fam.key, g, "all", true)
				for _, i := range g.members {
					covered[i.ID] = true
				}
			}
		}
	}
	for _, g := range f.hosts {
		if isDev(g.word) && slices.ContainsFunc(g.members, func(i policies.Instance) bool { return !covered[i.ID] }) {
			f.add("", g, "hostname", true)
		}
	}
	if len(f.proposals) > 0 {
		return
	}
	var largest group
	key := ""
	for _, fam := range f.families {
		for _, g := range fam.values {
			if g.pattern != "" && !slices.Contains(f.protect, g.pattern) && !strings.HasPrefix(g.pattern, policies.DefaultPrefix) && len(g.members) > len(largest.members) {
				largest, key = g, fam.key
			}
		}
	}
	if largest.pattern == "" {
		largest, key = group{word: "dev", pattern: "env=dev"}, "env"
	}
	f.add(key, largest, "all", false)
}

func (f *firstFile) add(key string, g group, selectBy string, likely bool) {
	what := "Tag " + commentText(g.word)
	if key != "" {
		what = "Tag " + commentText(key+"="+g.word)
	}
	if selectBy == "hostname" {
		what = "Host name " + commentText(g.word)
	}
	selector := selectBy + ": [" + yamlWord(g.pattern) + "]"
	if none := f.exceptions(g); len(none) > 0 {
		selector += ", none: [" + strings.Join(none, ", ") + "]"
	}
	title := what + ": " + count(len(g.members), "instance")
	if len(g.members) > 0 {
		hosts := make([]string, len(g.members))
		for n, i := range g.members {
			hosts[n] = commentText(i.Hostname)
		}
		title += " (" + names(hosts) + ")"
	}
	title += ". Needed in office hours only?"
	if !likely {
		title = "Nothing looks as if it were not needed at night; this shows the form.\n" + title
	}
	f.proposals = append(f.proposals, proposal{
		name: f.freeName(slug(key + "-" + g.word)), title: title, selector: selector, schedule: `running: ["Mon-Fri 08:00-19:00"]`,
	})
}

// exceptions are the tags of a group that say: not this one.
func (f *firstFile) exceptions(g group) (tags []string) {
	for _, tag := range []string{"always-on", "keep-on", "no-stop"} {
		if slices.ContainsFunc(g.members, func(i policies.Instance) bool { return slices.Contains(i.Tags, tag) }) {
			tags = append(tags, tag)
		}
	}
	own := policies.DefaultPrefix + policies.OwnHours + "="
	if slices.ContainsFunc(g.members, func(i policies.Instance) bool {
		return slices.ContainsFunc(i.Tags, func(t string) bool { return strings.HasPrefix(t, own) })
	}) {
		tags = append(tags, strconv.Quote(own+"*")) // own-hours decides about it
	}
	return tags
}

// freeName is the name of a policy that none has yet.
func (f *firstFile) freeName(stem string) string {
	if stem == "" {
		stem = "office"
	}
	name := stem + "-hours"
	for n := 2; name == "own-hours" || slices.ContainsFunc(f.proposals, func(p proposal) bool { return p.name == name }); n++ {
		name = fmt.Sprintf("%s-hours-%d", stem, n)
	}
	return name
}

var notName = regexp.MustCompile(`[^a-z0-9]+`)

func slug(s string) string {
	s = strings.Trim(notName.ReplaceAllString(strings.ToLower(s), "-"), "-")
	if len(s) > 40 {
		s = strings.Trim(s[:40], "-")
	}
	return s
}

var plainWord = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_./=-]*$`)

// yamlWord quotes what is not a plain word of YAML, in every reader of it.
func yamlWord(s string) string {
	if plainWord.MatchString(s) && !slices.Contains([]string{"true", "false", "yes", "no", "on", "off", "y", "n", "null"}, strings.ToLower(s)) {
		return s
	}
	return strconv.Quote(s)
}

// commentText is somebody else's text in a comment: it must not end the line.
func commentText(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) {
		return strconv.Quote(s)
	}
	return s
}

// mostValues of a family are listed.
const mostValues = 8

// String is the text of the file. Lines that begin with "#  " are a proposal:
// without the # they are part of policies.
func (f *firstFile) String() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# Nightshift's policy file, as nightshift init wrote it for %s. Nothing is touched:", count(f.total+f.nodes, "instance"))
	line("# the mode is observe, and the hours below are comments.")
	line("#")
	line("# nightshift plan                   what would be done now")
	line("# nightshift simulate --mode act    a week, as if this file acted")
	line("# nightshift run                    the daemon; under observe it only reports")
	line("version: 1")
	line("")
	f.writeRegions(line)
	line("timezone: %s", yamlWord(f.timezone))
	line("")
	line("# observe: plan and report, touch nothing. When the reports are as you want them: act.")
	line("mode: observe")
	line("")
	f.writeFound(line)
	line("")
	f.writeProtect(line)
	line("")
	line("# What may be done at all. resize must be added by name, since it cannot be undone.")
	line("allow: [start, stop, reboot, retag, firewall]")
	line("")
	line("# Which nightshift.* tags count: the owner of an instance may set hours of its own.")
	line("owners: { keys: [hours] }")
	line("")
	line("policies:")
	line("  # An instance with the tag nightshift.hours=Mon-Fri_08:00-19:00 runs in these hours.")
	line("  # %s", f.ownHoursText())
	line("  - name: own-hours")
	line("    select: { all: [\"nightshift.hours=*\"] }")
	line("    schedule: { from_tag: nightshift.hours }")
	line("")
	line("# Proposals. Take away the # (the first character) of the lines of one to make it a policy.")
	line("# Civo bills a stopped instance like a running one: hours are for quiet and security.")
	for _, p := range f.proposals {
		line("#")
		for l := range strings.SplitSeq(p.title, "\n") {
			line("# %s", l)
		}
		line("#  - name: %s", p.name)
		line("#    select: { %s }", p.selector)
		line("#    schedule: { %s }", p.schedule)
	}
	return b.String()
}

func (f *firstFile) ownHoursText() string {
	switch f.ownHours {
	case 0:
		return "None of yours has such a tag now."
	case 1:
		return "1 of yours has such a tag now."
	}
	return fmt.Sprintf("%d of yours have such a tag now.", f.ownHours)
}

func (f *firstFile) writeRegions(line func(string, ...any)) {
	var words []string
	for _, r := range f.regions {
		words = append(words, fmt.Sprintf("%s: %s", commentText(r), count(f.perRegion[r], "instance")))
	}
	text := strings.Join(words, ", ")
	if len(f.empty) > 0 {
		text += "; none in " + strings.Join(f.empty, ", ")
	}
	line("# %s.", text)
	quoted := make([]string, len(f.regions))
	for i, r := range f.regions {
		quoted[i] = yamlWord(r)
	}
	line("regions: [%s]", strings.Join(quoted, ", "))
}

func (f *firstFile) writeFound(line func(string, ...any)) {
	line("# What there is to select by (instances):")
	width := len("(no tags)")
	for _, fam := range f.families {
		width = max(width, min(24, utf8.RuneCountInString(commentText(fam.key))))
	}
	row := func(what string, groups []group) {
		var words []string
		for n, g := range groups {
			if n == mostValues {
				words = append(words, fmt.Sprintf("and %d more", len(groups)-n))
				break
			}
			words = append(words, fmt.Sprintf("%s (%d)", commentText(g.word), len(g.members)))
		}
		line("# %-*s  %s", width, what, strings.Join(words, ", "))
	}
	for _, fam := range f.families {
		if fam.key == "" {
			row("(tags)", fam.values)
			continue
		}
		row(commentText(fam.key), fam.values)
	}
	if len(f.hosts) > 0 {
		row("(hosts)", f.hosts)
	}
	if f.untagged > 0 {
		line("# %-*s  %d", width, "(no tags)", f.untagged)
	}
	if len(f.families) == 0 && len(f.hosts) == 0 && f.untagged == 0 {
		line("# nothing: there are no instances that may be touched")
	}
}

func (f *firstFile) writeProtect(line func(string, ...any)) {
	line("# Never touched, whoever asks: policy, alert or command.")
	if f.nodes > 0 {
		line("# Nor are nodes of Kubernetes clusters, without a word here: you have %d.", f.nodes)
	}
	if len(f.protect) == 0 {
		line("# Nothing looks like production. Tag what must stay as it is with protected.")
		line("protect: { any: [protected] }")
		return
	}
	quoted := make([]string, len(f.protect))
	for i, p := range f.protect {
		quoted[i] = yamlWord(p)
	}
	line("# These tags look as if it mattered: %s with one of them.", count(f.protected, "instance"))
	line("protect: { any: [%s] }", strings.Join(quoted, ", "))
}
