package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/limpet-games/limpet/gateway/internal/ws"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// conn is one client's connection. Its reader is the goroutine of run, or, while
// nothing but whole messages come, the goroutine of a loop.
type conn struct {
	// What each delivery and each input looks at comes first, close together:
	// among thousands of connections none is in a cache.
	out outbox

	g        *Gateway      // static
	mu       sync.Mutex    //
	sessions *session      // by their next; guarded by mu
	loop     uint8         // static: of the gateway's, from 1; 0: always a goroutine of its own
	looped   bool          // a loop reads: nothing may wait; the reader's, as all down to frames
	listing  bool          // guarded by mu
	gone     bool          // no session or request is taken any more; guarded by mu
	heard    atomic.Uint32 // when the last message came, in ms since the gateway's start
	ended    atomic.Uint32 // the close code, once that is decided
	at       int32         // in Gateway.conns; guarded by Gateway.mu
	caller   *caller       // nil: it has said hello
	excess   *excess       // nil: it has sent too much of nothing
	reads    bucket
	bytes    bucket
	frames   bucket

	// What a goroutine that reads waits with; both are nil while a loop reads.
	nc atomic.Pointer[net.Conn]
	in *ws.Reader // the reader's

	// Owned by the reader.
	instance wire.Instance
	id       *Identity
	seats    bucket // joins and resumes

	from    address           // the client's own, behind proxies that are believed; static, but until the handshake the peer's
	drains  *sync.WaitGroup   // of the goroutine of a full socket, nil before the first; guarded by out.mu
	asking  *request          // joins and resumes under way, by their next; guarded by mu
	watches map[uint32]*watch // nil before the first; guarded by mu
}

// excess is what few connections need: how they stand with what they send too
// much of, and with what they need not send at all. The reader's.
type excess struct {
	debt     time.Duration // to be waited for before the next message
	limited  time.Duration // since when it sends too much, as a time since the gateway's start; 0: it does not
	owed     time.Duration // when it last had to wait, in the same way
	controls bucket
	lists    bucket
	complain bucket // errors that a client can bring about at will
	forged   uint8  // resume tokens that were none
}

// over is the connection's excess, to be changed.
func (c *conn) over() *excess {
	if c.excess == nil {
		c.excess = new(excess)
	}
	return c.excess
}

// debt is what is to be waited for before the next message.
func (c *conn) debt() time.Duration {
	if c.excess == nil {
		return 0
	}
	return c.excess.debt
}

// address is a client's, all zero where it is not known. A connection needs no zone.
type address [16]byte

func addressOf(a netip.Addr) address {
	if !a.IsValid() {
		return address{}
	}
	return a.As16()
}

func (a address) addr() netip.Addr {
	if a == (address{}) {
		return netip.Addr{}
	}
	return netip.AddrFrom16(a).Unmap()
}

func (a address) String() string { return a.addr().String() }

// nobody is who has not said who he is.
var nobody Identity

func newConn(g *Gateway, nc net.Conn, from netip.Addr) *conn {
	c := &conn{g: g, from: addressOf(from), id: &nobody}
	c.caller = &caller{c: c}
	c.nc.Store(&nc)
	if c.out.open(c, nc) {
		c.loop = g.loopFor()
	}
	c.touch(time.Now())
	return c
}

// errStop ends a reader whose connection's end has been decided already.
var errStop = errors.New("connection ends")

// end is an error that closes the connection with a code.
type end struct {
	code wire.Code
	text string
}

func (e *end) Error() string { return e.code.String() + ": " + e.text }

func badFrame(err error) error { return &end{wire.CloseBadFrame, err.Error()} }

var errFlood = &end{wire.CloseFlood, "more frames than a connection may send"}

// finish takes the connection to its end.
func (c *conn) finish(err error) {
	c.explain(err)
	if c.caller != nil {
		c.g.callers.remove(c.caller)
	}
	c.detachAll()
	if c.in != nil {
		c.in.Release()
	}
	c.linger()
	c.g.forget(c)
}

// hello takes the first message. A loop can't wait for an authentication.
func (c *conn) hello(msg []byte) error {
	if wire.TypeOf(msg) != wire.TypeHello {
		return &end{wire.CloseBadFrame, "the first frame is not a hello"}
	}
	if c.looped && c.g.cfg.Authenticate != nil {
		c.caller.hello = append([]byte(nil), msg...)
		return ws.ErrWait
	}
	return c.greet(msg)
}

// greet answers the hello.
func (c *conn) greet(hello []byte) error {
	f, err := wire.DecodeHello(hello)
	if err != nil {
		return badFrame(err)
	}
	c.instance = f.Instance
	if err := c.authenticate(f.Token, c.caller.offered); err != nil {
		return err
	}
	c.g.callers.remove(c.caller)
	c.caller = nil
	if c.out.closing() { // it was late
		return errStop
	}
	c.touch(c.clock())
	c.sendNow(encode(wire.Welcome{
		Minor: min(f.Minor, wire.Minor), Heartbeat: uint32(c.g.limits.Heartbeat.Milliseconds()),
		InputLimit: inputLimit, Gateway: c.g.cfg.Name,
	}))
	return nil
}

// readPause is how long a connection waits between reads that brings its bytes
// in too many pieces: meanwhile they gather.
const readPause = 20 * time.Millisecond

// Read counts a read call. Tiny pieces cost a system call each, or under TLS a
// record, whatever the limits on what they carry.
func (c *conn) Read() {
	c.g.metrics.reads.Inc()
	switch {
	case c.reads.allow(c.clock(), c.g.limits.Reads):
	case c.looped: // which can't wait: a goroutine does, behind what has come
		c.g.metrics.readsPaced.Inc()
		c.over().debt = max(c.debt(), readPause)
	default:
		c.g.metrics.readsPaced.Inc()
		time.Sleep(readPause)
	}
}

func (c *conn) authenticate(token, offered []byte) error {
	if c.g.cfg.Authenticate == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.g.ctx, c.g.limits.HelloWithin)
	defer cancel()
	if len(token) == 0 {
		token = offered
	}
	id, err := c.g.cfg.Authenticate(ctx, token)
	if err == nil && (len(id.User) > wire.MaxUserLen || len(id.Claims) > peer.MaxClaims) {
		err = fmt.Errorf("user name of %d bytes, claims of %d", len(id.User), len(id.Claims))
	}
	if err != nil {
		c.g.metrics.authFailed.Inc()
		c.g.noise.Info().Err(err).Stringer("from", c.from).Msg("token not accepted")
		return &end{wire.CloseUnauthorized, "the token was not accepted"}
	}
	c.id = &id
	return nil
}

// explain turns the reader's end into what the client is told.
func (c *conn) explain(err error) {
	var e *end
	var broken *ws.Error
	var closed *ws.Closed
	switch {
	case errors.As(err, &e):
		if e.code == wire.CloseBadFrame {
			c.put(encode(wire.ErrorFrame{Error: wire.Error{Code: wire.CodeBadFrame, Text: e.text}}))
		}
		c.noteBreach(err)
		c.shut(e.code, e.text)
	case errors.As(err, &broken):
		c.noteBreach(err)
		c.close(broken.Code, broken.Text, false)
	case errors.As(err, &closed):
		code := closed.Code
		if code == ws.StatusNone {
			code = ws.StatusNormal
		}
		c.ended.CompareAndSwap(0, uint32(ws.StatusNormal)) // whatever code it chose
		c.close(code, "", false)
	case !c.out.closing(): // the connection broke
		c.ended.CompareAndSwap(0, uint32(ws.StatusNone)+1)
		c.out.close()
	}
}

func (c *conn) noteBreach(err error) {
	c.g.noise.Info().Err(err).Stringer("from", c.from).Msg("client cut")
}

// shut ends the connection with a code, from any goroutine, without waiting.
func (c *conn) shut(code wire.Code, text string) {
	c.close(uint16(code), text, code == wire.CloseSlow)
}

func (c *conn) close(code uint16, text string, hurry bool) {
	f := takeFrame(ws.MaxControl)
	f.b = ws.AppendClose(f.b, code, text)
	sealed := c.out.seal(f, hurry)
	f.release()
	if !sealed {
		return
	}
	c.ended.CompareAndSwap(0, uint32(code))
	c.out.flush()
	c.rouse()
}

// linger lets the close frame arrive, then closes the socket. A socket closed
// with unread data would reset the connection and take the frame with it.
func (c *conn) linger() {
	late := time.AfterFunc(c.g.limits.Linger, c.cut)
	defer late.Stop()
	c.out.flush()
	c.drained()
	if !c.out.failed() {
		if nc, err := c.awake(); err == nil && halfClose(nc, c.g.limits.Linger) {
			nc.SetReadDeadline(time.Now().Add(c.g.limits.Linger))
			discard(nc)
		}
	}
	c.hangUp()
}

// cut ends what linger waits for.
func (c *conn) cut() {
	c.out.cut()
	if nc := c.nc.Load(); nc != nil {
		(*nc).Close()
	}
}

// hangUp closes the socket.
func (c *conn) hangUp() {
	c.out.close()
	if nc := c.nc.Load(); nc != nil {
		(*nc).Close()
	}
	c.out.free()
}

// discard reads until the peer closes, within a bound.
func discard(nc net.Conn) {
	var b [512]byte
	for range 4096 {
		if _, err := nc.Read(b[:]); err != nil {
			return
		}
	}
}

// drain starts the goroutine that waits for a full socket. out.mu is held.
func (c *conn) drain() {
	c.g.metrics.drains.Inc()
	if c.drains == nil {
		c.drains = new(sync.WaitGroup)
	}
	c.drains.Go(func() {
		if c.out.drainAll() {
			c.ended.CompareAndSwap(0, uint32(wire.CloseSlow))
		}
		if c.out.failed() {
			c.rouse()
		}
	})
}

// drained waits for that goroutine.
func (c *conn) drained() {
	c.out.mu.Lock()
	drains := c.drains
	c.out.mu.Unlock()
	if drains != nil {
		drains.Wait()
	}
}

// put queues a frame of this gateway's own and gives it up.
func (c *conn) put(f *frame) {
	c.g.countOut(f, 1)
	if _, over := c.out.put(f); over {
		c.shut(wire.CloseSlow, slowText)
	}
	f.release()
}

// sendNow is put and a flush: for answers that no batch will carry.
func (c *conn) sendNow(f *frame) {
	c.put(f)
	c.out.flush()
}

func (c *conn) sendError(ref uint32, h wire.Handle, e *wire.Error) {
	c.sendNow(encode(wire.ErrorFrame{Ref: ref, Handle: h, Error: *e}))
}

func (c *conn) touch(now time.Time) { c.heard.Store(uint32(c.since(now).Milliseconds())) }

// since is a time as connections keep it, from the gateway's start.
func (c *conn) since(now time.Time) time.Duration { return now.Sub(c.g.start) }

// idle is how long nothing was heard, within 24 days.
func (c *conn) idle() time.Duration {
	heard := c.heard.Load()
	return time.Duration(int32(uint32(time.Since(c.g.start).Milliseconds())-heard)) * time.Millisecond
}
