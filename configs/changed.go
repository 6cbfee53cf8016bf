package configs

import (
	"os"
	"path/filepath"
	"slices"
	"time"
)

// looks is what the files of a configuration looked like when they were read.
type looks struct {
	files []look
	globs []glob
}

type look struct {
	name string
	at   time.Time // of the last change; zero: there was none
	size int64
}

type glob struct {
	pattern string
	names   []string
}

func lookAt(name string) look {
	info, err := os.Stat(name) // through links: a cluster swaps a link to new files
	if err != nil {
		return look{name: name}
	}
	return look{name, info.ModTime(), info.Size()}
}

// read looks before it reads, so that a change in between is seen later.
func (l *looks) read(name string) ([]byte, error) {
	l.files = append(l.files, lookAt(name))
	return os.ReadFile(name)
}

func (l *looks) match(pattern string) ([]string, error) {
	names, err := filepath.Glob(pattern)
	l.globs = append(l.globs, glob{pattern, names})
	return names, err
}

// Changed reports whether one of the files looks otherwise than when it was read,
// or an include matches other files now. It reads none of them.
func (c *Config) Changed() bool {
	return slices.ContainsFunc(c.looks.files, func(l look) bool { return !lookAt(l.name).is(l) }) ||
		slices.ContainsFunc(c.looks.globs, func(g glob) bool {
			names, err := filepath.Glob(g.pattern)
			return err != nil || !slices.Equal(names, g.names)
		})
}

func (l look) is(o look) bool { return l.name == o.name && l.size == o.size && l.at.Equal(o.at) }

// SettingsDiffer reports whether two configurations differ in what takes effect at
// the start only: everything but the policies.
func SettingsDiffer(a, b *Config) bool {
	return a.NATS != b.NATS || a.Civo != b.Civo || a.DataDir != b.DataDir || a.Workers != b.Workers || a.Verify != b.Verify || a.HTTP.Listen != b.HTTP.Listen
}
