// Package alarm wakes goroutines at times, for those who are woken often. A timer
// of Go's takes the runtime two waits, for it rounds them to milliseconds, and its
// monitor gets up for each: here one timer of the kernel's rings for all alarms of
// a moment.
package alarm
