package gateway

import (
	"cmp"
	"time"

	"github.com/limpet-games/limpet/wire"
)

// Limits bounds what clients can make a gateway hold or do. The zero value of
// each means its default.
type Limits struct {
	Connections int // WebSockets; more get 503 with Retry-After; default 20,000
	HTTP        int // connections that are not WebSockets yet; more are closed; default 1024
	// AddressConnections and AddressHandshakes bound one address, or IPv6 /64:
	// its WebSockets, as many connections that are none yet, and the handshakes
	// it makes in a second, with bursts of twice that. More WebSockets are
	// answered 503, more handshakes 429, other connections closed. Loopback is not limited. Defaults 64 and 10.
	AddressConnections int
	AddressHandshakes  int

	// Accepts and Admits pace storms: TCP connections taken a second, the rest
	// waiting in the kernel; joins and resumes let through a second, the others
	// told when to try again, joins before resumes. Defaults 1500 and 2000.
	Accepts int
	Admits  int

	Rooms  int // memberships of one connection, asked for or held; default 16
	Routes int // rooms with members behind this gateway; more joins are "busy"; default 100,000
	Joins  int // joins and resumes under way; more are "busy"; default 4096

	// Frames and Bytes bound what a connection sends in a second, with bursts
	// of twice that. A faster one is told, then read no faster than that, and
	// cut when it stays at it for FloodAfter. Defaults 120, 64 KiB and 10 s.
	Frames     int
	Bytes      int
	FloodAfter time.Duration
	// Controls bounds pings, pongs and fragments a second, with bursts of twice
	// that; a connection above it is cut. Default 10.
	Controls int
	// Reads bounds the pieces a second in which a connection's bytes come, with
	// bursts of twice that; one above it is read 50 times a second. Default 500, or four times Frames.
	Reads    int
	JoinRate int // joins and resumes a second and connection, with bursts of twice that; more are refused; default 20
	Lists    int // room lists a second and connection; more are refused; default 4

	// OutboxBytes and OutboxFrames bound what waits for one socket: above half,
	// ephemeral messages are dropped; at seven eighths, rooms' output passes the
	// client over until it has caught up; above the bound, the connection is cut
	// to come back later. Defaults 256 KiB and 1024; at most 1 GiB.
	OutboxBytes  int
	OutboxFrames int
	SendBuffer   int           // the kernel's buffer of a socket; default 64 KiB
	Behind       time.Duration // a client that was passed over has so long to catch up, and is cut when it is passed over again within it; default 10 s
	WriteStall   time.Duration // a socket that takes nothing for so long is cut; default 2 s

	HelloWithin time.Duration // from the handshake to the hello; default 3 s
	Heartbeat   time.Duration // silence of twice that ends a connection; default 10 s
	JoinWithin  time.Duration // bound on a join or resume; default 10 s
	Linger      time.Duration // a close frame has so long to arrive; default 1 s
	TokenFor    time.Duration // a resume token is good for; default 7 days

	Finds    int           // rooms looked up again at once; default 64
	CutOff   time.Duration // a host that lives but can't be reached for so long sends clients elsewhere; more than a lease's 2 s; default 3 s
	FindFor  time.Duration // a room that can't be found for so long sends clients elsewhere; default 30 s
	Reattach time.Duration // a host answers a re-attach in, or is asked again; default 5 s
}

// maxMessage bounds a message of a client: an input and the frame around it.
const maxMessage = wire.MaxInput

// inputLimit is what Welcome says: what a message has room for behind type,
// handle and number.
const inputLimit = maxMessage - 1 - 4 - 8

func (l *Limits) setDefaults() {
	if l.Reads == 0 && 4*l.Frames > 500 {
		l.Reads = 4 * l.Frames
	}
	for _, f := range []struct {
		v   *int
		def int
	}{
		{&l.Connections, 20_000}, {&l.HTTP, 1024}, {&l.Rooms, 16}, {&l.Routes, 100_000}, {&l.Joins, 4096},
		{&l.Frames, 120}, {&l.Bytes, 64 << 10}, {&l.Controls, 10}, {&l.Reads, 500}, {&l.Accepts, 1500}, {&l.Admits, 2000}, {&l.Lists, 4},
		{&l.JoinRate, 20}, {&l.AddressConnections, 64}, {&l.AddressHandshakes, 10},
		{&l.OutboxBytes, 256 << 10}, {&l.OutboxFrames, 1024}, {&l.SendBuffer, 64 << 10}, {&l.Finds, 64},
	} {
		*f.v = cmp.Or(*f.v, f.def)
	}
	l.OutboxBytes = min(l.OutboxBytes, maxOutbox)
	for _, f := range []struct {
		v   *time.Duration
		def time.Duration
	}{
		{&l.FloodAfter, 10 * time.Second}, {&l.WriteStall, 2 * time.Second}, {&l.Behind, 10 * time.Second},
		{&l.HelloWithin, 3 * time.Second}, {&l.Heartbeat, 10 * time.Second},
		{&l.JoinWithin, 10 * time.Second}, {&l.Linger, time.Second}, {&l.TokenFor, 7 * 24 * time.Hour},
		{&l.CutOff, 3 * time.Second}, {&l.FindFor, 30 * time.Second}, {&l.Reattach, 5 * time.Second},
	} {
		*f.v = cmp.Or(*f.v, f.def)
	}
}
