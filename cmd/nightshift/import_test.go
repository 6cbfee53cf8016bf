package main

import (
	"os"
	"os/exec"
	"testing"
)

// TestImportedFilesOfThePage: the policy files that docs/moving-over.md plans with
// are those that import writes.
func TestImportedFilesOfThePage(t *testing.T) {
	for tool, files := range map[string][2]string{
		"c7n":                    {"custodian.yml", "from-custodian.yaml"},
		"aws-instance-scheduler": {"scheduler.json", "from-scheduler.yaml"},
		"kube-downscaler":        {"deployments.yaml", "from-downscaler.yaml"},
	} {
		cmd := exec.Command(binary(t, "nightshift"), "import", tool, files[0], "--region", "LON1")
		cmd.Dir = "../../docs/moving-over"
		got, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		path := cmd.Dir + "/" + files[1]
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("%s is not what import %s writes (go test -update writes it anew); got:\n%s", path, tool, got)
		}
	}
}
