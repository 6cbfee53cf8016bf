package promise

// Rule is one promise.
type Rule struct {
	Name  string
	Text  string
	AtEnd bool // asked only when the history is settled

	broken func(*story)
}

// Rules are all promises, in the order in which they are asked.
var Rules = []Rule{
	{"one outcome", "an action ends once", false, oneOutcome},
	{"one plan", "a trigger is planned once in each region, and a planned time is in one trigger's plan", false, onePlan},
	{"planned before called", "no call is begun that no stored plan holds", false, plannedBeforeCalled},
	{"announced before called", "no request reaches the cloud but within the time of a started event", false, announcedBeforeCalled},
	{"one call in flight", "a call begins when every earlier one on the instance has ended", false, oneCallInFlight},
	{"in order", "what an older trigger wants is not begun after what a newer one wants", false, inOrder},
	{"never twice", "a reboot or a create is not sent again where it may have had an effect", false, neverTwice},
	{"not before it is due", "no call begins before it is due", false, notBeforeDue},
	{"not after its give-up time", "no call begins after its give-up time", false, notAfterGiveUp},
	{"not what is only watched", "what is skipped, or planned in observe mode or a dry run, is not called", false, notWatched},
	{"not while held", "what waits for approval is not called", false, notHeld},
	{"not on the protected", "a protected instance is never touched", false, notProtected},
	{"not against an exception", "what is paused or kept is left alone", false, notExcepted},
	{"only what is allowed", "no call outside allow", false, onlyAllowed},
	{"off on purpose", "no alert or load reboots, resizes or stops what is meant to be off", false, offOnPurpose},
	{"cool-down", "a trigger's policy leaves an instance alone for its cool-down", false, cooledDown},
	{"limits", "per_run, per_hour and at_most hold over all daemons", false, withinLimits},
	{"share", "no more than limits.share of the fleet in one run, or of what a trigger's policy selects in an hour", false, withinShare},
	{"growth", "a policy that selects at least twice what it did at its last run is asked about", false, grownIsHeld},
	{"canary", "nobody follows an instance that goes first before it has stayed so for a while", false, canaryFirst},
	{"breaker", "a policy whose calls fail on one instance after another falls silent, then tries one", false, silentAfterFailures},
	{"order", "no stage begins before the one before it has ended, or had its time", false, stagesInTurn},
	{"pace", "no more of a run under way, and none sooner after the one before, than pace says", false, inPace},
	{"floors", "no call takes an instance down where too few would be left", false, aboveFloors},
	{"rate", "the API is not asked faster than it may be", false, withinRate},
	{"no blank firewall", "a blank firewall, which would open the default one, is never asked for", false, noBlankFirewall},
	{"edges are known", "no planned time of before a policy was known is acted upon", false, edgesAreKnown},
	{"edges are announced", "every planned time of a policy that is known has a tick", true, edgesAreAnnounced},
	{"edges are decided", "every tick is in a plan of every region, or has the event that says why not", true, edgesAreDecided},
	{"nothing is lost", "every action of a stored plan has an outcome, and a plan without any its one event", true, nothingIsLost},
	{"the fleet is as wanted", "in the end every instance is as the policies want it, but for hands and what was told", true, fleetIsAsWanted},
}
