package wire

// Code says why something was refused or ended. The numbers are the protocol:
// they are never given a second meaning. Codes below 4000 answer one request
// or tell of one room; those from 4000 up close the connection and are also
// its WebSocket close code: 4000-4499 mean come back, 4500-4999 mean don't.
type Code uint16

// Codes of answers and of endings of one membership.
const (
	CodeNone Code = 0

	// What the request asked for is wrong; the same request will fail again.
	CodeBadFrame      Code = 100 // the frame does not decode
	CodeBadRequest    Code = 101 // a field has a value that is not allowed
	CodeUnknownKind   Code = 102 // no host of the cluster serves the kind
	CodeNoRoom        Code = 103 // join: the room does not exist
	CodeRoomExists    Code = 104 // create: the room exists
	CodeNotMember     Code = 105 // the handle is not one of this connection's rooms
	CodeTooManyRooms  Code = 106 // this connection is a member of as many rooms as it may be
	CodeTooBig        Code = 107 // an input or join data above its limit
	CodeUnauthorized  Code = 108 // not allowed to be there
	CodeBadToken      Code = 109 // the resume token is forged, garbled or for another cluster
	CodeTokenExpired  Code = 110 // the resume token was good once
	CodeRefused       Code = 111 // the room's own code said no; the text is its reason
	CodeAlreadyMember Code = 112 // this connection is already a member of the room
	CodeTooManyLists  Code = 113 // this connection watches as many lists of rooms as it may

	// Try again, after retry_ms.
	CodeRoomFull        Code = 200 // no open seat
	CodeRoomLocked      Code = 201 // the room takes no new members now
	CodeBusy            Code = 202 // a queue is full somewhere on the way
	CodeUnavailable     Code = 203 // no host can take the room, or the store can't be asked
	CodeTimeout         Code = 204 // no answer in time; whether it happened is not known
	CodeKindUnavailable Code = 205 // the kind is known but no host serves it now
	CodeRateLimited     Code = 206 // more than this connection's budget

	// A membership ended.
	CodeLeft       Code = 300 // the client left
	CodeKicked     Code = 301 // the room removed it
	CodeRoomClosed Code = 302 // the room closed
	CodeEnded      Code = 303 // that incarnation of the room is over
	CodeReplaced   Code = 304 // a newer connection holds the membership
	CodeGraceOver  Code = 305 // it was away longer than the kind's grace
	CodeStateLost  Code = 306 // the store lost the room's state

	// An input was not applied.
	CodeInputFailed Code = 400 // the room's code failed on it; it is skipped for good
)

// Codes that close a connection.
const (
	CloseShutdown     Code = 4000 // this gateway is going away; any other will do
	CloseSlow         Code = 4001 // the client did not read fast enough
	CloseIdle         Code = 4002 // nothing heard from the client for too long
	CloseOverload     Code = 4003 // the gateway sheds load
	CloseCutOff       Code = 4004 // this gateway can't reach the room's host; another may
	CloseHelloLate    Code = 4005 // no hello in time
	CloseBadFrame     Code = 4500 // the peer broke the protocol
	CloseBadVersion   Code = 4501 // no common version
	CloseUnauthorized Code = 4502 // the hello's token was not accepted
	CloseTooBig       Code = 4503 // a message above the limit
	CloseFlood        Code = 4504 // frames, pings or bytes above the limit
)

// Retry reports whether a connection closed with c should be made again.
func (c Code) Retry() bool { return c < 4500 }

var codeNames = map[Code]string{
	CodeNone: "none", CodeBadFrame: "bad_frame", CodeBadRequest: "bad_request",
	CodeUnknownKind: "unknown_kind", CodeNoRoom: "no_room", CodeRoomExists: "room_exists",
	CodeNotMember: "not_member", CodeTooManyRooms: "too_many_rooms", CodeTooBig: "too_big",
	CodeUnauthorized: "unauthorized", CodeBadToken: "bad_token", CodeTokenExpired: "token_expired",
	CodeRefused: "refused", CodeAlreadyMember: "already_member", CodeTooManyLists: "too_many_lists",
	CodeRoomFull: "room_full", CodeRoomLocked: "room_locked", CodeBusy: "busy",
	CodeUnavailable: "unavailable", CodeTimeout: "timeout", CodeKindUnavailable: "kind_unavailable",
	CodeRateLimited: "rate_limited",
	CodeLeft:        "left", CodeKicked: "kicked", CodeRoomClosed: "room_closed", CodeEnded: "ended",
	CodeReplaced: "replaced", CodeGraceOver: "grace_over", CodeStateLost: "state_lost",
	CodeInputFailed: "input_failed",
	CloseShutdown:   "shutdown", CloseSlow: "slow", CloseIdle: "idle", CloseOverload: "overload",
	CloseCutOff: "cut_off", CloseHelloLate: "hello_late", CloseBadFrame: "protocol_error",
	CloseBadVersion: "bad_version", CloseUnauthorized: "not_authorized", CloseTooBig: "message_too_big",
	CloseFlood: "flood",
}

// String is the code's stable name, as it stands in logs and JSON.
func (c Code) String() string {
	if s, ok := codeNames[c]; ok {
		return s
	}
	return "unknown"
}

// Error is a refusal with a code that crosses the wire. RetryMS is advice: how
// long to wait before trying again, 0 for "at will" or "never" as the code says.
type Error struct {
	Code    Code
	RetryMS uint32
	Text    string
}

// Error names the code and its text.
func (e *Error) Error() string {
	if e.Text == "" {
		return e.Code.String()
	}
	return e.Code.String() + ": " + e.Text
}

// Refuse makes an Error without retry advice.
func Refuse(c Code, text string) *Error { return &Error{Code: c, Text: text} }

// CodeOf finds the code in err, or CodeUnavailable where it carries none.
func CodeOf(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := asError(err); ok {
		return e
	}
	return &Error{Code: CodeUnavailable, Text: err.Error()}
}
