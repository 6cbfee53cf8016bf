package configs

import (
	"fmt"
	"strings"
)

//go:generate go test . -run TestThePageOfAllOptionsIsFresh -update

// Reference is the page of all options, docs/reference.md, in Markdown.
func Reference() []byte {
	var b strings.Builder
	b.WriteString(pageHead)
	places := make(map[*shape][]string)
	var order []*shape
	for _, top := range []*shape{&topShape, &includedShape} {
		top.walk(func(path string, in *shape) {
			if top == &includedShape && path != "" {
				if path == "scope" {
					places[in] = append(places[in], "`scope` of an included file")
				}
				return // the rest is as in the first file
			}
			if places[in] == nil {
				order = append(order, in)
			}
			if path != "" {
				places[in] = append(places[in], "`"+path+"`")
			}
			if places[in] == nil {
				places[in] = []string{}
			}
		})
	}
	for _, s := range order {
		s.section(&b, places[s])
	}
	return []byte(b.String())
}

// section writes a shape: what it is, then a table of its keys.
func (s *shape) section(b *strings.Builder, places []string) {
	fmt.Fprintf(b, "\n## %s\n\n", s.title())
	at := ""
	if len(places) > 0 {
		at = strings.Trim(places[0], "`")
		fmt.Fprintf(b, "At %s. ", strings.Join(places, ", "))
	}
	b.WriteString(s.about + "\n\n| path | type | default | example | what it is |\n|---|---|---|---|---|\n")
	for _, f := range s.fields {
		if f.refused != "" {
			continue
		}
		about := f.about
		if f.needed {
			about = "**Required.** " + about
		}
		words := f.is.words
		if f.clock != "" {
			words += ", in " + string(f.clock) + " time"
		}
		if len(f.with) > 0 {
			about += " Goes with " + strings.Join(f.with, " or ") + " only."
		}
		if f.variable {
			about += " Variable: `" + variable(s.variablePath(f.name)) + "`."
		}
		standard := ""
		if f.standard != "" {
			standard = "`" + f.standard + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | `%s` | %s |\n", join(at, f.name), cell(words), standard, cell(f.example), cell(about))
	}
}

func (s *shape) title() string {
	switch s {
	case &topShape:
		return "The file"
	case &includedShape:
		return "An included file"
	case &natsShape:
		return "NATS"
	case &natsTLSShape:
		return "NATS TLS"
	}
	words := strings.ReplaceAll(s.name, "-", " ")
	return strings.ToUpper(words[:1]) + words[1:]
}

// variablePath is the path of a setting. Those are in shapes that stand once, under
// their own name.
func (s *shape) variablePath(name string) string {
	if s == &topShape {
		return name
	}
	return join(strings.ReplaceAll(s.name, "-", "."), name)
}

// variable is the variable of the environment that sets what is at a path.
func variable(path string) string {
	return "NIGHTSHIFT_" + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// cell is a text in a table of Markdown.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// code is a list of words, each as code.
func code[T ~string](words []T) string {
	var b []string
	for _, w := range words {
		b = append(b, "`"+string(w)+"`")
	}
	return strings.Join(b, ", ")
}

const pageHead = "# All options of the policy file\n\n" + `This page is written by ` + "`go generate ./configs`" + ` from the table that the reader uses; a test fails when it is not up to date. What the words mean is in
[the policy file](policy-file.md). The same for the version that you run: ` + "`nightshift schema -o markdown`" + `.

## In an editor

` + "`nightshift schema`" + ` prints a JSON Schema (draft 2020-12). Editors with the YAML language server (VS Code with the YAML extension, Neovim, Helix, JetBrains)
then complete keys, show what they are, and mark what is wrong. Write it beside the policy file:

` + "```" + `
nightshift schema > nightshift.schema.json
nightshift schema --included > nightshift-included.schema.json
` + "```" + `

and name it in the first line of the policy file; files that ` + "`include`" + ` names have the other one:

` + "```yaml" + `
# yaml-language-server: $schema=nightshift.schema.json
version: 1
regions: [LON1]
policies:
  - name: dev-hours
    select: { all: [env=dev] }
    schedule: { running: ["Mon-Fri 08:00-19:00 Europe/London"] }
` + "```" + `

An editor sees the form of a file. ` + "`nightshift check`" + ` sees the rest: whether a name exists, whether a cron spec ever fires, whether two policies contradict each other.
Numbers and booleans stand without quotes.

## Forms

| form | is |
|---|---|
| duration | ` + "`30s`, `15m`, `1h30m`, `2d`" + `; a day has 24 hours |
| in plan time | the time of edges and windows: it may run fast in the demo and in simulations |
| in machine time | the time of the machine's clock: it never runs fast |
| glob | ` + "`*`, `?` and `[a-c]`" + ` match within a whole tag or value |
| window | ` + "`[days] HH:MM-HH:MM` or `Sun 22:00 - Fri 19:00`" + `; several are separated by ` + "`,` or `;`" + `, a zone may follow the last |
| variable | of the environment: it wins over the file, and a flag over both |
`
