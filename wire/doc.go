// Package wire is the protocol: the names, numbers and byte layouts that
// clients, gateways and room hosts agree on. It is a leaf; both ends import it
// and it imports nothing of theirs.
//
// The client protocol is the WebSocket subprotocol limpet.v1, written down for
// people in docs/protocol.md. One binary WebSocket message holds one frame. A
// frame is a type byte followed by the fields that its type lists; integers
// are big-endian; str8, str16 and bytes16 are a length of that many bits and
// then the bytes; a field called rest runs to the end of the message.
//
// Decoders never keep their input: byte slices in a decoded frame alias the
// message they came from and are valid as long as it is. Unknown frame types
// and trailing bytes after the last field are ignored by a receiver, so that a
// minor version can add both.
package wire

// Subprotocol is the WebSocket subprotocol this package speaks.
const Subprotocol = "limpet.v1"

// Minor is the newest minor version of the protocol that this build speaks.
// A peer that says a lower one is spoken to in that one.
const Minor = 1

// Bounds that both ends of the client protocol keep. Lengths are in bytes.
const (
	MaxPayload     = 64 << 10 // a message from a room; a host may set less
	MaxInput       = 16 << 10 // an input, and the whole frame around it
	MaxJoinData    = 4 << 10  // the data that goes with a join
	MaxToken       = 4 << 10  // an authentication or resume token
	MaxKindLen     = 32       // a kind's name
	MaxRoomNameLen = 64       // a room's name within its kind
	MaxUserLen     = 128      // a user's name
	MaxReasonLen   = 256      // the text of an error or an ending
)
