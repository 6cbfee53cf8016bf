package promise

// Rule is one promise.
type Rule struct {
	Name  string
	Text  string
	AtEnd bool // asked only when the history is settled

	broken func(*story) // reports each breach, and counts what it had to judge
}

// Rules are all promises, in the order in which they are asked.
var Rules = []Rule{
	// Each thing is done once (once.go).
	{"one outcome", "an action ends once", false, oneOutcome},
	{"one plan", "a trigger is planned once in each region, and a planned time is in one trigger's plan", false, onePlan},
	{"planned before called", "no call is begun that no stored plan holds", false, plannedBeforeCalled},
	{"announced before called", "no request reaches the cloud but within the time of a started event", false, announcedBeforeCalled},
	{"one call in flight", "at most one call is in flight per instance: it begins when every earlier one has ended", false, oneCallInFlight},
	{"in order", "what an older trigger wants is not begun after what a newer one wants", false, inOrder},
	{"never twice", "no second reboot or create for one action, where the first may have had an effect", false, neverTwice},

	// No call that should not be: too early, too late, or where nothing is to be touched (rails.go).
	{"not before it is due", "no call begins before it is due", false, notBeforeDue},
	{"not after its give-up time", "no call begins after its give-up time", false, notAfterGiveUp},
	{"not what is only watched", "no call for what is skipped, or in observe mode, or a dry run", false, notWatched},
	{"not while held", "no call of a run that waits for approval", false, notHeld},
	{"not on the protected", "no call on a protected instance", false, notProtected},
	{"not against an exception", "no call on a paused instance, by a paused policy, or against what an instance is kept in", false, notExcepted},
	{"only what is allowed", "no call outside allow", false, onlyAllowed},
	{"still selected", "no call by a policy that is gone from the file, or that no longer selects the instance", false, stillSelected},
	{"off on purpose", "no alert or load reboots, resizes or stops what is meant to be off", false, offOnPurpose},
	{"cool-down", "a trigger's policy leaves an instance alone for its cool-down", false, cooledDown},

	// No more than may be, over all daemons (rails.go, size.go, floors.go).
	{"limits", "no call above the limits: per_run, per_hour and at_most hold over all daemons", false, withinLimits},
	{"share", "no more than limits.share of the fleet in one run, or of what a trigger's policy selects in an hour", false, withinShare},
	{"growth", "a policy that selects at least twice what it did at its last run is asked about", false, grownIsHeld},
	{"floors", "no call under a floor: none takes an instance down where too few would be left", false, aboveFloors},
	{"rate", "no request over the rate at which the API may be asked", false, withinRate},
	{"no blank firewall", "a blank firewall, which would open the default one, is never asked for", false, noBlankFirewall},

	// One after another (canary.go, order.go).
	{"canary", "nobody follows an instance that goes first before it has stayed so for a while", false, canaryFirst},
	{"breaker", "a policy whose calls fail on one instance after another falls silent, then tries one", false, silentAfterFailures},
	{"order", "no stage begins before the one before it has ended, or had its time", false, stagesInTurn},
	{"pace", "no more of a run under way, and none sooner after the one before, than pace says", false, inPace},

	// No planned time is lost, and none is made up (edges.go).
	{"edges are known", "no edge of before its policy was known is acted upon", false, edgesAreKnown},
	{"edges are announced", "every edge of a policy that is known has a tick", true, edgesAreAnnounced},
	{"edges are decided", "every tick is in a plan of every region, or has the event that says why not", true, edgesAreDecided},

	// And in the end (once.go, fleet.go).
	{"nothing is lost", "every action of a stored plan has an outcome, and a plan without any its one event", true, nothingIsLost},
	{"the fleet is as wanted", "in the end the fleet is as the policies want it, but for hands and what was told", true, fleetIsAsWanted},
}
