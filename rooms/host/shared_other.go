//go:build !linux

package host

// sharedMemory: this system has no place for files in memory.
const sharedMemory = ""
