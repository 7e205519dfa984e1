//go:build race

package host

// underRace: the race detector makes each step many times slower, and finds
// nothing in a simulation, which has one goroutine.
const underRace = true
