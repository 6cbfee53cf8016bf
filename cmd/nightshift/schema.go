package main

import (
	"github.com/spf13/cobra"

	"nightshift/configs"
)

func newSchemaCommand() *cobra.Command {
	var included bool
	var output string
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the policy file, for editors, or all its options",
		Long: `schema prints a JSON Schema (draft 2020-12) of the policy file. With it an editor
completes keys, shows what they are, and marks what is wrong while it is written.
For editors with the YAML language server the first line of a policy file is
  # yaml-language-server: $schema=nightshift.schema.json

A schema sees the form of a file; nightshift check sees the rest, too.

-o markdown prints the page of all options of this version instead: what each is,
its default, an example, and whether a duration is in plan or in machine time.`,
		Example: `  nightshift schema > nightshift.schema.json
  nightshift schema --included > nightshift-included.schema.json
  nightshift schema -o markdown | less`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("output", output, "json", "markdown"); err != nil {
				return err
			}
			text := configs.Schema
			switch {
			case included && output == "markdown":
				return usagef("the page has both kinds of files: leave --included out")
			case included:
				text = configs.IncludedSchema
			case output == "markdown":
				text = configs.Reference
			}
			_, err := cmd.OutOrStdout().Write(text())
			return err
		},
	}
	cmd.Flags().BoolVar(&included, "included", false, "the schema of files that include: names")
	cmd.Flags().StringVarP(&output, "output", "o", "json", "json or markdown")
	return cmd
}
