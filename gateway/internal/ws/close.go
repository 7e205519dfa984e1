package ws

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// Status codes of RFC 6455, section 7.4.1, that this package uses.
const (
	StatusNormal      uint16 = 1000
	StatusGoingAway   uint16 = 1001
	StatusProtocol    uint16 = 1002
	StatusUnsupported uint16 = 1003
	StatusNone        uint16 = 1005 // a close frame without a code
	StatusBadText     uint16 = 1007
	StatusTooBig      uint16 = 1009
)

// Error is a breach of the protocol by the peer: the connection is to be closed
// with its code.
type Error struct {
	Code uint16
	Text string
}

// Error tells what the peer did.
func (e *Error) Error() string { return fmt.Sprintf("websocket %d: %s", e.Code, e.Text) }

// Closed is how a reader ends when the peer has sent a valid close frame.
type Closed struct {
	Code   uint16
	Reason string
}

// Error tells the peer's code and reason.
func (e *Closed) Error() string { return fmt.Sprintf("peer closed: %d %q", e.Code, e.Reason) }

// maxReason is what a close frame has room for behind its code.
const maxReason = MaxControl - 2

// AppendClose appends a whole close frame. Too long a reason is cut.
func AppendClose(b []byte, code uint16, reason string) []byte {
	if len(reason) > maxReason {
		reason = reason[:maxReason]
		for !utf8.ValidString(reason) {
			reason = reason[:len(reason)-1]
		}
	}
	b = AppendHeader(b, Close, 2+len(reason))
	return append(binary.BigEndian.AppendUint16(b, code), reason...)
}

// readClose turns the payload of a close frame into a *Closed, or an *Error.
func readClose(p []byte) error {
	if len(p) == 0 {
		return &Closed{Code: StatusNone}
	}
	if len(p) == 1 {
		return protocol("close frame with half a code")
	}
	code := binary.BigEndian.Uint16(p)
	if !validCode(code) {
		return protocol("close code %d is not allowed", code)
	}
	if !utf8.Valid(p[2:]) {
		return &Error{Code: StatusBadText, Text: "close reason is not UTF-8"}
	}
	return &Closed{Code: code, Reason: string(p[2:])}
}

// validCode reports whether a code may stand in a close frame.
func validCode(c uint16) bool {
	switch {
	case c >= 1000 && c <= 1003, c >= 1007 && c <= 1014:
		return true
	}
	return c >= 3000 && c <= 4999
}
