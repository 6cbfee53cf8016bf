//go:build unix

package events

import (
	"os"
	"syscall"
)

// roomIn is how many bytes this user may still write in a directory; ok is false
// where the system does not say.
func roomIn(dir string) (free uint64, ok bool) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil || st.Blocks == 0 {
		return 0, false
	}
	blocks := uint64(st.Bavail)
	if os.Geteuid() == 0 { // what is kept back is for him
		blocks = uint64(st.Bfree)
	}
	return blocks * uint64(st.Bsize), true //nolint:unconvert // differs by system
}
