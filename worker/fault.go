package worker

import (
	"cmp"
	"errors"

	"nightshift/civo"
	"nightshift/events"
	"nightshift/policies"
)

// The reasons of what was tried and did not come to what was wanted. That of what
// was accepted and never seen is [still].
const (
	reasonQuota        policies.Reason = "quota"
	reasonCapacity     policies.Reason = "capacity"
	reasonForbidden    policies.Reason = "forbidden"
	reasonUnauthorized policies.Reason = "unauthorized" // the token is refused
	reasonRateLimited  policies.Reason = "rate limited"
	reasonBusy         policies.Reason = "busy"        // not in a state for the action
	reasonUnavailable  policies.Reason = "unavailable" // the API is not, or says so
	reasonNotFound     policies.Reason = "not found"   // the API says so, and a full list does not
	reasonAnswerLost   policies.Reason = "answer lost"
	reasonNotListed    policies.Reason = "not listed" // its region could not be read
)

// faultReasons are the reasons of the kinds of errors, the first that fits.
var faultReasons = []struct {
	kind   error
	reason policies.Reason
}{
	{civo.ErrQuota, reasonQuota}, {civo.ErrCapacity, reasonCapacity}, {civo.ErrForbidden, reasonForbidden}, {civo.ErrUnauthorized, reasonUnauthorized},
	{civo.ErrRateLimited, reasonRateLimited}, {civo.ErrBusy, reasonBusy}, {civo.ErrInvalid, policies.ReasonInvalid}, {civo.ErrNotFound, reasonNotFound},
	{civo.ErrUnavailable, reasonUnavailable}, {civo.ErrAmbiguous, reasonAnswerLost},
}

// faultReason is why a call failed, in a word; empty where no kind of error says it.
func faultReason(err error) policies.Reason {
	for _, f := range faultReasons {
		if errors.Is(err, f.kind) {
			return f.reason
		}
	}
	return ""
}

// still is the reason of what was accepted and is not seen: the state that is.
func still(it events.Item, inst policies.Instance) policies.Reason {
	switch policies.Verb(it.Action) {
	case policies.Retag, policies.Firewall: // as long as people write them
		return "still as before"
	case policies.Resize:
		return policies.Reason("still " + inst.Size)
	}
	return policies.Reason("still " + inst.Status)
}

// faulted remembers why the action is not done yet, for when it is given up: what is
// seen after an answer was lost leaves the reason as it is.
func (a *attempt) faulted(err error) {
	a.lastErr, a.fault = err.Error(), cmp.Or(faultReason(err), a.fault)
}

// faultOf is why an action is given up: what this process knows, else what the ledger
// has of its last call.
func (a *attempt) faultOf(last events.Record) (reason policies.Reason, fault string) {
	if a.lastErr != "" {
		return cmp.Or(a.fault, policies.Reason(last.Reason)), a.lastErr
	}
	return policies.Reason(last.Reason), last.Error
}
