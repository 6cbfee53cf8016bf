package main

import (
	"strings"
	"testing"

	"nightshift/worker"
)

func TestStatusSaysFirstOfAllWhichReplicasDiffer(t *testing.T) {
	for _, tt := range []struct {
		name     string
		replicas []worker.Status
		want     string
	}{
		{"one", []worker.Status{{Name: "a", Revision: "1", Version: "2.0.0"}}, ""},
		{"alike", []worker.Status{{Name: "a", Revision: "1", Version: "2.0.0"}, {Name: "b", Revision: "1", Version: "2.0.0"}}, ""},
		{"another file", []worker.Status{{Name: "a", Revision: "1"}, {Name: "b", Revision: "2"}, {Name: "c", Revision: "1"}},
			"THE REPLICAS HAVE DIFFERENT POLICY FILES:\n  revision 1: a, c\n  revision 2: b\n"},
		{"another version", []worker.Status{{Name: "a", Version: "2.0.0"}, {Name: "b", Version: "2.1.0"}},
			"THE REPLICAS HAVE DIFFERENT VERSIONS:\n  version 2.0.0: a\n  version 2.1.0: b\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			printDifferent(&out, tt.replicas)
			if out.String() != tt.want {
				t.Errorf("got %q, want %q", out.String(), tt.want)
			}
		})
	}
}
