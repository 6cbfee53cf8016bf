package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
)

// maxParts bounds the messages of one plan: with the plan itself they are one
// atomic batch, of which the server takes 1,000 messages.
const maxParts = 999

// errUnreadable says of a stored plan that it will never be read.
var errUnreadable = errors.New("unreadable")

// split moves the items of a plan that is larger than half of what NATS carries in
// a message into further messages, each at most as large. The plan then says how
// many there are.
func (b *Bus) split(r *Run) (parts []*nats.Msg, err error) {
	most := max(MaxBody, int(b.nc.MaxPayload()/2)) // 0 before the first connection
	var items []json.RawMessage
	size := 0
	part := func() error {
		body, err := json.Marshal(items)
		if err != nil {
			return err
		}
		parts = append(parts, &nats.Msg{Subject: partSubject(r.Region, r.Trigger, len(parts)+1), Data: body})
		items, size = nil, 0
		return nil
	}
	for _, it := range r.Items {
		body, err := json.Marshal(it)
		if err != nil {
			return nil, err
		}
		if size > 0 && size+len(body) > most {
			if err := part(); err != nil {
				return nil, err
			}
		}
		items, size = append(items, body), size+len(body)+1
	}
	if len(parts) == 0 {
		return nil, nil
	}
	if err := part(); err != nil {
		return nil, err
	}
	if len(parts) > maxParts {
		return nil, fmt.Errorf("the plan of trigger %s in %s has %d items, which are more than can be stored at once", r.Trigger, r.Region, len(r.Items))
	}
	r.Items, r.Parts = nil, len(parts)
	return parts, nil
}

// join puts the items of a plan back together. An error that is not errUnreadable
// may be gone the next time.
func (b *Bus) join(ctx context.Context, r *Run) error {
	for n := 1; n <= r.Parts; n++ {
		subject := partSubject(r.Region, r.Trigger, n)
		var items []Item
		found, err := b.loadStored(ctx, StreamRun, subject, func(data []byte) (err error) {
			items, err = parseItems(data)
			return err
		})
		if err != nil {
			return err
		}
		if !found {
			return fmt.Errorf("%w: part %d of %d of the plan is not there, or cannot be read (%s)", errUnreadable, n, r.Parts, subject)
		}
		r.Items = append(r.Items, items...)
	}
	r.Parts = 0
	return nil
}

// parseItems reads a part of a plan, which anyone who may publish could have written.
func parseItems(data []byte) (items []Item, err error) {
	if err := json.Unmarshal(data, &items); err != nil {
		return nil, err
	}
	return items, checkItems(items)
}
