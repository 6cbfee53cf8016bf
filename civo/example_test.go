package civo_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"nightshift/civo"
	"nightshift/civo/civosim"
)

// simulated is a client of a Civo that runs in memory: no token, no socket.
func simulated() *civo.Client {
	sim := civosim.New(civosim.Options{Fleet: []civosim.Machine{{ID: "4a07ac84-70f8-41e5-8fe9-5cf9389be614", Hostname: "dev-1", Region: "LON1", Tags: []string{"env=dev"}}}})
	c, err := civo.New("any", civo.Options{HTTPClient: &http.Client{Transport: sim.Transport()}})
	if err != nil {
		panic(err)
	}
	return c
}

func ExampleClient_Instances() {
	for i, err := range simulated().Instances(context.Background(), "LON1", civo.ListOptions{Tags: []string{"env=dev"}}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(i.Hostname, i.Status, i.Tags, i.InitialPassword)
	}
	// Output: dev-1 ACTIVE [env=dev] redacted
}

func ExampleWaiter_Wait() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := simulated()
	const id = "4a07ac84-70f8-41e5-8fe9-5cf9389be614"
	if err := c.Stop(ctx, "LON1", id); err != nil { // requested, not done
		fmt.Println(err)
		return
	}
	i, err := civo.NewWaiter(c, time.Second).Wait(ctx, "LON1", id, func(i civo.Instance) bool { return i.Status == civo.StatusShutoff })
	fmt.Println(i.Status, err)
	// Output: SHUTOFF <nil>
}

func ExampleError() {
	err := simulated().Stop(context.Background(), "NYC1", "4a07ac84-70f8-41e5-8fe9-5cf9389be614")
	var e *civo.Error
	if errors.Is(err, civo.ErrNotFound) && errors.As(err, &e) {
		fmt.Println(e.Code, e.Region)
		fmt.Println(e.Hint)
	}
	// Output:
	// database_instance_find NYC1
	// check the id and the region: the right id in a wrong region is not found either
}
