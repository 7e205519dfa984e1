//go:build !linux

package socket

import "syscall"

// Write is one write(2) on a socket that does not block.
func Write(fd uintptr, p []byte) (int, error) { return syscall.Write(int(fd), p) }

// Read is one read(2) on a socket that does not block.
func Read(fd uintptr, p []byte) (int, error) { return syscall.Read(int(fd), p) }
