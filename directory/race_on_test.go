//go:build race

package directory

// raceFactor is how much slower the race detector makes timed work.
const raceFactor = 20
