package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

// model says what a store answers, in memory and without time: leases end only
// when they are ended. It takes epochs as the store gives them, if they rise.
type model struct {
	leases map[snapshot.Holder]leaseState
	rooms  map[wire.RoomID]*modelRoom
}

type leaseState int

const (
	leaseNever leaseState = iota
	leaseAlive
	leaseEnded
)

type modelRoom struct {
	claim   snapshot.Claim
	created bool
	owed    bool // a live copy claimed it again after it was lost
	holder  snapshot.Holder
	seq     uint64
	closed  bool
	data    []byte
	prev    []byte
	mended  wire.Epoch // of the claim that set a checkpoint aside
	journal snapshot.Journal
}

func newModel() *model {
	return &model{leases: make(map[snapshot.Holder]leaseState), rooms: make(map[wire.RoomID]*modelRoom)}
}

func (m *model) takeLease(h snapshot.Holder) error {
	if m.leases[h] != leaseNever {
		return snapshot.ErrLeaseEnded
	}
	m.leases[h] = leaseAlive
	return nil
}

func (m *model) renewLease(h snapshot.Holder) error {
	switch m.leases[h] {
	case leaseAlive:
		return nil
	default:
		return snapshot.ErrLeaseEnded
	}
}

// claim checks a store's answer and follows it.
func (m *model) claim(req snapshot.ClaimRequest, got snapshot.ClaimResult) error {
	r := m.rooms[req.Room]
	open := r != nil && !r.closed
	if r != nil && r.claim.Nonce == req.Nonce && r.holder == req.Holder {
		if !open {
			return wantAnswer(got.Err, snapshot.ErrNoRoom)
		}
		if got.Err != nil || got.Claim != r.claim || got.Created != r.created || !same(got.Data, r.data) || !sameJournal(got.Journal, r.journal) {
			return fmt.Errorf("repeated claim: got %v, want %v of %v, created %t", got, r.claim, r.data, r.created)
		}
		return nil
	}
	fresh, refusal := m.verdict(r, open, req)
	if refusal == nil && open && r.holder != req.Holder {
		if m.leases[r.holder] == leaseAlive {
			refusal = &snapshot.HeldError{Holder: r.holder, Epoch: r.claim.Epoch}
		} else {
			m.leases[r.holder] = leaseEnded // looking made it final
		}
	}
	if refusal == nil && !fresh && req.Incarnation == 0 && r.stateless() {
		refusal = snapshot.ErrMissing
	}
	if refusal != nil {
		return wantAnswer(got.Err, refusal)
	}
	return m.taken(r, fresh, req, got)
}

// stateless reports whether a live copy has claimed the room again after it was
// lost, and no copy has saved anything of it since.
func (r *modelRoom) stateless() bool {
	return r.owed && !r.closed && r.data == nil && r.journal.Last() == 0
}

func (m *model) verdict(r *modelRoom, open bool, req snapshot.ClaimRequest) (fresh bool, refusal error) {
	if req.Incarnation != 0 {
		switch {
		case r == nil || r.claim.Incarnation < req.Incarnation:
			return true, nil
		case r.claim.Incarnation == req.Incarnation && open:
			return false, nil
		}
		return false, snapshot.ErrNoRoom
	}
	switch {
	case r == nil && req.Floor > 0 && req.Mode != wire.ModeCreate:
		return false, snapshot.ErrMissing
	case open && req.Mode == wire.ModeCreate && r.stateless():
		return true, nil
	case open && req.Mode == wire.ModeCreate:
		return false, snapshot.ErrExists
	case !open && req.Mode == wire.ModeJoin:
		return false, snapshot.ErrNoRoom
	}
	return !open, nil
}

// taken checks a claim that had to succeed, and takes it in.
func (m *model) taken(r *modelRoom, fresh bool, req snapshot.ClaimRequest, got snapshot.ClaimResult) error {
	n := &modelRoom{holder: req.Holder, created: fresh, claim: snapshot.Claim{Room: req.Room, Nonce: req.Nonce, Epoch: got.Claim.Epoch}}
	above := req.Floor
	if r != nil {
		above = max(above, r.claim.Epoch)
	}
	switch {
	case fresh && req.Incarnation != 0:
		n.claim.Incarnation, n.owed = req.Incarnation, true
	case fresh:
		n.claim.Incarnation = wire.Incarnation(got.Claim.Epoch)
	default:
		n.claim.Incarnation, n.owed = r.claim.Incarnation, r.owed
		n.data, n.prev, n.journal = r.data, r.prev, r.journal
	}
	if got.Err != nil || got.Claim.Epoch <= above || got.Claim != n.claim || got.Created != fresh || !same(got.Data, n.data) || !sameJournal(got.Journal, n.journal) {
		return fmt.Errorf("claim: got %v, want %v above %d of %v, created %t", got, n.claim, above, n.data, fresh)
	}
	m.rooms[req.Room] = n
	return nil
}

// standing is the word on a claim.
func (m *model) standing(c snapshot.Claim, closedToo bool) error {
	r := m.rooms[c.Room]
	switch {
	case r == nil || r.claim.Epoch < c.Epoch:
		return snapshot.ErrMissing
	case r.claim.Epoch != c.Epoch || r.claim.Nonce != c.Nonce || r.closed && !closedToo:
		return snapshot.ErrFenced
	}
	return nil
}

func (m *model) save(req snapshot.SaveRequest) error {
	err := m.standing(req.Claim, false)
	if r := m.rooms[req.Claim.Room]; err == nil && req.Seq > r.seq {
		r.seq, r.prev, r.data = req.Seq, r.data, req.Data
		r.journal = r.journal.After(req.Journal)
	}
	return err
}

// handOff checks a store's answer and follows it.
func (m *model) handOff(req snapshot.HandOffRequest, got snapshot.HandOffResult) error {
	if err := m.standing(req.Claim, false); err != nil {
		return wantAnswer(got.Err, err)
	}
	r := m.rooms[req.Claim.Room]
	n := *r
	n.claim.Nonce, n.claim.Epoch = req.Nonce, got.Claim.Epoch
	n.holder, n.created, n.seq = req.Holder, false, req.Seq
	if req.Seq > 0 {
		n.data, n.prev, n.journal = req.Data, r.data, r.journal.After(req.Journal)
	}
	if got.Err != nil || got.Claim != n.claim || n.claim.Epoch <= r.claim.Epoch {
		return fmt.Errorf("hand-off: got %v, want %v above %d", got, n.claim, r.claim.Epoch)
	}
	m.rooms[req.Claim.Room] = &n
	return nil
}

func (m *model) hold(req snapshot.HoldRequest) error {
	if err := m.standing(req.Claim, false); err != nil {
		return err
	}
	r := m.rooms[req.Claim.Room]
	old, had, _ := r.holder.Split()
	process, count, _ := req.Holder.Split()
	if old != process {
		return snapshot.ErrFenced
	}
	if count > had {
		r.holder = req.Holder
	}
	return nil
}

func (m *model) close(c snapshot.Claim) error {
	err := m.standing(c, true)
	if err == nil {
		r := m.rooms[c.Room]
		r.closed, r.data, r.prev, r.journal = true, nil, nil, snapshot.Journal{}
	}
	return err
}

func (m *model) mend(req snapshot.MendRequest, got snapshot.MendResult) error {
	if err := m.standing(req.Claim, false); err != nil {
		return wantAnswer(got.Err, err)
	}
	r := m.rooms[req.Claim.Room]
	switch j := &r.journal; {
	case req.Entry > j.Base && req.Entry <= j.Last():
		j.Entries = j.Entries[:req.Entry-1-j.Base]
	case req.Entry > 0 || r.mended == req.Claim.Epoch:
	case r.prev == nil:
		return wantAnswer(got.Err, snapshot.ErrMissing)
	default:
		r.data, r.prev, r.mended = r.prev, nil, req.Claim.Epoch
		r.journal = snapshot.Journal{Base: r.journal.Last()}
	}
	if got.Err != nil || !same(got.Data, r.data) || !sameJournal(got.Journal, r.journal) {
		return fmt.Errorf("mend: got %.40q and %+v, %v, want %.40q and %+v", got.Data, got.Journal, got.Err, r.data, r.journal)
	}
	return nil
}

func (m *model) load(room wire.RoomID, got snapshot.LoadResult) error {
	r := m.rooms[room]
	if r == nil {
		return wantAnswer(got.Err, snapshot.ErrNoRoom)
	}
	if r.stateless() {
		return wantAnswer(got.Err, snapshot.ErrMissing)
	}
	if got.Err != nil || got.Claim != r.claim || got.Holder != r.holder || got.Closed != r.closed || !same(got.Data, r.data) || !sameJournal(got.Journal, r.journal) {
		return fmt.Errorf("load: got %+v, want %+v", got, *r)
	}
	return nil
}

func (m *model) append(req snapshot.AppendRequest) error {
	if err := m.standing(req.Claim, false); err != nil {
		return err
	}
	j := &m.rooms[req.Claim.Room].journal
	if req.First > j.Last()+1 {
		return snapshot.ErrGap
	}
	for i, e := range req.Entries {
		if req.First+uint64(i) == j.Last()+1 {
			j.Entries = append(slices.Clip(j.Entries), e)
		}
	}
	return nil
}

func sameJournal(a, b snapshot.Journal) bool {
	return a.Base == b.Base && slices.EqualFunc(a.Entries, b.Entries, bytes.Equal)
}

func same(a, b []byte) bool { return (a == nil) == (b == nil) && string(a) == string(b) }

func wantAnswer(got, want error) error {
	if held, ok := want.(*snapshot.HeldError); ok {
		if h, ok := errors.AsType[*snapshot.HeldError](got); ok && *h == *held {
			return nil
		}
	} else if errors.Is(got, want) {
		return nil
	}
	return fmt.Errorf("got %v, want %v", got, want)
}
