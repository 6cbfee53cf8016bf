package worker

import "syscall"

// staUnsync is set while nothing keeps the kernel's clock right (adjtimex(2)).
const staUnsync = 0x40

// kernelSynced reports whether the kernel says that something, such as an NTP client,
// keeps its clock right.
func kernelSynced() bool {
	var t syscall.Timex
	state, err := syscall.Adjtimex(&t)
	return err == nil && state >= 0 && t.Status&staUnsync == 0
}
