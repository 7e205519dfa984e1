// Package poll waits for many quiet sockets in one goroutine, where a
// goroutine each would cost a stack and a switch for every message.
package poll
