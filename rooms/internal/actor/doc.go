// Package actor is one room as a pure state machine: events and their times go
// in; calls of the room's handler and messages to ports come out. It starts no
// goroutines, reads no clock and does no I/O, and given the same events, times
// and seed it does the same again.
//
// A Room is not safe for concurrent use: its host runs it on one goroutine.
// Times of events must not fall; one that does is taken for the latest before.
package actor
