// Package host runs rooms: it is the part of a room host between the links to
// gateways, the store, and the rooms' own logic.
//
// A live copy of a room is one goroutine (loop.go) that owns the room's state
// machine. Everyone else puts typed events into its bounded mailbox
// (mailbox.go): link readers what gateways send (links.go), the checkpoint
// writer its answers (checkpoint.go). What the room says is gathered and leaves
// at the end of a batch through one gate (outbox.go), which opens only while
// this process's lease lets rooms speak (lease.go).
//
// A copy begins with a claim in the store (activate.go, claims.go) and ends in
// one of the ways that ending.go lists. Nothing but a new copy, under a new
// claim with a higher epoch, ever follows it.
package host
