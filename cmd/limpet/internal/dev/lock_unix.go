//go:build unix

package dev

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lockData makes the data directory, where it is missing, and locks it for the
// life of the returned file.
func lockData(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, setup("data directory %s: %v", dir, cause(err))
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, setup("data directory %s: %v", dir, cause(err))
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, setup("data directory %s: another limpet dev is using it; stop that one, or choose another with --data", dir)
	}
	return f, nil
}
