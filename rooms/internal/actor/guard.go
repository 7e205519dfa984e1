package actor

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
)

// Poison names an input on which the handler panicked. N 0 is the join.
type Poison struct {
	Member   wire.MemberID
	Instance wire.Instance
	N        wire.Input
}

// Panic is the error of a room whose handler panicked.
type Panic struct {
	Value any
	Stack []byte
}

// Error is the panic's value. The stack is for the log.
func (p *Panic) Error() string { return fmt.Sprintf("handler panicked: %v", p.Value) }

// Failure is not nil once a handler has panicked. The room does nothing any
// more: its host ends or restores it. It is a *Panic.
func (r *Room) Failure() error { return r.failure }

// Poisoned names the input on which the handler panicked, where there is one.
// Put it into the Config of the copy that follows.
func (r *Room) Poisoned() (Poison, bool) {
	if r.culprit == nil {
		return Poison{}, false
	}
	return *r.culprit, true
}

// maxPoison bounds the inputs that a room remembers to pass over; the oldest
// goes.
const maxPoison = 64

func (r *Room) addPoison(p Poison) {
	for _, q := range r.poison {
		if q == p {
			return
		}
	}
	if len(r.poison) == maxPoison {
		r.poison = append(r.poison[:0], r.poison[1:]...)
	}
	r.poison = append(r.poison, p)
	r.dirty = true
}

// isPoison says whether an input is to be passed over.
func (r *Room) isPoison(p Poison) bool {
	for _, q := range r.poison {
		if q == p {
			return true
		}
	}
	return false
}

// forgetPoison drops what is known of a member that is gone; its join stays
// poisoned.
func (r *Room) forgetPoison(id wire.MemberID) {
	kept := r.poison[:0]
	for _, q := range r.poison {
		if q.Member != id || q.N == 0 {
			kept = append(kept, q)
		}
	}
	r.poison = kept
}

// enter and guard frame every call into the handler: deferred with the input
// that the call is for, guard turns a panic into the room's failure. Calls
// from within a call (a Leave that a Kick brings) are left to the outer one.
func (r *Room) enter() { r.depth++ }

func (r *Room) guard(blame *member, n wire.Input) {
	r.depth--
	r.dirty = true
	if r.depth > 0 {
		return
	}
	v := recover()
	if v == nil {
		return
	}
	r.failure = &Panic{Value: v, Stack: debug.Stack()}
	if blame != nil {
		r.culprit = &Poison{Member: blame.id, Instance: blame.instance, N: n}
		if n == 0 {
			r.culprit.Instance = wire.Instance{}
		}
	}
}

func (r *Room) onStart(why rooms.Start) {
	if r.starter == nil {
		return
	}
	r.enter()
	defer r.guard(nil, 0)
	r.starter.Start(r, why)
}

func (r *Room) onStop() {
	if r.stopper == nil {
		return
	}
	r.enter()
	defer r.guard(nil, 0)
	r.stopper.Stop(r)
}

func (r *Room) onJoin(m *member, data []byte) error {
	r.enter()
	defer r.guard(m, 0)
	return r.handler.Join(r, m, data)
}

// onSync blames the join where the Sync is a new member's.
func (r *Room) onSync(m *member, joins bool) {
	if r.syncer == nil || m.gone {
		return
	}
	r.enter()
	if joins {
		defer r.guard(m, 0)
	} else {
		defer r.guard(nil, 0)
	}
	r.syncer.Sync(r, m)
}

func (r *Room) onInput(m *member, n wire.Input, payload []byte) {
	r.enter()
	defer r.guard(m, n)
	r.handler.Input(r, m, payload)
}

// onLeave blames input n, or nobody where n is 0.
func (r *Room) onLeave(m *member, why rooms.Reason, n wire.Input) {
	r.enter()
	if n > 0 {
		defer r.guard(m, n)
	} else {
		defer r.guard(nil, 0)
	}
	r.handler.Leave(r, m, why)
}

func (r *Room) onDropped(m *member) {
	if r.dropper == nil || m.gone {
		return
	}
	r.enter()
	defer r.guard(nil, 0)
	r.dropper.Dropped(r, m)
}

func (r *Room) onBack(m *member) {
	if r.dropper == nil || m.gone {
		return
	}
	r.enter()
	defer r.guard(nil, 0)
	r.dropper.Back(r, m)
}

func (r *Room) onTick(dt time.Duration) {
	r.enter()
	defer r.guard(nil, 0)
	r.ticker.Tick(r, dt)
}

func (r *Room) onDurable(f func()) {
	r.enter()
	defer r.guard(nil, 0)
	f()
}

func (r *Room) onTimer(name string) {
	if r.timed == nil {
		return
	}
	r.enter()
	defer r.guard(nil, 0)
	r.timed.Timer(r, name)
}
