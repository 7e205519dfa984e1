package gateway

import (
	"crypto/tls"
	"net"
	"sync"
)

// outbox holds the frames that wait for one socket, in order. Whoever fills it
// sees to its flush: a link's reader when it has handled all that had arrived,
// others at once. A flush is one write that does not wait; only a socket that
// is full gets a goroutine, until it has taken everything.
type outbox struct {
	mu       sync.Mutex
	promised bool      // a link's reader will flush at the end of its batch; guarded by mu, as all to dead
	draining bool      // the goroutine runs
	sealed   bool      // a close frame is last; nothing more is taken
	dead     bool      // the socket failed
	direct   bool      // static: it is a socket, and fd its descriptor
	owned    bool      // the descriptor is the outbox's own, to be closed with it
	pend     []*frame  // nil: given up
	few      [2]*frame // pend's array while that is short
	off      int32     // bytes of pend[0] that the socket has
	bytes    int32     // unsent, within maxOutbox and a frame
	frames   int32     // unsent

	// Static.
	fd  int32 // open until the outbox is closed, or if it is its own, freed
	c   *conn
	via *via // nil: fd is all that is needed
}

// maxOutbox is the most that Limits.OutboxBytes may be.
const maxOutbox = 1 << 30

// via is what an outbox writes through where it has no descriptor of its own.
type via struct {
	conn   net.Conn
	tls    *tls.Conn // nil: plain
	cipher *ciphertext
}

func (o *outbox) limits() *Limits { return &o.c.g.limits }

func (o *outbox) drops() *dropMetrics { return &o.c.g.metrics.drops }

// put queues f, taking a reference of its own. first: nobody has promised a
// flush yet, so the caller must. over: there was no room, and the connection is
// to be cut.
func (o *outbox) put(f *frame) (first, over bool) {
	return o.take(f, o.limits().OutboxBytes, o.limits().OutboxFrames)
}

// reserved is the part of an outbox, one in so many, that what rooms say leaves
// free. A client that is behind has to hear what is for it alone, lest it be cut
// before it can catch up: answers and pongs, that it waits, acks of its other rooms.
const reserved = 8

// offer is put for what a room says. over: there was no room, and f is not
// queued; the session is behind.
func (o *outbox) offer(f *frame) (first, over bool) {
	l := o.limits()
	return o.take(f, l.OutboxBytes-l.OutboxBytes/reserved, l.OutboxFrames-l.OutboxFrames/reserved)
}

// take queues f within bounds. over: f is not queued.
func (o *outbox) take(f *frame, mostBytes, mostFrames int) (first, over bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sealed || o.dead {
		o.drops().closed.Inc()
		return false, false
	}
	if f.class == latest {
		if replaced, over := o.replace(f, mostBytes); replaced || over {
			return !over && o.promise(), over
		}
	}
	bytes, frames := int(o.bytes)+len(f.b), int(o.frames)+1
	if f.class == ephemeral && (bytes > o.limits().OutboxBytes/2 || frames > o.limits().OutboxFrames/2) {
		o.drops().ephemeral.Inc()
		return false, false
	}
	if bytes > mostBytes || frames > mostFrames {
		// One long frame may always go to a socket that has nothing waiting.
		if o.frames > 0 {
			o.drops().slow.Inc()
			return false, true
		}
	}
	o.push(f)
	return o.promise(), false
}

func (o *outbox) promise() bool {
	first := !o.promised
	o.promised = true
	return first
}

func (o *outbox) push(f *frame) {
	f.hold()
	if o.pend == nil {
		o.pend = o.few[:0]
	}
	o.pend = append(o.pend, f)
	o.bytes += int32(len(f.b))
	o.frames++
}

// replace puts f in the place of the unsent older frame of its slot. Where a
// frame that must be kept follows the older one, f may not pass that: the older
// one is given up, and f is still to be queued. over: there is no room for f in
// the older one's place, which stays.
func (o *outbox) replace(f *frame, mostBytes int) (replaced, over bool) {
	i, passes := o.older(f)
	if i < 0 {
		return false, false
	}
	if int(o.bytes)-len(o.pend[i].b)+len(f.b) > mostBytes && o.frames > 1 {
		o.drops().slow.Inc()
		return false, true
	}
	o.drops().latest.Inc()
	o.giveUp(i)
	if !passes {
		return false, false
	}
	f.hold()
	o.pend[i] = f
	o.bytes += int32(len(f.b))
	o.frames++
	return true, false
}

// older is where the frame of f's slot waits of which nothing is out yet, -1
// where none does. passes: no frame that must be kept follows it.
func (o *outbox) older(f *frame) (i int, passes bool) {
	passes = true
	for i := len(o.pend) - 1; i >= 0; i-- {
		switch old := o.pend[i]; {
		case old == nil:
		case old.class == latest && old.slot == f.slot:
			if i == 0 && o.off > 0 { // half of it is out
				return -1, false
			}
			return i, passes
		case old.class == kept && old.slot.handle == f.slot.handle:
			passes = false
		}
	}
	return -1, false
}

// giveUp drops the unsent frame at i.
func (o *outbox) giveUp(i int) {
	f := o.pend[i]
	o.pend[i] = nil
	o.bytes -= int32(len(f.b))
	o.frames--
	f.release()
}

// flush writes what waits, as far as the socket takes it now.
func (o *outbox) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.promised = false
	if o.draining || o.dead || !o.waits() {
		return
	}
	if o.direct && !o.writeNow() {
		return
	}
	o.draining = true
	o.c.drain()
}

// gather is what to write next: the first frame itself where it is alone,
// several in one otherwise. Valid until the outbox is used again, and where it is in
// a scratch, which is the caller's to drop, until that is dropped.
func (o *outbox) gather() (p []byte, s *scratch) {
	o.trim()
	if first := o.pend[0].b[o.off:]; o.frames == 1 || len(first) >= gatherMost {
		return first, nil
	}
	s = scratches.Get().(*scratch)
	p = append((*s)[:0], o.pend[0].b[o.off:]...)
	for _, f := range o.pend[1:] {
		if f == nil {
			continue
		}
		if len(p)+len(f.b) > gatherMost {
			break
		}
		p = append(p, f.b...)
	}
	return p, s
}

// trim takes frames that were given up from the front.
func (o *outbox) trim() {
	n := 0
	for n < len(o.pend) && o.pend[n] == nil {
		n++
	}
	o.shift(n)
}

// sent forgets n bytes that the socket took.
func (o *outbox) sent(n int) {
	o.bytes -= int32(n)
	done := 0
	for n > 0 {
		f := o.pend[done]
		if f == nil {
			done++
			continue
		}
		if left := len(f.b) - int(o.off); n < left {
			o.off += int32(n)
			break
		} else {
			n -= left
		}
		o.off = 0
		o.frames--
		f.release()
		done++
	}
	o.shift(done)
}

// keepSlots is how large an empty queue's array may stay.
const keepSlots = 16

func (o *outbox) shift(n int) {
	if n == 0 {
		return
	}
	left := copy(o.pend, o.pend[n:])
	clear(o.pend[left:])
	o.pend = o.pend[:left]
	if left == 0 && cap(o.pend) > keepSlots {
		o.pend = nil
	}
}

// seal queues the close frame, the last one. hurry gives up all that waits, but
// for a frame of which a part is out.
//
// False: another was first, or the socket is broken.
func (o *outbox) seal(f *frame, hurry bool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sealed || o.dead {
		return false
	}
	if hurry {
		for i, p := range o.pend {
			if p != nil && (i > 0 || o.off == 0) {
				o.giveUp(i)
			}
		}
	}
	o.push(f)
	o.sealed = true
	return true
}

// closing reports whether the connection's end has been decided.
func (o *outbox) closing() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sealed || o.dead
}

// failed reports whether the socket broke.
func (o *outbox) failed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.dead
}

// fail gives everything up: the socket is broken or closed.
func (o *outbox) fail() {
	o.dead = true
	for i, f := range o.pend {
		if f != nil {
			o.pend[i] = nil
			f.release()
		}
	}
	o.pend, o.off, o.bytes, o.frames = nil, 0, 0, 0
}

// close is fail for others.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fail()
}

// depth is what waits.
func (o *outbox) depth() (bytes, frames int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return int(o.bytes), int(o.frames)
}
