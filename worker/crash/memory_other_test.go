//go:build !linux

package crash

import "errors"

func inMemory() (string, error) { return "", errors.ErrUnsupported }
