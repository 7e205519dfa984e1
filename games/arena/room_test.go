package arena

import (
	"encoding/json"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/limpet-games/limpet/rooms"
)

// stage is a room without a host: it keeps what the handler sends.
type stage struct {
	pool    *pool
	rnd     *rand.Rand
	members []*actor
	labels  map[string]string
	labeled int
	quiet   bool // count latest frames instead of keeping them
	latest  []byte
	frames  int
}

// actor is a member on a stage.
type actor struct {
	s    *stage
	id   rooms.MemberID
	away bool
	got  []map[string]any
}

func newStage() *stage {
	s := &stage{pool: newPool(), rnd: rand.New(rand.NewPCG(3, 4))}
	s.pool.Start(s, rooms.Start{Why: rooms.Created})
	return s
}

// enter joins a member; an empty error means that it is in.
func (s *stage) enter(id rooms.MemberID, data string) (*actor, error) {
	a := &actor{s: s, id: id}
	s.members = append(s.members, a)
	if err := s.pool.Join(s, a, []byte(data)); err != nil {
		s.members = s.members[:len(s.members)-1]
		return nil, err
	}
	s.pool.Sync(s, a)
	return a, nil
}

func (s *stage) leave(a *actor) {
	s.pool.Leave(s, a, rooms.Left)
	s.members = slices.DeleteFunc(s.members, func(m *actor) bool { return m == a })
}

func (s *stage) ticks(n int) {
	for range n {
		s.pool.Tick(s, time.Second/TickRate)
	}
}

func (a *actor) player() *Player { return a.s.pool.state.player(a.id) }

// steps sends n steps in one direction, numbered on from the last.
func (a *actor) steps(n int, dx, dy int8, dash bool) {
	for range n {
		a.s.pool.Input(a.s, a, stepInput(a.player().Step+1, dx, dy, dash))
	}
}

// last is the newest event of a kind that a member got, or nil.
func (a *actor) last(t string) map[string]any {
	for _, e := range slices.Backward(a.got) {
		if e["t"] == t {
			return e
		}
	}
	return nil
}

func (a *actor) ID() rooms.MemberID { return a.id }
func (a *actor) User() string       { return "" }
func (a *actor) Claims() []byte     { return nil }
func (a *actor) Seat() string       { return "" }
func (a *actor) Connected() bool    { return !a.away }

func (a *actor) Send(p []byte)             { audience{a.s, []*actor{a}}.Send(p) }
func (a *actor) Latest(k uint32, p []byte) { audience{a.s, []*actor{a}}.Latest(k, p) }
func (a *actor) Ephemeral([]byte)          {}

type audience struct {
	s  *stage
	to []*actor
}

func (u audience) Send(p []byte) {
	for _, a := range u.to {
		var e map[string]any
		if err := json.Unmarshal(p, &e); err != nil {
			panic(err)
		}
		a.got = append(a.got, e)
	}
}

func (u audience) Latest(_ uint32, p []byte) {
	u.s.frames++
	u.s.latest = append(u.s.latest[:0], p...)
}

func (u audience) Ephemeral([]byte) {}

func (s *stage) Kind() string     { return "arena" }
func (s *stage) Name() string     { return "stage" }
func (s *stage) Now() time.Time   { return time.Time{} }
func (s *stage) Rand() *rand.Rand { return s.rnd }
func (s *stage) Log() *slog.Logger {
	return slog.New(slog.DiscardHandler)
}

func (s *stage) Members(yield func(rooms.Member) bool) {
	for _, a := range s.members {
		if !yield(a) {
			return
		}
	}
}

func (s *stage) Member(id rooms.MemberID) rooms.Member {
	for _, a := range s.members {
		if a.id == id {
			return a
		}
	}
	return nil
}

func (s *stage) Len() int { return len(s.members) }

// all is kept as one value so that a tick's own allocations can be counted.
func (s *stage) All() rooms.Audience {
	if s.quiet {
		return silence
	}
	return audience{s, s.members}
}

func (s *stage) AllBut(m rooms.Member) rooms.Audience {
	return audience{s, slices.DeleteFunc(slices.Clone(s.members), func(a *actor) bool { return rooms.Member(a) == m })}
}

func (s *stage) Only(m ...rooms.Member) rooms.Audience {
	var to []*actor
	for _, x := range m {
		to = append(to, x.(*actor))
	}
	return audience{s, to}
}

func (s *stage) Durable(func())                 {}
func (s *stage) SetTimer(string, time.Duration) {}
func (s *stage) StopTimer(string)               {}
func (s *stage) Labels() map[string]string      { return maps.Clone(s.labels) }
func (s *stage) SetLabels(l map[string]string)  { s.labels, s.labeled = maps.Clone(l), s.labeled+1 }
func (s *stage) SetLocked(bool)                 {}
func (s *stage) SetPrivate(bool)                {}
func (s *stage) Kick(rooms.Member, string)      {}
func (s *stage) Close(string)                   {}

type muted struct{}

func (muted) Send([]byte)           {}
func (muted) Latest(uint32, []byte) {}
func (muted) Ephemeral([]byte)      {}

var silence rooms.Audience = muted{}
