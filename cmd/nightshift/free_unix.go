//go:build unix

package main

import (
	"fmt"
	"syscall"
)

// freeIn is how much room there is in a directory, for people.
func freeIn(dir string) string {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return "an unknown room"
	}
	mb := uint64(st.Bavail) * uint64(st.Bsize) >> 20 //nolint:unconvert // differs by system
	if mb < 10<<10 {
		return fmt.Sprintf("%d MB", mb)
	}
	return fmt.Sprintf("%d GB", mb>>10)
}
