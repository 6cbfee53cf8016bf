// Package migrate writes a first policy file from the files of other tools.
//
// Each tool is one function, from the text of its file to the text of ours:
// [Custodian] reads the policies of Cloud Custodian, [InstanceScheduler] the
// configuration of Instance Scheduler on AWS, [Downscaler] the manifests that
// kube-downscaler looks at. What they write is meant to be read by people before it
// does anything: mode is observe, each policy says where it comes from, and a
// comment beside it names everything that will behave otherwise or was left out.
// Fleets keep their tags: a policy follows them in the other tool's own grammar
// (package policies/foreign), or in our windows where these mean the very same,
// which is compared minute by minute before they are written.
//
// It promises that what it writes can be read by [nightshift/configs.Parse], and
// that no policy selects an instance that the original left alone. A policy with a
// filter that has no counterpart is therefore written as a comment, to be
// completed by hand. Where nothing can be carried over that is a [*NothingError],
// which gives the reasons.
//
// It is pure: it reads no file and asks no clock. The same input gives the same
// output, byte by byte.
package migrate
