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
// reading at most a minute old. A list without instances has no account. Where
// instances were seen before it is believed only when another region shows that the
// token is still the right one: of another account, or of none that has anything,
// it would say that all are gone.

// actAccount is the action of notices about the account.
const actAccount = "account"

// accountGuard compares readings with the account that the store belongs to. It is
// safe for concurrent use.
type accountGuard struct {
	bus     *events.Bus
	log     *zap.Logger
	regions func() []string                                 // of the policy file, upper case
	list    func(context.Context, string) (*Reading, error) // asks the API

	mu     sync.Mutex
	pin    events.Pin          // as last read; without ids: not known yet
	readAt time.Time           // machine time
	others map[string][]string // by region: accounts of its last list that are not pinned
	lists  map[string]listed   // by region
	empty  bool                // the last lists have no instance, though there were some
	said   string              // id of the last notice about that
}

// listed is what the guard knows of the last list of a region.
type listed struct {
	began    time.Time
	own      bool // it had instances of the account
	believed bool // it had none, and that is so
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

// EmptyAccountError says that the token lists no instance anywhere, and that there
// were some.
type EmptyAccountError struct {
	Regions []string
	Pinned  []string
}

func (e *EmptyAccountError) Error() string {
	return fmt.Sprintf("the token lists no instance in %s, and the store has seen those of account %s: perhaps it is another account's; nothing is done until it lists one again, or, when they are all gone indeed: nightshift account accept",
		strings.Join(e.Regions, ", "), strings.Join(e.Pinned, ", "))
}

// check compares a list with the account of the store, which is that of the first
// list with instances.
func (g *accountGuard) check(ctx context.Context, r *Reading) error {
	if len(r.Instances) == 0 {
		g.note(r.Region, nil)
		return g.checkEmpty(ctx, r)
	}
	if len(r.accounts) == 0 { // the API shows none
		g.saw(r.Region, listed{began: r.Began})
		return nil
	}
	pin, err := g.pinned(ctx, r.accounts)
	if err == nil && pin.Empty && len(beyond(r.accounts, pin.IDs)) == 0 {
		pin.Empty = false
		if err = g.bus.RepinAccount(ctx, pin); err == nil {
			g.take(pin)
		}
	}
	if err != nil {
		return fmt.Errorf("see which account the store belongs to: %w", err)
	}
	others := beyond(r.accounts, pin.IDs)
	g.saw(r.Region, listed{began: r.Began, own: len(others) == 0})
	if news := g.note(r.Region, others); news {
		g.say(ctx, r.Region, others, pin)
	}
	if len(others) == 0 {
		return nil
	}
	return &OtherAccountError{Region: r.Region, Is: others, Pinned: pin.IDs}
}

// proofAge is how old the list of another region may be that says whether the token
// is still the right one.
const proofAge = time.Minute

// checkEmpty believes a list without instances where nothing was ever seen, where the
// last one had none either, and where another region has instances of the account.
func (g *accountGuard) checkEmpty(ctx context.Context, r *Reading) error {
	if g.last(r.Region).believed {
		g.saw(r.Region, listed{began: r.Began, believed: true})
		return nil
	}
	pin, ok, err := g.bus.Pinned(ctx)
	if err != nil {
		return fmt.Errorf("see which account the store belongs to: %w", err)
	}
	if ok {
		g.take(pin)
	}
	if !ok || pin.Empty {
		g.saw(r.Region, listed{began: r.Began, believed: true})
		g.setEmpty(false)
		return nil
	}
	g.saw(r.Region, listed{began: r.Began})
	regions := g.regions()
	for _, region := range regions {
		if region == r.Region {
			continue
		}
		seen := g.last(region)
		if time.Since(seen.began) > proofAge {
			other, err := g.list(ctx, region)
			if err != nil {
				return fmt.Errorf("%s lists no instance any more, and whether the token is still the right one cannot be told: %w", r.Region, err)
			}
			seen = listed{began: other.Began, own: len(other.accounts) > 0 && len(beyond(other.accounts, pin.IDs)) == 0, believed: seen.believed}
			g.saw(region, seen)
		}
		if seen.own {
			g.saw(r.Region, listed{began: r.Began, believed: true})
			return nil
		}
	}
	fault := &EmptyAccountError{Regions: regions, Pinned: pin.IDs}
	g.setEmpty(true)
	g.sayEmpty(ctx, fault, pin)
	return fault
}

func (g *accountGuard) last(region string) listed {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lists[region]
}

// saw takes up what the last list of a region was.
func (g *accountGuard) saw(region string, l listed) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.lists == nil {
		g.lists = make(map[string]listed)
	}
	g.lists[region] = l
	if l.own {
		g.empty = false
	}
}

func (g *accountGuard) setEmpty(is bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.empty = is
}

// isEmpty reports whether nothing is done because no instance is listed any more.
func (g *accountGuard) isEmpty() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.empty
}

// sayEmpty tells of it, once a day over all replicas and restarts.
func (g *accountGuard) sayEmpty(ctx context.Context, fault *EmptyAccountError, pin events.Pin) {
	id := policies.ActionID(actAccount, 2, pin.Since.Format(time.RFC3339Nano), policies.Kind(time.Now().UTC().Format(time.DateOnly)))
	g.mu.Lock()
	said := g.said == id
	g.mu.Unlock()
	if said {
		return
	}
	g.log.Error("the token lists no instance any more: every action is put off", zap.Strings("pinned", pin.IDs), zap.Strings("regions", fault.Regions))
	rec := events.Record{ActionID: id, Action: actAccount, Reason: "no instance", Detail: fault.Error(), Trigger: actAccount, Region: events.None, Instance: events.None}
	if err := g.bus.PublishNoticed(context.WithoutCancel(ctx), rec); err != nil {
		g.log.Warn("event not stored, will be tried again", zap.Error(err))
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.said = id
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
	// Accepted says that the question, which was to accept it, has changed something.
	Accepted bool `json:"accepted,omitempty"`
	// Empty says that the token lists no instance, and that this was accepted.
	Empty bool `json:"empty,omitempty"`
}

// accountNow lists all regions, whatever account they are of.
func (w *Worker) accountNow(ctx context.Context) (answer AccountAnswer, err error) {
	pin, _, err := w.bus.Pinned(ctx)
	if err != nil {
		return answer, err
	}
	answer = AccountAnswer{Pinned: append([]string{}, pin.IDs...), Since: pin.Since, Who: pin.Who, Claim: pin.Claim, Seen: []string{}, Empty: pin.Empty}
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
	case len(answer.Seen) == 0 && (len(answer.Pinned) == 0 || req.Account != ""):
		return answer, events.Refuse(409, "the token lists no instance, so nothing says whose it is")
	case len(answer.Seen) == 0:
		return w.acceptEmpty(ctx, who, req, answer)
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
	answer.Accepted = true
	answer.Pinned, answer.Since, answer.Who, answer.Claim = pin.IDs, pin.Since, pin.Who, pin.Claim
	rec := events.Record{
		ActionID: policies.ActionID(actAccount, 1, strings.Join(pin.IDs, " "), policies.Kind(pin.Since.Format(time.RFC3339Nano))), Action: actAccount, Reason: "accepted", Who: who, Claim: clip(req.Who),
		Detail:  fmt.Sprintf("the store belongs to account %s from now on, it belonged to %s", strings.Join(pin.IDs, ", "), was),
		Trigger: actAccount, Region: events.None, Instance: events.None,
	}
	w.o.Log.Warn("another account is accepted", zap.Strings("account", pin.IDs), zap.String("who", who), zap.String("claim", clip(req.Who)))
	return answer, w.bus.PublishNoticed(ctx, rec)
}

// acceptEmpty believes that all instances of the account are gone.
func (w *Worker) acceptEmpty(ctx context.Context, who string, req AccountRequest, answer AccountAnswer) (AccountAnswer, error) {
	if answer.Empty {
		return answer, nil
	}
	pin := events.Pin{IDs: answer.Pinned, Since: time.Now().UTC(), Who: who, Claim: clip(req.Who), Empty: true}
	if err := w.bus.RepinAccount(ctx, pin); err != nil {
		return answer, err
	}
	w.inv.owner.take(pin)
	answer.Since, answer.Who, answer.Claim, answer.Empty, answer.Accepted = pin.Since, pin.Who, pin.Claim, true, true
	rec := events.Record{
		ActionID: policies.ActionID(actAccount, 3, strings.Join(pin.IDs, " "), policies.Kind(pin.Since.Format(time.RFC3339Nano))), Action: actAccount, Reason: "accepted", Who: who, Claim: clip(req.Who),
		Detail:  fmt.Sprintf("account %s has no instance any more, and that is so", strings.Join(pin.IDs, ", ")),
		Trigger: actAccount, Region: events.None, Instance: events.None,
	}
	w.o.Log.Warn("it is accepted that the account has no instance any more", zap.Strings("account", pin.IDs), zap.String("who", who), zap.String("claim", clip(req.Who)))
	return answer, w.bus.PublishNoticed(ctx, rec)
}
