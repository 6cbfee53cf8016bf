package main

import (
	"io"

	"github.com/spf13/cobra"

	"nightshift/configs"
	"nightshift/events"
)

func newSchemaCommand() *cobra.Command {
	var included, allEvents bool
	var output string
	cmd := &cobra.Command{
		Use:   "schema [event|record|command|signal|dead-letter]",
		Short: "Print the JSON Schema of the policy file, or of messages",
		Long: `schema prints a JSON Schema (draft 2020-12) of the policy file. With it an editor
completes keys, shows what they are, and marks what is wrong while it is written.
For editors with the YAML language server the first line of a policy file is
  # yaml-language-server: $schema=nightshift.schema.json

A schema sees the form of a file; nightshift check sees the rest, too.

-o markdown prints the page of all options of this version instead: what each is,
its default, an example, and whether a duration is in plan or in machine time.

With an argument it prints the JSON Schema of that form of message on NATS: event is
the CloudEvent of nightshift.v1.evt.>, record its data. --events prints all of them
in one document, under $defs.

Exit codes: 0; 64 wrong usage.`,
		Example: `  nightshift schema > nightshift.schema.json
  nightshift schema --included > nightshift-included.schema.json
  nightshift schema -o markdown | less
  nightshift schema --events > nightshift-events.schema.json`,
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: events.SchemaNames(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("output", output, "json", "markdown"); err != nil {
				return err
			}
			if allEvents || len(args) > 0 {
				return printEventSchema(cmd.OutOrStdout(), args)
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
	cmd.Flags().BoolVar(&allEvents, "events", false, "the schemas of all messages on NATS")
	cmd.Flags().StringVarP(&output, "output", "o", "json", "json or markdown")
	return cmd
}

// printEventSchema prints the schema of one form of message, or of all.
func printEventSchema(w io.Writer, names []string) error {
	text, err := events.Schemas()
	if len(names) > 0 {
		text, err = events.Schema(names[0])
	}
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}
