package host

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/isolate"
	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/rooms/internal/actor"
	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

// blameWithin bounds what is done about a child's death before its rooms can be
// taken up by others.
const blameWithin = 2 * time.Second

// died is this host's word that a child is gone. What its rooms failed on is
// written down first: whoever takes them up passes over it. Until then the child's
// sockets are open, so that nobody can prove its death.
func (i *isolation) died(ctx context.Context, d isolate.Death) {
	if d.Node == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), blameWithin)
	defer cancel()
	if err := i.noteGuilty(ctx, d); err != nil {
		i.wiring.Log.Warn().Err(err).Str("node", d.Node).Msg("the store does not know which inputs a process died of")
	}
	i.coroner.Certify(ctx, directory.NodeID(d.Node))
}

// noteGuilty has the store know of the rooms that brought a process down.
func (i *isolation) noteGuilty(ctx context.Context, d isolate.Death) error {
	var names []wire.RoomID
	inputs := map[wire.RoomID]*isolate.Input{}
	for _, g := range d.Guilty {
		id := wire.RoomID(g.Room)
		if i.durable(id) {
			names, inputs[id] = append(names, id), g.Input
		}
	}
	if len(names) == 0 {
		return nil
	}
	loaded, err := i.store.Load(ctx, names)
	if err != nil {
		return fmt.Errorf("load rooms of %s: %w", d.Node, err)
	}
	var reqs []snapshot.NoteRequest
	for n, l := range loaded {
		of, _, _ := l.Holder.Split()
		if l.Err != nil || l.Closed || of != d.Node {
			continue // it is another's by now
		}
		req, err := guiltyNote(names[n], l, inputs[names[n]], time.Now())
		if err != nil {
			return err
		}
		reqs = append(reqs, req)
	}
	if len(reqs) == 0 {
		return nil
	}
	errs, err := i.store.Note(ctx, reqs)
	for n := range errs {
		if err == nil && errs[n] != nil {
			err = fmt.Errorf("note failure of room %s: %w", reqs[n].Claim.Room, errs[n])
		}
	}
	return err
}

func (i *isolation) durable(id wire.RoomID) bool {
	n := slices.IndexFunc(i.kinds, func(k rooms.Kind) bool { return k.Name == id.Kind() })
	if n < 0 {
		return false
	}
	k, err := i.kinds[n].Checked()
	return err == nil && k.Durability != rooms.None()
}

// guiltyNote adds a failure to what the store knows of a room's.
func guiltyNote(id wire.RoomID, l snapshot.LoadResult, in *isolate.Input, now time.Time) (snapshot.NoteRequest, error) {
	f := newFaults()
	if err := f.learn(id, l.Note); err != nil {
		return snapshot.NoteRequest{}, fmt.Errorf("room %s: %w", id, err)
	}
	f.note(id, now, in == nil)
	if in != nil {
		f.add(id, actor.Poison{Member: wire.MemberID(in.Member), Instance: wire.Instance(in.Instance), N: wire.Input(in.N)})
	}
	n := f.noteOf(id, now)
	return snapshot.NoteRequest{Claim: l.Claim, Number: n.Number, Note: must(movesEncoding.Marshal(n))}, nil
}

// ready is a condition of readiness: every isolated kind has its process.
func (i *isolation) ready() error {
	if i == nil {
		return nil
	}
	var down []string
	for _, child := range i.children {
		if err := child.Ready(); err != nil {
			down = append(down, err.Error())
		}
	}
	if len(down) > 0 {
		return fmt.Errorf("%s", strings.Join(down, "; "))
	}
	return nil
}
