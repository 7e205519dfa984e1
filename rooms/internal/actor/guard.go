package actor

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
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

// At is where it panicked: the innermost call that is not the Go runtime's, as
// FUNCTION FILE:LINE.
func (p *Panic) At() string {
	lines := strings.Split(string(p.Stack), "\n")
	from := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "panic(") })
	for i := from + 2; from >= 0 && i+1 < len(lines); i += 2 {
		if strings.HasPrefix(lines[i], "runtime.") {
			continue
		}
		function := lines[i][:max(0, strings.LastIndexByte(lines[i], '('))]
		place, _, _ := strings.Cut(strings.TrimSpace(lines[i+1]), " ")
		return function + " " + place
	}
	return ""
}

// Calls is told when the room's code is called and when it is back, both by the
// goroutine that drives the room. Calls from within a call are one with it.
type Calls interface {
	Begin()
	// End reports false where the host has taken the room from this goroutine
	// meanwhile: it does nothing any more, and its Failure is ErrGivenUp.
	End() bool
}

// ErrGivenUp: a call of the room's code lasted too long.
var ErrGivenUp = errors.New("a call of the room's code did not return in time")

// Failure is not nil once a handler has panicked or was given up. The room does
// nothing any more: its host ends or restores it. It is a *Panic or ErrGivenUp.
func (r *Room) Failure() error { return r.failure }

// Poisoned names the input on which the handler panicked, where there is one.
// Put it into the Config of the copy that follows. After Calls.Begin and until
// the call is back, it names the input that the call is for, for whoever takes
// the room from its goroutine.
func (r *Room) Poisoned() (Poison, bool) { return r.blame, r.blamed }

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

// enter and guard frame every call into the handler: with the member and input
// that the call is for, if any, guard turns a panic into the room's failure.
// Calls from within a call (a Leave that a Kick brings) are left to the outer
// one. guard is deferred, and nothing around it.
func (r *Room) enter(m *member, n wire.Input) {
	if r.depth++; r.depth > 1 {
		return
	}
	r.blame, r.blamed = Poison{}, m != nil
	if m != nil {
		r.blame.Member, r.blame.N = m.id, n
		if n > 0 {
			r.blame.Instance = m.instance
		}
	}
	if r.cfg.Calls != nil {
		r.cfg.Calls.Begin()
	}
}

func (r *Room) guard() {
	r.depth--
	r.dirty = r.dirty || !r.starting
	if r.depth > 0 {
		return
	}
	v := recover()
	switch {
	case r.cfg.Calls != nil && !r.cfg.Calls.End():
		r.failure = ErrGivenUp
	case v != nil:
		r.failure = &Panic{Value: v, Stack: debug.Stack()}
	}
}

func (r *Room) onStart(why rooms.Start) {
	if r.starter == nil {
		return
	}
	r.starting = true
	defer func() { r.starting = false }()
	r.enter(nil, 0)
	defer r.guard()
	r.starter.Start(r, why)
}

func (r *Room) onStop() {
	if r.stopper == nil {
		return
	}
	r.enter(nil, 0)
	defer r.guard()
	r.stopper.Stop(r)
}

func (r *Room) onJoin(m *member, data []byte) error {
	r.enter(m, 0)
	defer r.guard()
	return r.handler.Join(r, m, data)
}

// onSync blames the join where the Sync is a new member's.
func (r *Room) onSync(m *member, joins bool) {
	if r.syncer == nil || m.gone {
		return
	}
	if joins {
		r.enter(m, 0)
	} else {
		r.enter(nil, 0)
	}
	defer r.guard()
	r.syncer.Sync(r, m)
}

func (r *Room) onInput(m *member, n wire.Input, payload []byte) {
	r.enter(m, n)
	defer r.guard()
	r.handler.Input(r, m, payload)
}

// onLeave blames input n, or nobody where n is 0.
func (r *Room) onLeave(m *member, why rooms.Reason, n wire.Input) {
	if n > 0 {
		r.enter(m, n)
	} else {
		r.enter(nil, 0)
	}
	defer r.guard()
	r.handler.Leave(r, m, why)
}

func (r *Room) onDropped(m *member) {
	if r.dropper == nil || m.gone {
		return
	}
	r.enter(nil, 0)
	defer r.guard()
	r.dropper.Dropped(r, m)
}

func (r *Room) onBack(m *member) {
	if r.dropper == nil || m.gone {
		return
	}
	r.enter(nil, 0)
	defer r.guard()
	r.dropper.Back(r, m)
}

func (r *Room) onTick(dt time.Duration) {
	r.enter(nil, 0)
	defer r.guard()
	r.ticker.Tick(r, dt)
}

func (r *Room) onDurable(f func()) {
	r.enter(nil, 0)
	defer r.guard()
	f()
}

func (r *Room) onTimer(name string) {
	if r.timed == nil {
		return
	}
	r.enter(nil, 0)
	defer r.guard()
	r.timed.Timer(r, name)
}
