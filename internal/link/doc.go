// Package link carries messages between processes: long-lived TCP connections,
// one for each pair of nodes that talk, with one-way messages and calls.
//
// A link proves on both sides that its peer holds the cluster's key and which
// process (NAME#BOOT) it is. Messages of one link arrive in order. Writes are
// gathered while a write is under way, and for up to a millisecond where many
// one-way messages come, so that a busy link takes few system calls; a quiet one
// adds no delay, and no call or answer waits. A link that stays silent for four
// heartbeats is broken.
//
// On the wire, after the handshake, a frame is
//
//	u32 length of the rest | u8 kind | body
//
// with big-endian integers. Kinds below 0x10 are the link's own.
package link

import (
	"errors"
	"fmt"
	"syscall"
)

// The link's own kinds.
const (
	kindCall  uint8 = 0x01 // u64 id | u32 ms left | u8 kind | rest body
	kindReply uint8 = 0x02 // u64 id | rest body
	kindError uint8 = 0x03 // u64 id | u16 code | u32 retry ms | str16 text
	kindPing  uint8 = 0x04
	firstFree uint8 = 0x10
)

// MaxFrame bounds one frame, in bytes.
const MaxFrame = 4 << 20

// Errors of links.
var (
	ErrClosed = errors.New("link is closed")
	ErrFull   = errors.New("link has too much unsent")
	errSilent = errors.New("nothing heard for four heartbeats")
)

// OtherNodeError: the address is served by another process than the one asked
// for. If that has the same name, the one asked for is gone.
type OtherNodeError struct{ Want, Got string }

// Error names both.
func (e *OtherNodeError) Error() string {
	return fmt.Sprintf("found node %s, want %s", e.Got, e.Want)
}

// Refused reports whether err proves that no process listens at the address.
func Refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
