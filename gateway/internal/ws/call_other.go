//go:build !linux

package ws

import "syscall"

// Write is one write(2) on a socket that does not block.
func Write(fd uintptr, p []byte) (int, error) { return syscall.Write(int(fd), p) }

func read(fd uintptr, p []byte) (int, error) { return syscall.Read(int(fd), p) }
