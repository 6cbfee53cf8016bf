package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"nightshift/civo/civosim"
)

func newSimCommand() *cobra.Command {
	var listen, token, fleetFile string
	var delay time.Duration
	var seed uint64
	var faults []string
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Run the simulator of the Civo API as a server",
		Long: `sim answers as the Civo API does, from memory: instances with their states, sizes,
networks, firewalls, disk images and quota. Point nightshift, curl or any other
client at it; nothing is real and nothing is billed.

It ends with Ctrl-C. Exit codes: 0; 1 the address is taken or the fleet has a fault;
64 wrong usage.`,
		Example: `  nightshift sim --listen 127.0.0.1:8080 --token 12345
  curl -H 'Authorization: bearer 12345' 'http://127.0.0.1:8080/v2/instances?region=LON1'
  CIVO_TOKEN=12345 nightshift plan --api-url http://127.0.0.1:8080`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o := civosim.Options{Token: token, Delay: delay, Seed: seed}
			if fleetFile != "" {
				data, err := os.ReadFile(fleetFile)
				if err != nil {
					return fmt.Errorf("read the fleet: %w", err)
				}
				if o.Fleet, err = civosim.ParseFleet(data); err != nil {
					return err
				}
			}
			ln, err := net.Listen("tcp", listen)
			if err != nil {
				return fmt.Errorf("listen on %s: %w", listen, err)
			}
			sim := civosim.New(o)
			for _, text := range faults {
				fault, err := civosim.ParseFault(text)
				if err != nil {
					return usageError{error: err}
				}
				sim.Inject(fault)
			}
			server := &http.Server{Handler: sim, ReadHeaderTimeout: 10 * time.Second}
			stop := context.AfterFunc(cmd.Context(), func() { _ = server.Close() })
			defer stop()
			fmt.Fprintf(cmd.OutOrStdout(), "simulating Civo on http://%s with %s\n", ln.Addr(), count(len(sim.Instances()), "instance"))
			if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8080", "address to answer on; port 0 is a free one")
	cmd.Flags().StringVar(&token, "token", "", "the token that is accepted (default: any)")
	cmd.Flags().StringVar(&fleetFile, "fleet", "", "YAML file with the instances at the start (see docs/simulator.md)")
	cmd.Flags().DurationVar(&delay, "delay", time.Second, "how long each passage from one state to the next takes")
	cmd.Flags().StringArrayVar(&faults, "fault", nil, `something to go wrong, such as "stop:cut-after" or "list:rate-limited,count=3,retry_after=2s"; may be repeated`)
	cmd.Flags().Uint64Var(&seed, "seed", 1, "of ids and addresses")
	return cmd
}
