package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/limpet-games/limpet/internal/daemon"
	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/rooms/internal/actor"
	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/snapshot/redisstore"
	"github.com/limpet-games/limpet/snapshot/sqlitestore"
	"github.com/limpet-games/limpet/wire"
)

// offline is what a room host's program does beside hosting, told by its first
// argument.
var offline = map[string]func(program string, args []string, out, errOut io.Writer, kinds map[string]rooms.Kind) int{
	"rehearse": rehearse,
	"replay":   replay,
	"describe": describe,
}

// runOffline runs one of them, if that is what the arguments ask for.
func runOffline(program string, args []string, out, errOut io.Writer, kinds []rooms.Kind) (status int, ran bool) {
	if len(args) == 0 || offline[args[0]] == nil {
		return 0, false
	}
	served := map[string]rooms.Kind{}
	for _, k := range kinds {
		k, err := k.Checked()
		if err != nil {
			fmt.Fprintf(errOut, "%s %s: %v\n", program, args[0], err)
			return daemon.ExitUsage, true
		}
		served[k.Name] = k
	}
	return offline[args[0]](program+" "+args[0], args[1:], out, errOut, served), true
}

// openStored opens a store to read it. A directory has to hold one.
func (s *storeFlags) openStored(ctx context.Context) (snapshot.Store, error) {
	store, err := s.openStoredPlain(ctx)
	if err != nil {
		return nil, err
	}
	opened, err := s.sealed(store)
	if err != nil {
		return nil, errors.Join(err, store.Shut())
	}
	return opened, nil
}

func (s *storeFlags) openStoredPlain(ctx context.Context) (snapshot.Store, error) {
	if s.dir == "" {
		return redisstore.New(s.redis, redisstore.Config{MaxBytes: s.maxBytes, AllowEviction: true})
	}
	if _, err := os.Stat(filepath.Join(s.dir, sqlitestore.FileName)); err != nil {
		return nil, fmt.Errorf("no store in %s: %w", s.dir, err)
	}
	return sqlitestore.OpenReadOnly(ctx, s.dir, sqlitestore.Config{MaxBytes: s.maxBytes})
}

const (
	rehearsePage = 128              // rooms loaded at a time
	rehearseCall = 30 * time.Second // bound on a call of the store
)

// rehearsal is one room's line.
type rehearsal struct {
	Room    wire.RoomID `json:"room"`
	OK      bool        `json:"ok"`
	Error   string      `json:"error,omitempty"`
	Warning string      `json:"warning,omitempty"`
	Version uint32      `json:"state_version"`
	Bytes   int         `json:"bytes"`
	Entries int         `json:"journal_entries,omitempty"`
}

// rehearse loads every room of a store into this program, without claiming or
// writing anything.
func rehearse(program string, args []string, out, errOut io.Writer, kinds map[string]rooms.Kind) int {
	var s storeFlags
	var asJSON, others bool
	f := daemon.NewFlags(program, "Loads every room of a store into this program, read only, and says which would not load. Exits with 1 if any. "+
		"limpet rehearse --roomd PACKAGE-OR-BINARY does it in another program, as in that of your own game.")
	f.Out, f.Err = out, errOut
	s.register(f)
	f.Bool(&asJSON, "json", "print a JSON line for each room")
	f.Bool(&others, "other-kinds", "pass over rooms of kinds that this program does not serve")
	if status, ok := f.Parse(args); !ok {
		return status
	}
	if err := s.check(); err != nil {
		return f.Bad(err)
	}
	store, err := s.openStored(context.Background())
	if err != nil {
		return f.Bad(err)
	}
	defer store.Shut()
	all, bad, passed := 0, 0, 0
	err = eachStored(context.Background(), store, func(room wire.RoomID, l snapshot.LoadResult) error {
		k, served := kinds[room.Kind()]
		if !served && others {
			passed++
			return nil
		}
		all++
		r := rehearseRoom(k, served, room, l)
		if !r.OK {
			bad++
		}
		return r.print(out, asJSON)
	})
	if err != nil {
		fmt.Fprintf(errOut, "%s: %v\n", program, err)
		return 1
	}
	if !asJSON {
		fmt.Fprintf(out, "%d rooms, %d would not load, %d of other kinds passed over\n", all, bad, passed)
	}
	if bad > 0 {
		return 1
	}
	return 0
}

func (r rehearsal) print(out io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(r)
	}
	var err error
	if !r.OK {
		_, err = fmt.Fprintf(out, "%s would not load: %s\n", r.Room, r.Error)
	} else if r.Warning != "" {
		_, err = fmt.Fprintf(out, "%s loads, but %s\n", r.Room, r.Warning)
	}
	return err
}

// eachStored calls f for each open room of a store, once.
func eachStored(ctx context.Context, store snapshot.Store, f func(wire.RoomID, snapshot.LoadResult) error) error {
	seen := map[wire.RoomID]bool{}
	for cursor := ""; ; {
		ctx, cancel := context.WithTimeout(ctx, rehearseCall)
		page, next, err := store.List(ctx, cursor, rehearsePage)
		var ids []wire.RoomID
		for _, e := range page {
			if !e.Closed && !seen[e.Claim.Room] {
				seen[e.Claim.Room] = true
				ids = append(ids, e.Claim.Room)
			}
		}
		var loaded []snapshot.LoadResult
		if err == nil {
			loaded, err = store.Load(ctx, ids)
		}
		cancel()
		if err != nil {
			return err
		}
		for i, l := range loaded {
			if l.Closed || errors.Is(l.Err, snapshot.ErrNoRoom) {
				continue // it ended meanwhile
			}
			if err := f(ids[i], l); err != nil {
				return err
			}
		}
		if cursor = next; cursor == "" {
			return nil
		}
	}
}

func rehearseRoom(k rooms.Kind, served bool, room wire.RoomID, l snapshot.LoadResult) rehearsal {
	r := rehearsal{Room: room, Bytes: len(l.Data), Entries: len(l.Journal.Entries)}
	if h, err := snapshot.ReadHeader(l.Data); err == nil {
		r.Version = h.StateVersion
	}
	err := l.Err
	if err == nil && !served {
		err = errors.New("its kind is not served by this program")
	}
	if err == nil && k.Durability != rooms.None() {
		var a *actor.Room
		if a, err = loadStored(k, room, l, nil); err == nil {
			if _, _, err = a.Encode(); err != nil {
				err = fmt.Errorf("its state can't be saved again: %w", err)
			}
			if err == nil {
				err = a.CheckOlder()
			}
			if why := a.Diverged(); why != "" {
				r.Warning = "its journal goes another way here (members would be told of a rewind): " + why
			}
		}
	}
	if r.OK = err == nil; !r.OK {
		r.Error = err.Error()
	}
	return r
}

// loadStored makes a room of what a store holds, which goes no further.
func loadStored(k rooms.Kind, room wire.RoomID, l snapshot.LoadResult, trace func(actor.Entry, *actor.Room)) (a *actor.Room, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	cfg := actor.Config{
		Kind: k, Room: room, Incarnation: l.Claim.Incarnation, Epoch: l.Claim.Epoch + 1, Host: "offline",
		Journal: l.Journal.Entries, JournalBase: l.Journal.Base, Offline: true, Trace: trace,
	}
	if _, cfg.Poisoned, err = readNote(l.Note); err != nil {
		return nil, err
	}
	if l.Data != nil {
		head, state, err := snapshot.Decode(l.Data, k.Name, 0)
		if err != nil {
			return nil, err
		}
		at, body, err := openState(state)
		if err != nil {
			return nil, err
		}
		cfg.Saved, cfg.Age, cfg.StateVersion = body, max(0, time.Since(at)), head.StateVersion
	}
	return actor.New(cfg, time.Now())
}

// step is one line of a replay.
type step struct {
	Event string    `json:"event"`
	Entry uint64    `json:"entry,omitempty"`
	At    time.Time `json:"at"`
	Tick  uint64    `json:"tick,omitempty"`
	Seq   wire.Seq  `json:"seq"` // of the last message before it

	Member  wire.MemberID   `json:"member,omitempty"`
	Members []wire.MemberID `json:"members,omitempty"`
	User    string          `json:"user,omitempty"`
	N       wire.Input      `json:"n,omitempty"`
	Count   uint64          `json:"count,omitempty"`
	Epoch   wire.Epoch      `json:"epoch,omitempty"`
	Data    any             `json:"data,omitempty"`
	State   any             `json:"state,omitempty"` // before it
}

// errFar ends a replay that has come far enough.
var errFar = errors.New("far enough")

// errNotServed is about a room of a kind that this program does not know.
func errNotServed(kind string, kinds map[string]rooms.Kind) error {
	return fmt.Errorf("kind %s is not served by this program, which serves %s; --roomd of limpet names another",
		kind, strings.Join(slices.Sorted(maps.Keys(kinds)), ", "))
}

// replay runs a room's journal from its checkpoint on, and prints each event.
func replay(program string, args []string, out, errOut io.Writer, kinds map[string]rooms.Kind) int {
	var s storeFlags
	var states, ticks bool
	to := 0
	f := daemon.NewFlags(program, "Runs the journal of a room in this program, from its checkpoint on, and prints each event as a JSON line. Nothing is written. "+
		"limpet replay --roomd PACKAGE-OR-BINARY does it in another program, as in that of your own game.")
	f.Operands("KIND/ROOM", 1, 1)
	f.Out, f.Err = out, errOut
	s.register(f)
	f.Int(&to, "to", 0, 0, 1<<53, "stop when the room's message of this number was sent, which has to be in the journal; 0: at its end")
	f.Bool(&states, "state", "print the handler's state ahead of each event")
	f.Bool(&ticks, "ticks", "print ticks, too")
	if status, ok := f.Parse(args); !ok {
		return status
	}
	if err := s.check(); err != nil {
		return f.Bad(err)
	}
	room, err := wire.ParseRoom(f.Args()[0])
	if err != nil {
		return f.Bad(err)
	}
	k, served := kinds[room.Kind()]
	if !served {
		return f.Bad(errNotServed(room.Kind(), kinds))
	}
	store, err := s.openStored(context.Background())
	if err != nil {
		return f.Bad(err)
	}
	defer store.Shut()
	p := replayer{out: json.NewEncoder(out), states: states, ticks: ticks, to: wire.Seq(to)}
	if err := p.run(store, k, room); err != nil {
		fmt.Fprintf(errOut, "%s: %v\n", program, err)
		return 1
	}
	return 0
}

type replayer struct {
	out           *json.Encoder
	states, ticks bool
	to            wire.Seq
	began         bool // an entry or tick was seen
}

func (p *replayer) run(store snapshot.Store, k rooms.Kind, room wire.RoomID) error {
	ctx, cancel := context.WithTimeout(context.Background(), rehearseCall)
	defer cancel()
	loaded, err := store.Load(ctx, []wire.RoomID{room})
	if err == nil {
		err = loaded[0].Err
	}
	if err != nil {
		return fmt.Errorf("load room %s: %w", room, err)
	}
	a, err := p.replay(k, room, loaded[0])
	if errors.Is(err, errFar) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("replay room %s: %w", room, err)
	}
	if err := p.reached(room, a); err != nil {
		return err
	}
	if err := p.out.Encode(p.end(a)); err != nil {
		return err
	}
	if why := a.Diverged(); why != "" {
		return fmt.Errorf("the replay went another way %s", why)
	}
	return nil
}

// reached says why a replay of all there is did not come to the message that was
// asked for.
func (p *replayer) reached(room wire.RoomID, a *actor.Room) error {
	if !p.began {
		if err := p.before(a); err != nil {
			return fmt.Errorf("replay room %s: %w", room, err)
		}
	}
	if p.to > a.Sequence() && a.Diverged() == "" {
		return fmt.Errorf("replay room %s: it ends after message %d, --to asks for %d", room, a.Sequence(), p.to)
	}
	return nil
}

// before refuses what was sent ahead of the checkpoint: where a replay begins.
func (p *replayer) before(r *actor.Room) error {
	if p.to > 0 && p.to < r.Sequence() {
		return fmt.Errorf("its journal begins after message %d, --to asks for %d: the checkpoint is newer", r.Sequence(), p.to)
	}
	return nil
}

// replay stops showing where it has come far enough.
func (p *replayer) replay(k rooms.Kind, room wire.RoomID, l snapshot.LoadResult) (*actor.Room, error) {
	var failed error
	a, err := loadStored(k, room, l, func(e actor.Entry, r *actor.Room) {
		if !p.began {
			p.began, failed = true, p.before(r)
		}
		switch {
		case failed != nil:
		case p.to > 0 && e.Seq >= p.to:
			failed = errors.Join(p.out.Encode(p.end(r)), errFar)
		default:
			failed = p.show(e, r)
		}
	})
	return a, errors.Join(failed, err)
}

func (p *replayer) show(e actor.Entry, r *actor.Room) error {
	if e.Kind == actor.EntryTick && !p.ticks || e.Kind == actor.EntryReserve {
		return nil
	}
	s := step{
		Event: e.Kind.String(), Entry: e.Number, At: e.Now.UTC(), Tick: e.Tick, Seq: e.Seq,
		Member: e.Member, Members: e.Members, User: e.User, N: e.Input, Count: e.Count, Epoch: e.Epoch, Data: readable(e.Data),
	}
	if p.states {
		s.State = stateOf(r)
	}
	return p.out.Encode(s)
}

func (p *replayer) end(r *actor.Room) step {
	return step{Event: "end", At: r.Now().UTC(), Seq: r.Sequence(), State: stateOf(r)}
}

// readable is what JSON can show of bytes: themselves where they are JSON, else
// a string.
func readable(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	if json.Valid(b) {
		return json.RawMessage(b)
	}
	return string(b)
}

// stateOf is the handler's state as JSON shows it.
func stateOf(r *actor.Room) any {
	b, err := r.State()
	if err != nil {
		return err.Error()
	}
	var v any
	if len(b) == 0 || cbor.Unmarshal(b, &v) != nil {
		return nil
	}
	return plainJSON(v)
}

// plainJSON gives maps keys of text, as JSON wants them.
func plainJSON(v any) any {
	switch v := v.(type) {
	case map[any]any:
		m := make(map[string]any, len(v))
		for k, x := range v {
			m[fmt.Sprint(k)] = plainJSON(x)
		}
		return m
	case []any:
		for i := range v {
			v[i] = plainJSON(v[i])
		}
		return v
	case []byte:
		return string(v)
	}
	return v
}
