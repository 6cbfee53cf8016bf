//go:build !unix

package events

// roomIn is how many bytes may still be written in a directory; not known here.
func roomIn(string) (free uint64, ok bool) { return 0, false }
