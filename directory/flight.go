package directory

import (
	"context"
	"sync"
	"time"

	"github.com/limpet-games/limpet/wire"
)

// flights lets those who ask for one room at the same time share one search.
// A search runs in a goroutine of its own and outlives whoever started it.
type flights struct {
	most    int           // rooms being searched
	waiters int           // askers of one search
	within  time.Duration // bound on one search

	ctx    context.Context // ends with the owner
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	closed bool                    // guarded by mu
	m      map[wire.RoomID]*flight // guarded by mu
}

type flight struct {
	req  Request
	done chan struct{}

	waiting int // guarded by flights.mu

	// Set before done is closed.
	loc Location
	err error
}

func newFlights(most, waiters int, within time.Duration) *flights {
	f := &flights{most: most, waiters: waiters, within: within, m: map[wire.RoomID]*flight{}}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f
}

// end cancels all searches and waits for them.
func (f *flights) end() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.cancel()
	f.wg.Wait()
}

func (f *flights) len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.m)
}

// errAgain says that a search ended which was not the asker's own kind of
// search: it looks again.
var errAgain = wire.Refuse(wire.CodeBusy, "another search for the room has just ended")

// do shares or starts the search for req.Room. It answers errAgain where the
// search that it waited for does not answer req.
func (f *flights) do(ctx context.Context, req Request, search func(context.Context) (Location, error)) (Location, error) {
	fl, mine, err := f.board(req)
	if err != nil {
		return Location{}, err
	}
	if mine {
		go f.fly(fl, search)
	}
	select {
	case <-ctx.Done():
		f.leave(fl)
		return Location{}, wire.Refuse(wire.CodeTimeout, "locate room: "+ctx.Err().Error())
	case <-fl.done:
	}
	if mine || fl.answers(req) {
		return fl.loc, fl.err
	}
	return Location{}, errAgain
}

// board finds or makes the flight of a room.
func (f *flights) board(req Request) (fl *flight, mine bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, false, wire.Refuse(wire.CodeUnavailable, "this node is stopping")
	}
	if fl := f.m[req.Room]; fl != nil {
		if fl.waiting >= f.waiters {
			return nil, false, &wire.Error{Code: wire.CodeBusy, RetryMS: 200, Text: "too many wait for the room"}
		}
		fl.waiting++
		return fl, false, nil
	}
	if len(f.m) >= f.most {
		return nil, false, &wire.Error{Code: wire.CodeBusy, RetryMS: 200, Text: "too many rooms are being looked for"}
	}
	fl = &flight{req: req, done: make(chan struct{}), waiting: 1}
	f.m[req.Room] = fl
	f.wg.Add(1)
	return fl, true, nil
}

func (f *flights) fly(fl *flight, search func(context.Context) (Location, error)) {
	defer f.wg.Done()
	ctx, cancel := context.WithTimeout(f.ctx, f.within)
	defer cancel()
	fl.loc, fl.err = search(ctx)
	f.mu.Lock()
	delete(f.m, fl.req.Room)
	f.mu.Unlock()
	close(fl.done)
}

func (f *flights) leave(fl *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl.waiting--
}

// answers reports whether the flight's result is one for req too. Of those
// who create a room at once only one may hear that it did.
func (fl *flight) answers(req Request) bool {
	if req.Mode == wire.ModeCreate || fl.req.Mode == wire.ModeCreate {
		return false
	}
	if fl.err == nil {
		return usable(fl.loc, req)
	}
	// Who would take less, and more places, had no answer either.
	return fl.req.Mode == req.Mode && fl.req.After <= req.After && (fl.req.Not == "" || fl.req.Not == req.Not)
}

// usable reports whether a location may be answered to a request.
func usable(loc Location, req Request) bool {
	return loc.Epoch > req.After && loc.Node != req.Not
}
