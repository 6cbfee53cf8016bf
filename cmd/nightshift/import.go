package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"nightshift/configs/migrate"
	"nightshift/policies/schedule"
)

// importers are the tools whose files can be imported.
var importers = map[string]func([]byte, migrate.Options) (migrate.Result, error){
	"c7n":                    migrate.Custodian,
	"aws-instance-scheduler": migrate.InstanceScheduler,
	"kube-downscaler":        migrate.Downscaler,
}

func newImportCommand() *cobra.Command {
	var im importFlags
	cmd := &cobra.Command{
		Use:   "import c7n|aws-instance-scheduler|kube-downscaler FILE",
		Short: "Write a policy file from the file of another tool",
		Long: `import reads the file of another tool and writes a policy file in mode observe,
to standard output or to a new file (-o). Each policy says where it comes from;
a comment names everything that will behave differently. What has no counterpart
is written as a comment with the reason, and no policy selects an instance that
the other tool left alone. FILE may be - for standard input.

  c7n                     policies of Cloud Custodian: offhour and onhour, with
                          filters by tag. Instances keep their tags.
  aws-instance-scheduler  the configuration table of Instance Scheduler on AWS
                          (aws dynamodb scan), what scheduler-cli
                          describe-schedules and describe-periods print, one
                          after the other, or a CloudFormation template.
                          Instances keep their tags.
  kube-downscaler         Kubernetes manifests, Helm values or a command line.
                          Workloads are no instances: each policy selects a tag
                          downscaler=KIND/NAMESPACE/NAME that you give to
                          instances, or complete the selector.

Then: nightshift check the file, compare with nightshift plan, let it run in
mode observe for some days beside the other tool, and write mode: act when both
agree. The page docs/moving-over.md goes through it with each tool.

Exit codes: 0 the file is written; 1 it cannot be read, nothing in it can be
carried over (each reason is given), or the new file exists already; 64 wrong
usage.`,
		Example: `  nightshift import c7n policies.yml --region LON1 -o nightshift.yaml
  aws dynamodb scan --table-name ConfigTable | nightshift import aws-instance-scheduler - --tag Schedule
  kubectl get ns,deploy,sts -A -o yaml | nightshift import kube-downscaler - --timezone Europe/Berlin`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error { return im.run(cmd, args[0], args[1]) },
	}
	cmd.Flags().StringVarP(&im.output, "output", "o", "", "the file to write, which must not exist; without it standard output")
	cmd.Flags().StringVar(&im.tag, "tag", "", "key of the tag on instances: Schedule for aws-instance-scheduler, downscaler for kube-downscaler, where it is another")
	cmd.Flags().StringVar(&im.timezone, "timezone", "", "zone of what names none (default UTC)")
	cmd.Flags().StringSliceVar(&im.regions, "region", nil, "region of Civo to write into the file; may be given several times")
	return cmd
}

type importFlags struct {
	output, tag, timezone string
	regions               []string
}

func (im *importFlags) run(cmd *cobra.Command, tool, path string) error {
	read, ok := importers[tool]
	if !ok {
		return usagef("%q is none of the tools that can be imported: %s", tool, strings.Join(slices.Sorted(maps.Keys(importers)), ", "))
	}
	if tool == "c7n" && (im.tag != "" || im.timezone != "") {
		return usagef("--tag and --timezone do not go with c7n: its policies name both")
	}
	if im.timezone != "" {
		if _, err := schedule.LoadZone(im.timezone); err != nil {
			return usageError{error: err}
		}
	}
	data, name, err := readImported(cmd.InOrStdin(), path)
	if err != nil {
		return err
	}
	r, err := read(data, migrate.Options{File: name, Tag: im.tag, Zone: im.timezone, Regions: im.regions})
	if err != nil {
		return err
	}
	if im.output == "" {
		if _, err := cmd.OutOrStdout().Write(r.Text); err != nil {
			return fmt.Errorf("write the policy file: %w", err)
		}
	} else if err := writeNew(im.output, r.Text); err != nil {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s carried over, %d written as comments to be completed; read the comments, then compare with nightshift plan\n", policiesOf(r.Done), r.Left)
	return nil
}

func policiesOf(n int) string {
	if n == 1 {
		return "1 policy"
	}
	return fmt.Sprintf("%d policies", n)
}

func readImported(stdin io.Reader, path string) (data []byte, name string, err error) {
	if path == "-" {
		data, err = io.ReadAll(stdin)
		name = "standard input"
	} else {
		data, err = os.ReadFile(path)
		name = filepath.Base(path)
	}
	if err != nil {
		return nil, "", fmt.Errorf("read what is to be imported: %w", err)
	}
	return data, name, nil
}

// writeNew writes a file that does not exist yet: a policy file that somebody has
// edited is not to be lost.
func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s exists already, and import overwrites nothing: name another file with -o", path)
	}
	if err != nil {
		return fmt.Errorf("write the policy file: %w", err)
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write the policy file: %w", err)
	}
	return nil
}
