package worker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"nightshift/civo"
	"nightshift/events"
	"nightshift/policies"
)

// No operation of the API says whose token it is, but every instance in a list says
// its account. So the store belongs to the accounts of the first list that has
// instances, and a list with an instance of any other account is not believed:
// nothing is decided by it and nothing called after it, since every call needs a
// reading at most a minute old.

// actAccount is the action of notices about the account.
const actAccount = "account"

// accountGuard compares readings with the account that the store belongs to. It is
// safe for concurrent use.
type accountGuard struct {
	bus *events.Bus
	log *zap.Logger

	mu     sync.Mutex
	pin    events.Pin          // as last read; without ids: not known yet
	readAt time.Time           // machine time
	others map[string][]string // by region: accounts of its last list that are not pinned
}

// OtherAccountError says that a list is of another account than the store.
type OtherAccountError struct {
	Region string
	Is     []string // accounts of the instances in the list that are not pinned
	Pinned []string
}

func (e *OtherAccountError) Error() string {
	return fmt.Sprintf("the token is of another account: instances in %s belong to %s, the store to %s; nothing is done until the token is the right one again, or: nightshift account accept",
		e.Region, strings.Join(e.Is, ", "), strings.Join(e.Pinned, ", "))
}

// check compares a list with the account of the store, which is that of the first
// list. A list without instances says nothing.
func (g *accountGuard) check(ctx context.Context, region string, seen []string) error {
	if len(seen) == 0 {
		g.note(region, nil)
		return nil
	}
	pin, err := g.pinned(ctx, seen)
	if err != nil {
		return fmt.Errorf("see which account the store belongs to: %w", err)
	}
	others := beyond(seen, pin.IDs)
	if news := g.note(region, others); news {
		g.say(ctx, region, others, pin)
	}
	if len(others) == 0 {
		return nil
	}
	return &OtherAccountError{Region: region, Is: others, Pinned: pin.IDs}
}

// Accounts are those that instances belong to, sorted.
func Accounts(list []civo.Instance) (ids []string) {
	for _, i := range list {
		if i.AccountID != "" && !slices.Contains(ids, i.AccountID) {
			ids = append(ids, i.AccountID)
		}
	}
	slices.Sort(ids)
	return ids
}

// beyond are the ids that are not among the known.
func beyond(ids, known []string) (rest []string) {
	for _, id := range ids {
		if !slices.Contains(known, id) {
			rest = append(rest, id)
		}
	}
	return rest
}

// pinAge is how old what is known of the pin may be: another may be accepted by way
// of another replica.
const pinAge = 30 * time.Second

// pinned is the account of the store; where it has none, it is that of what was seen.
func (g *accountGuard) pinned(ctx context.Context, seen []string) (events.Pin, error) {
	g.mu.Lock()
	pin, fresh := g.pin, time.Since(g.readAt) < pinAge
	g.mu.Unlock()
	if fresh && len(beyond(seen, pin.IDs)) == 0 {
		return pin, nil
	}
	pin, ok, err := g.bus.Pinned(ctx)
	if err == nil && !ok {
		pin, err = g.bus.PinAccount(ctx, events.Pin{IDs: seen, Since: time.Now().UTC()})
	}
	if err == nil {
		g.take(pin)
	}
	return pin, err
}

func (g *accountGuard) take(pin events.Pin) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pin, g.readAt = pin, time.Now()
}

// note remembers what a region's last list had of other accounts, and reports
// whether that is news.
func (g *accountGuard) note(region string, others []string) (news bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	news = len(others) > 0 && !slices.Equal(g.others[region], others)
	if len(others) == 0 {
		delete(g.others, region)
		return false
	}
	g.others[region] = others
	return news
}

// seen are the accounts of the last lists that the store does not belong to.
func (g *accountGuard) seen() (pin events.Pin, others []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, ids := range g.others {
		others = append(others, beyond(ids, others)...)
	}
	slices.Sort(others)
	return g.pin, others
}

// say tells of another account, once for the same one over all replicas and restarts.
func (g *accountGuard) say(ctx context.Context, region string, others []string, pin events.Pin) {
	fault := &OtherAccountError{Region: region, Is: others, Pinned: pin.IDs}
	rec := events.Record{
		ActionID: policies.ActionID(actAccount, 0, strings.Join(others, " "), policies.Kind(pin.Since.Format(time.RFC3339Nano))), Action: actAccount,
		Reason: "other account", Detail: fault.Error(), Trigger: actAccount, Region: events.None, Instance: events.None,
	}
	if err := g.bus.PublishNoticed(context.WithoutCancel(ctx), rec); err != nil {
		g.log.Warn("event not stored", zap.Error(err))
	}
	g.log.Error("the token is of another account: every action is put off", zap.Strings("seen", others), zap.Strings("pinned", pin.IDs))
}

// AccountRequest asks which account the store belongs to, or with Accept says that it
// belongs to that of the token from now on: nightshift.v1.ctl.account and
// .account-accept.<who>.
type AccountRequest struct {
	Account string `json:"account,omitempty"` // of accept: only when it is this one; empty: whichever the token has
	Who     string `json:"who,omitempty"`     // as the sender says
}

// AccountAnswer is the account of the store and that of the token.
type AccountAnswer struct {
	Pinned []string  `json:"pinned"` // that the store belongs to; empty: none yet
	Since  time.Time `json:"since,omitzero"`
	Who    string    `json:"who,omitempty"`   // accepted it
	Claim  string    `json:"claim,omitempty"` // as they said
	Seen   []string  `json:"seen"`            // of the instances that the token lists now
	Unread []string  `json:"unread,omitempty"`
}

// accountNow lists all regions, whatever account they are of.
func (w *Worker) accountNow(ctx context.Context) (answer AccountAnswer, err error) {
	pin, _, err := w.bus.Pinned(ctx)
	if err != nil {
		return answer, err
	}
	answer = AccountAnswer{Pinned: append([]string{}, pin.IDs...), Since: pin.Since, Who: pin.Who, Claim: pin.Claim, Seen: []string{}}
	for _, region := range w.set().Regions {
		list, err := w.api.ListInstances(ctx, region)
		w.inv.account.saw(ctx, err)
		if err != nil {
			answer.Unread = append(answer.Unread, fmt.Sprintf("%s: %v", region, err))
			continue
		}
		answer.Seen = append(answer.Seen, beyond(Accounts(list), answer.Seen)...)
	}
	slices.Sort(answer.Seen)
	return answer, nil
}

// acceptAccount lets the store belong to the account of the token from now on.
func (w *Worker) acceptAccount(ctx context.Context, who string, req AccountRequest) (answer AccountAnswer, err error) {
	if answer, err = w.accountNow(ctx); err != nil {
		return answer, err
	}
	switch {
	case len(answer.Unread) > 0:
		return answer, events.Refuse(409, "not every region can be listed, so it is not known whose instances there are: %s", strings.Join(answer.Unread, "; "))
	case len(answer.Seen) == 0:
		return answer, events.Refuse(409, "the token lists no instance, so nothing says whose it is")
	case req.Account != "" && !slices.Equal(answer.Seen, []string{req.Account}):
		return answer, events.Refuse(409, "the token is of account %s, not of %s", strings.Join(answer.Seen, ", "), req.Account)
	case slices.Equal(answer.Seen, answer.Pinned):
		return answer, nil
	}
	was := strings.Join(answer.Pinned, ", ")
	pin := events.Pin{IDs: answer.Seen, Since: time.Now().UTC(), Who: who, Claim: clip(req.Who)}
	if err := w.bus.RepinAccount(ctx, pin); err != nil {
		return answer, err
	}
	w.inv.owner.take(pin)
	answer.Pinned, answer.Since, answer.Who, answer.Claim = pin.IDs, pin.Since, pin.Who, pin.Claim
	rec := events.Record{
		ActionID: policies.ActionID(actAccount, 1, strings.Join(pin.IDs, " "), policies.Kind(pin.Since.Format(time.RFC3339Nano))), Action: actAccount, Reason: "accepted", Who: who, Claim: clip(req.Who),
		Detail:  fmt.Sprintf("the store belongs to account %s from now on, it belonged to %s", strings.Join(pin.IDs, ", "), was),
		Trigger: actAccount, Region: events.None, Instance: events.None,
	}
	w.o.Log.Warn("another account is accepted", zap.Strings("account", pin.IDs), zap.String("who", who), zap.String("claim", clip(req.Who)))
	return answer, w.bus.PublishNoticed(ctx, rec)
}
