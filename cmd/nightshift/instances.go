package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"nightshift/civo"
)

func newInstancesCommand() *cobra.Command {
	var apiURL, region string
	cmd := &cobra.Command{
		Use:   "instances",
		Short: "List, get, create and delete instances, by the API itself",
		Long: `instances asks the Civo API without the daemon. To stop, start, reboot, resize,
retag or firewall an instance use those commands: they go through the daemon.

A token is needed: CIVO_TOKEN, or the official CLI's ~/.civo.json. Without --region
and CIVO_REGION all regions are asked.

Exit codes: 0; 1 the API said no, or none or several instances have the name; 64
wrong usage.`,
		Example: `  nightshift instances list
  nightshift instances list -o json > fleet.json    # for plan --inventory
  nightshift instances get web-1`,
	}
	cmd.PersistentFlags().StringVar(&apiURL, "api-url", "", "address of the API (default CIVO_API_URL, else https://api.civo.com)")
	cmd.PersistentFlags().StringVar(&region, "region", "", "region (default CIVO_REGION, else all)")
	cmd.AddCommand(newInstancesList(&apiURL, &region), newInstancesGet(&apiURL, &region), newInstancesCreate(&apiURL, &region), newInstancesDelete(&apiURL, &region))
	return cmd
}

func newInstancesList(apiURL, region *string) *cobra.Command {
	var tags []string
	var output string
	cmd := &cobra.Command{
		Use: "list", Short: "List instances", Args: cobra.NoArgs,
		Long:    "list shows the instances of each region, as the API lists them now.\n\nExit codes: 0; 1 a region could not be read (the others are shown); 64 wrong usage.",
		Example: "  nightshift instances list --region LON1 --tags env=dev\n  nightshift instances list -o json > fleet.json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("output", output, "table", "json"); err != nil {
				return err
			}
			api, regions, err := apiFromEnvironment(cmd.Context(), *apiURL, *region)
			if err != nil {
				return err
			}
			all := []civo.Instance{}
			faults := make(map[string]error)
			for _, r := range regions {
				for i, err := range api.Instances(cmd.Context(), r, civo.ListOptions{Tags: tags}) {
					if err != nil {
						faults[r] = err
						break
					}
					i.Region = r
					all = append(all, i)
				}
			}
			if err := printInstances(cmd.OutOrStdout(), all, output); err != nil {
				return err
			}
			for _, r := range slices.Sorted(maps.Keys(faults)) {
				fmt.Fprintf(cmd.ErrOrStderr(), "nightshift: error: region %s is not in the list: %v\n", r, faults[r])
			}
			if len(faults) > 0 {
				return errSilent
			}
			return nil
		},
	}
	cmd.Flags().StringSliceVar(&tags, "tags", nil, "only those with all of these tags, separated by commas")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

func printInstances(w io.Writer, all []civo.Instance, form string) error {
	if form == "json" {
		return printJSON(w, all)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "ID\tHOSTNAME\tREGION\tSIZE\tSTATUS\tPUBLIC IP\tTAGS")
	for _, i := range all {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", i.ID, i.Hostname, i.Region, i.Size, i.Status, i.PublicIP, strings.Join(i.Tags, " "))
	}
	return tw.Flush()
}

func newInstancesGet(apiURL, region *string) *cobra.Command {
	var secrets bool
	cmd := &cobra.Command{
		Use: "get NAME", Short: "Show one instance as JSON", Args: cobra.ExactArgs(1),
		Long:    "get shows one instance, by id or host name. Its initial password and statistics token are redacted unless --show-secrets is given.\n\nExit codes: 0; 1 none or several instances have the name, or the API said no; 64 wrong usage.",
		Example: "  nightshift instances get web-1",
		RunE: func(cmd *cobra.Command, args []string) error {
			api, regions, err := apiFromEnvironment(cmd.Context(), *apiURL, *region)
			if err != nil {
				return err
			}
			found, err := findDirectly(cmd.Context(), api, regions, args[0])
			if err != nil {
				return err
			}
			i, err := api.Instance(cmd.Context(), found.Region, found.ID)
			if err != nil {
				return err
			}
			if !secrets {
				return printJSON(cmd.OutOrStdout(), i)
			}
			return printJSON(cmd.OutOrStdout(), struct {
				civo.Instance
				InitialPassword string `json:"initial_password"`
				CivostatsdToken string `json:"civostatsd_token"`
			}{i, i.InitialPassword.Reveal(), i.CivostatsdToken.Reveal()})
		},
	}
	cmd.Flags().BoolVar(&secrets, "show-secrets", false, "show the initial password and the statistics token, too")
	return cmd
}

func newInstancesCreate(apiURL, region *string) *cobra.Command {
	var o civo.CreateOptions
	var image, network, scriptFile string
	cmd := &cobra.Command{
		Use: "create HOSTNAME", Short: "Create an instance", Args: cobra.ExactArgs(1),
		Long: `create makes an instance. Size and image are given by name, the network by id or
label (default: the region's default network). It is BUILDING when create ends.

When the answer is lost the instance may exist all the same: list before you try again.

Exit codes: 0 it is being built; 1 the API said no; 64 wrong usage.`,
		Example: "  nightshift instances create server1.example.com --region LON1 --size g3.small --image ubuntu-jammy --tags env=dev",
		RunE: func(cmd *cobra.Command, args []string) error {
			api, regions, err := apiFromEnvironment(cmd.Context(), *apiURL, *region)
			if err != nil {
				return err
			}
			if len(regions) != 1 {
				return usagef("create needs --region or CIVO_REGION")
			}
			o.Hostname = args[0]
			if scriptFile != "" {
				script, err := os.ReadFile(scriptFile)
				if err != nil {
					return fmt.Errorf("read the script: %w", err)
				}
				o.Script = string(script)
			}
			if err := lookUp(cmd, api, regions[0], image, network, &o); err != nil {
				return err
			}
			i, err := api.Create(cmd.Context(), regions[0], o)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s  %s  %s  %s\n", i.ID, i.Hostname, regions[0], i.Status)
			return err
		},
	}
	cmd.Flags().StringVar(&o.Size, "size", "g3.small", "name of the size")
	cmd.Flags().StringVar(&image, "image", "ubuntu-jammy", "name or id of the disk image")
	cmd.Flags().StringVar(&network, "network", "", "label or id of the network (default: the region's default)")
	cmd.Flags().StringVar(&o.FirewallID, "firewall", "", "id of the firewall (default: the network's, open to all)")
	cmd.Flags().StringVar(&o.SSHKeyID, "ssh-key", "", "id of the SSH key (default: a password is made)")
	cmd.Flags().StringSliceVar(&o.Tags, "tags", nil, "tags, separated by commas")
	cmd.Flags().StringVar(&scriptFile, "script-file", "", "script that runs at the first start")
	cmd.Flags().StringVar(&o.InitialUser, "user", "", "first user (default: the image's)")
	cmd.Flags().StringVar(&o.PublicIP, "public-ip", "", "create or none (default create)")
	return cmd
}

// lookUp finds the ids behind the names of image and network.
func lookUp(cmd *cobra.Command, api *civo.Client, region, image, network string, o *civo.CreateOptions) error {
	images, err := api.DiskImages(cmd.Context(), region)
	if err != nil {
		return err
	}
	var names []string
	for _, i := range images {
		names = append(names, i.Name)
		if i.Name == image || i.ID == image {
			o.TemplateID = i.ID
		}
	}
	if o.TemplateID == "" {
		return fmt.Errorf("region %s has no disk image %q; there are %s", region, image, strings.Join(names, ", "))
	}
	networks, err := api.Networks(cmd.Context(), region)
	if err != nil {
		return err
	}
	for _, n := range networks {
		if n.ID == network || n.Label == network || network == "" && n.Default {
			o.NetworkID = n.ID
		}
	}
	if o.NetworkID == "" {
		return fmt.Errorf("region %s has no network %q", region, network)
	}
	return nil
}

func newInstancesDelete(apiURL, region *string) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "delete NAME", Short: "Delete an instance and its disk, for ever", Args: cobra.ExactArgs(1),
		Long:    "delete removes an instance at once; nothing brings it back. It asks for --yes, and for a name or id that exactly one instance has.\n\nExit codes: 0 deleted; 1 none or several instances have the name, or the API said no; 64 wrong usage.",
		Example: "  nightshift instances delete dev-1 --yes",
		RunE: func(cmd *cobra.Command, args []string) error {
			api, regions, err := apiFromEnvironment(cmd.Context(), *apiURL, *region)
			if err != nil {
				return err
			}
			i, err := findDirectly(cmd.Context(), api, regions, args[0])
			if err != nil {
				return err
			}
			if !yes {
				return usagef("this would delete %s (%s in %s) and its disk for ever: say --yes", i.Hostname, i.ID, i.Region)
			}
			if err := api.Delete(cmd.Context(), i.Region, i.ID); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "deleted %s (%s in %s)\n", i.Hostname, i.ID, i.Region)
			return err
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "yes, delete it")
	return cmd
}
