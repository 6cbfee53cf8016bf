package crash

import (
	"errors"
	"os"
	"syscall"
)

// inMemory makes a directory in memory, where the machine has a large one. What
// the kills leave behind is the same there: a process that ends takes nothing with
// it that it has written, on whatever file system.
func inMemory() (string, error) {
	const shared, enough = "/dev/shm", 2 << 30 // a container has 64 MB of it, unless told otherwise
	var fs syscall.Statfs_t
	if err := syscall.Statfs(shared, &fs); err != nil {
		return "", err
	}
	if fs.Bavail*uint64(fs.Bsize) < enough {
		return "", errors.New("too small")
	}
	return os.MkdirTemp(shared, "nightshift-crash-")
}
