// Package redis puts the Redis of a playing cluster into every kind of trouble,
// with real processes, and holds what members are told against the promises of
// docs/durability.md.
package redis

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/limpet-games/limpet/e2e/check"
	"github.com/limpet-games/limpet/e2e/ledger"
	"github.com/limpet-games/limpet/wire"
)

// slack is what a busy machine may add to a promised time.
const slack = 2 * time.Second

// short is how long most troubles last: longer than the time after which rooms go
// on without a lease.
const short = 2500 * time.Millisecond

// trouble is something that keeps Redis from taking writes.
type trouble struct {
	name       string
	lasts      time.Duration
	begin, end func(ctx context.Context, s *stage) error
}

var troubles = []trouble{
	{
		"killed", short,
		func(_ context.Context, s *stage) error { s.c.Redis.Signal(syscall.SIGKILL); return nil },
		func(ctx context.Context, s *stage) error { return s.c.StartRedis(ctx) },
	},
	{
		"stopped", stopped(),
		func(_ context.Context, s *stage) error { s.c.Redis.Signal(syscall.SIGSTOP); return nil },
		func(_ context.Context, s *stage) error { s.c.Redis.Signal(syscall.SIGCONT); return nil },
	},
	{
		"read-only", short,
		func(ctx context.Context, s *stage) error { return s.redis.ReplicaOf(ctx, "127.0.0.1", "1").Err() },
		func(ctx context.Context, s *stage) error { return s.redis.ReplicaOf(ctx, "NO", "ONE").Err() },
	},
	{
		"short of replicas", short,
		func(ctx context.Context, s *stage) error {
			return s.redis.ConfigSet(ctx, "min-replicas-to-write", "1").Err()
		},
		func(ctx context.Context, s *stage) error {
			return s.redis.ConfigSet(ctx, "min-replicas-to-write", "0").Err()
		},
	},
	{
		"out of memory", short,
		func(ctx context.Context, s *stage) error { return s.redis.ConfigSet(ctx, "maxmemory", "1mb").Err() },
		func(ctx context.Context, s *stage) error { return s.redis.ConfigSet(ctx, "maxmemory", "0").Err() },
	},
}

// stopped is how long Redis stands still: longer than any lease or patience.
func stopped() time.Duration {
	if os.Getenv("LIMPET_SOAK") != "" {
		return 30 * time.Second
	}
	return 4 * time.Second
}

func TestRedisInTrouble(t *testing.T) {
	s := open(t)
	s.coldRoom(t.Context(), t, "cold-for-long")
	cold := time.Now()
	for _, tr := range troubles {
		if !t.Run(tr.name, func(t *testing.T) { s.endure(t, tr) }) {
			return
		}
	}
	pause(t.Context(), time.Until(cold.Add(11*time.Second))) // hosts keep what they wrote for 10 s
	if t.Run("flushed", s.flushed) {
		t.Run("failed over with lost writes", s.lostWrites)
	}
}

// endure puts Redis into trouble while everybody plays, and out of it.
func (s *stage) endure(t *testing.T, tr trouble) {
	ctx, cancel := context.WithTimeout(t.Context(), tr.lasts+time.Minute)
	defer cancel()
	began := time.Now()
	if err := tr.begin(ctx, s); err != nil {
		t.Fatal(err)
	}
	ended := false
	defer func() {
		if !ended { // the next test needs it
			tr.end(context.WithoutCancel(ctx), s)
		}
	}()
	s.told(t, false, began, time.Second)
	durable := s.durable()
	s.joinsWork(ctx, t)
	var asking sync.WaitGroup
	asking.Go(func() { s.newRoomsWait(ctx, t) })
	defer asking.Wait()
	pause(ctx, time.Until(began.Add(tr.lasts)))
	s.playsOn(t, "checkpoint", began)
	s.playsOn(t, "degrading", began)
	s.standsStill(t, "journal", began)
	for p, before := range durable {
		if now := p.Room.Status().Durable; now != before {
			t.Errorf("%s of %s: durable went from %d to %d without a store", p.Name, p.RoomName, before, now)
		}
	}
	ended = true
	mended := time.Now()
	if err := tr.end(ctx, s); err != nil {
		t.Fatal(err)
	}
	s.told(t, true, mended, 3*time.Second)
	s.caughtUp(ctx, t)
	t.Logf("all inputs up to the end were durable %.2f s after it", time.Since(mended).Seconds())
}

// joinsWork takes a new member into a live room.
func (s *stage) joinsWork(ctx context.Context, t *testing.T) {
	t.Helper()
	r, err := s.guest.Join(ctx, wire.ModeJoin, "ledger", s.fleets["checkpoint"].Players[0].RoomName, nil)
	if err != nil {
		t.Fatalf("join of a live room: %v", err)
	}
	if err := r.Leave(ctx); err != nil {
		t.Error(err)
	}
}

// newRoomsWait asks for a room that is nowhere: nobody can say that it is new,
// unless the store is back before the asker's time is over.
func (s *stage) newRoomsWait(ctx context.Context, t *testing.T) {
	began := time.Now()
	_, err := s.guest.Join(ctx, wire.ModeJoinOrCreate, "ledger", filepath.Base(t.Name()), nil)
	if err == nil {
		t.Logf("a new room started after %.2f s", time.Since(began).Seconds())
		return
	}
	e, ok := errors.AsType[*wire.Error](err)
	if !ok || e.Code < 200 || e.Code > 299 || e.Text == "" {
		t.Errorf("a new room without a store: %v, want an error that may be tried again", err)
		return
	}
	t.Logf("a new room is answered after %.2f s: %v", time.Since(began).Seconds(), e)
}

// flushed empties Redis: live rooms are saved again, and rooms that were in
// nobody's memory are not made anew in silence.
func (s *stage) flushed(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s.coldRoom(ctx, t, "cold-just-now")
	before := s.saved(ctx, t)
	began := time.Now()
	if err := s.redis.FlushAll(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	for now := s.saved(ctx, t); len(now) < len(s.rooms()); now = s.saved(ctx, t) {
		if time.Since(began) > 2*time.Second+slack {
			t.Fatalf("%d of %d rooms are saved again %s after the flush", len(now), len(s.rooms()), time.Since(began))
		}
		pause(ctx, 20*time.Millisecond)
	}
	t.Logf("%d rooms were saved again %.2f s after the flush", len(s.rooms()), time.Since(began).Seconds())
	for room, now := range s.saved(ctx, t) {
		if now.epoch < before[room].epoch {
			t.Errorf("%s: the epoch went from %d to %d", room, before[room].epoch, now.epoch)
		}
	}
	_, err := s.guest.Join(ctx, wire.ModeJoinOrCreate, "ledger-brief", "cold-for-long", nil)
	if e, ok := errors.AsType[*wire.Error](err); !ok || e.Code != wire.CodeStateLost {
		t.Errorf("a room that the store lost: %v, want %v", err, wire.CodeStateLost)
	}
	r, err := s.guest.Join(ctx, wire.ModeJoin, "ledger-brief", "cold-just-now", nil)
	if err != nil {
		t.Errorf("a room that has just left memory: %v, want it back as it was", err)
	} else if err := r.Leave(ctx); err != nil {
		t.Error(err)
	}
	s.caughtUp(ctx, t)
}

// coldRoom plays in a room and lets it leave memory.
func (s *stage) coldRoom(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	r, err := s.guest.Join(ctx, wire.ModeCreate, "ledger-brief", name, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Send([]byte(`{"c":"guest","n":1}`)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Settle(ctx), r.Leave(ctx)); err != nil {
		t.Fatal(err)
	}
	for s.live(ctx, t)["ledger-brief/"+name] {
		pause(ctx, 20*time.Millisecond)
	}
}

// lostWrites has Redis come back as it was some seconds ago, as after a failover
// to a replica that lagged. What was confirmed since is written again; then all
// hosts die, and nobody is left who could send anything again.
func (s *stage) lostWrites(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	s.restartRedis(ctx, t, s.keepCopy)
	pause(ctx, 2*time.Second) // something to lose
	s.stopPlaying()
	for _, f := range s.fleets {
		if err := f.Settle(ctx); err != nil {
			t.Fatal(err)
		}
	}
	before := s.saved(ctx, t)
	s.restartRedis(ctx, t, s.useCopy)
	back := time.Now()
	behind := func() (rooms []string) {
		now := s.saved(ctx, t)
		for room, was := range before {
			if now[room].before(was) {
				rooms = append(rooms, room)
			}
		}
		return rooms
	}
	lost := len(behind())
	for left := behind(); len(left) > 0; left = behind() {
		if time.Since(back) > 2*time.Second+slack {
			t.Fatalf("%d rooms are not saved again %s after Redis came back: %v", len(left), time.Since(back), left)
		}
		pause(ctx, 20*time.Millisecond)
	}
	t.Logf("of %d rooms, %d were seen to be behind; all were saved again %.2f s after Redis was back",
		len(before), lost, time.Since(back).Seconds())
	s.judge(ctx, t)
}

// judge kills all hosts and holds what they bring back against what members saw.
func (s *stage) judge(ctx context.Context, t *testing.T) {
	for _, f := range s.fleets {
		f.Close()
	}
	for _, h := range s.c.Hosts {
		h.Signal(syscall.SIGKILL)
	}
	for _, h := range s.c.Hosts {
		if err := h.Start(); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range s.c.Hosts {
		if err := h.Ready(ctx); err != nil {
			t.Fatal(err)
		}
	}
	var all check.History
	for _, f := range s.fleets {
		var books map[string]ledger.Book
		books, err := f.Books(ctx)
		if err != nil {
			t.Fatal(err)
		}
		h := f.History(books)
		all.Records, all.Rooms = append(all.Records, h.Records...), append(all.Rooms, h.Rooms...)
	}
	v := check.Judge(all)
	v.Print(t.Output())
	if len(v.Problems) > 0 {
		t.Errorf("%d promises were broken", len(v.Problems))
	}
	if v.Rewinds > 0 {
		t.Errorf("%d members were rewound although no host died", v.Rewinds)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
