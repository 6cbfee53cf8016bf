package worker

import (
	"context"
	"fmt"

	"nightshift/events"
)

// ledger is whether the ledger can be believed about what was planned before this
// process began: a message that cannot be read may be the one that says that a call
// was sent.
type ledger struct {
	before uint64        // runs up to this sequence were planned before; 0: nothing is asked
	read   chan struct{} // closed when all that is stored was read
	fault  string        // set before: what of the ledger cannot be read; empty: nothing
}

// wasRead says what came of reading all that is stored.
func (l *ledger) wasRead(damages []events.Damage, err error) {
	for _, d := range damages {
		if d.Stream == events.StreamEvt {
			l.fault = d.String()
		}
	}
	if err != nil && l.fault == "" {
		l.fault = "what is stored could not be read to the end: " + err.Error()
	}
	close(l.read)
}

// afterDamage ends what must not be sent twice where the ledger may have forgotten
// that it was sent; stop says so. States are looked at, and done again where they
// are not so, as ever.
func (r *runner) afterDamage(ctx context.Context, a *attempt) (n next, stop bool, err error) {
	if repeatable(a.item) || a.seq > r.ledger.before {
		return n, false, nil
	}
	select {
	case <-r.ledger.read:
	case <-ctx.Done():
		return n, true, context.Cause(ctx)
	}
	if r.ledger.fault == "" {
		return n, false, nil
	}
	detail := fmt.Sprintf("planned before this start, and of the ledger %s: nobody knows whether it was sent, so it is not sent; look at the instance, and ask again (nightshift retry) if it was not", r.ledger.fault)
	return ended(verdict{outcome: events.Expired, detail: detail, before: a.item.Status}), true, nil
}
