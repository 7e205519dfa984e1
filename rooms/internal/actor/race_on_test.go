//go:build race

package actor

// underRace: the race detector makes each step many times slower, and finds
// nothing in a room, which has one goroutine.
const underRace = true
