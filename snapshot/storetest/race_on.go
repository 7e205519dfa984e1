//go:build race

package storetest

// underRace: the race detector makes each step many times slower. Calls that one
// goroutine repeats are nothing new to it.
const underRace = true
