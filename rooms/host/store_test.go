package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

// memStore is a whole snapshot.Store in memory, on the test's clock.
type memStore struct {
	mu     sync.Mutex
	leases map[snapshot.Holder]*memLease
	rooms  map[wire.RoomID]*memRoom
	limit  int // of a checkpoint, in bytes

	claimCalls, claimReqs int
	appendMost            int // rooms in a call
	generation            int
	beats                 map[string]uint64
}

type memLease struct {
	until time.Time
	ended bool
}

type memRoom struct {
	claim   snapshot.Claim
	holder  snapshot.Holder
	created bool
	owed    bool // claimed again after it was lost
	closed  bool
	seq     uint64
	data    []byte
	prev    []byte
	mended  wire.Epoch
	journal snapshot.Journal
	note    []byte
	noted   uint64
}

func newMemStore() *memStore {
	return &memStore{leases: map[snapshot.Holder]*memLease{}, rooms: map[wire.RoomID]*memRoom{}, limit: snapshot.DefaultMaxBytes,
		beats: map[string]uint64{}}
}

func (s *memStore) alive(h snapshot.Holder) bool {
	l := s.leases[h]
	if l == nil {
		return false
	}
	if !time.Now().Before(l.until) {
		l.ended = true
	}
	return !l.ended
}

func (s *memStore) takeLease(h snapshot.Holder, ttl time.Duration) error {
	if s.leases[h] != nil {
		return snapshot.ErrLeaseEnded
	}
	s.leases[h] = &memLease{until: time.Now().Add(ttl)}
	return nil
}

func (s *memStore) renewLease(h snapshot.Holder, ttl time.Duration) error {
	if !s.alive(h) {
		return snapshot.ErrLeaseEnded
	}
	s.leases[h].until = time.Now().Add(ttl)
	return nil
}

func (s *memStore) endLease(h snapshot.Holder) {
	s.leases[h] = &memLease{ended: true}
}

func (s *memStore) claim(q snapshot.ClaimRequest) snapshot.ClaimResult {
	r := s.rooms[q.Room]
	open := r != nil && !r.closed
	if r != nil && r.claim.Nonce == q.Nonce && r.holder == q.Holder {
		if !open {
			return snapshot.ClaimResult{Err: snapshot.ErrNoRoom}
		}
		return snapshot.ClaimResult{Claim: r.claim, Created: r.created, Data: r.data, Journal: r.journal, Note: r.note}
	}
	fresh, err := verdictOf(r, open, q)
	if err == nil && open && r.holder != q.Holder && s.alive(r.holder) {
		err = &snapshot.HeldError{Holder: r.holder, Epoch: r.claim.Epoch}
	}
	if err == nil && !fresh && q.Incarnation == 0 && r.stateless() {
		err = snapshot.ErrMissing
	}
	if err != nil {
		return snapshot.ClaimResult{Err: err}
	}
	epoch := max(q.Floor, wire.Epoch(time.Now().UnixMilli())) + 1
	n := &memRoom{holder: q.Holder, created: fresh}
	if r != nil {
		epoch = max(epoch, r.claim.Epoch+1)
	}
	n.claim = snapshot.Claim{Room: q.Room, Epoch: epoch, Nonce: q.Nonce, Incarnation: wire.Incarnation(epoch)}
	switch {
	case fresh && q.Incarnation != 0:
		n.claim.Incarnation, n.owed = q.Incarnation, true
	case !fresh:
		n.claim.Incarnation, n.data, n.prev, n.journal = r.claim.Incarnation, r.data, r.prev, r.journal
		n.note, n.noted, n.owed = r.note, r.noted, r.owed
	}
	s.rooms[q.Room] = n
	return snapshot.ClaimResult{Claim: n.claim, Created: fresh, Data: n.data, Journal: n.journal, Note: n.note}
}

// stateless reports whether there is nothing of a lost room but its record.
func (r *memRoom) stateless() bool {
	return r.owed && !r.closed && r.data == nil && r.journal.Last() == 0
}

func verdictOf(r *memRoom, open bool, q snapshot.ClaimRequest) (fresh bool, err error) {
	switch {
	case q.Incarnation != 0 && (r == nil || r.claim.Incarnation < q.Incarnation):
		return true, nil
	case q.Incarnation != 0 && r.claim.Incarnation == q.Incarnation && open:
		return false, nil
	case q.Incarnation != 0:
		return false, snapshot.ErrNoRoom
	case r == nil && q.Floor > 0 && q.Mode != wire.ModeCreate:
		return false, snapshot.ErrMissing
	case open && q.Mode == wire.ModeCreate && r.stateless():
		return true, nil
	case open && q.Mode == wire.ModeCreate:
		return false, snapshot.ErrExists
	case !open && q.Mode == wire.ModeJoin:
		return false, snapshot.ErrNoRoom
	}
	return !open, nil
}

func (s *memStore) check(c snapshot.Claim, closedToo bool) error {
	r := s.rooms[c.Room]
	switch {
	case r == nil || r.claim.Epoch < c.Epoch:
		return snapshot.ErrMissing
	case r.claim.Epoch != c.Epoch || r.claim.Nonce != c.Nonce || r.closed && !closedToo:
		return snapshot.ErrFenced
	}
	return nil
}

func (s *memStore) save(q snapshot.SaveRequest) error {
	if err := s.check(q.Claim, false); err != nil {
		return err
	}
	if len(q.Data) > s.limit {
		return snapshot.ErrTooBig
	}
	if r := s.rooms[q.Claim.Room]; q.Seq > r.seq {
		r.seq, r.prev, r.data = q.Seq, r.data, slices.Clone(q.Data)
		r.journal = r.journal.After(q.Journal)
	}
	return nil
}

func (s *memStore) append(q snapshot.AppendRequest) error {
	if err := s.check(q.Claim, false); err != nil {
		return err
	}
	j := &s.rooms[q.Claim.Room].journal
	if q.First > j.Last()+1 {
		return snapshot.ErrGap
	}
	for i, e := range q.Entries {
		if q.First+uint64(i) == j.Last()+1 {
			j.Entries = append(j.Entries[:len(j.Entries):len(j.Entries)], bytes.Clone(e))
		}
	}
	return nil
}

func (s *memStore) close(q snapshot.CloseRequest) error {
	if err := s.check(q.Claim, true); err != nil {
		return err
	}
	r := s.rooms[q.Claim.Room]
	r.closed, r.data, r.journal, r.note, r.noted = true, nil, snapshot.Journal{}, nil, 0
	return nil
}

func (s *memStore) mend(q snapshot.MendRequest) snapshot.MendResult {
	if err := s.check(q.Claim, false); err != nil {
		return snapshot.MendResult{Err: err}
	}
	r := s.rooms[q.Claim.Room]
	switch {
	case q.Entry > r.journal.Base && q.Entry <= r.journal.Last():
		r.journal.Entries = r.journal.Entries[:q.Entry-1-r.journal.Base]
	case q.Entry > 0 || r.mended == q.Claim.Epoch:
	case r.prev == nil:
		return snapshot.MendResult{Err: snapshot.ErrMissing}
	default:
		r.data, r.prev, r.mended = r.prev, nil, q.Claim.Epoch
		r.journal = snapshot.Journal{Base: r.journal.Last()}
	}
	return snapshot.MendResult{Data: r.data, Journal: r.journal}
}

func (s *memStore) handOff(q snapshot.HandOffRequest) snapshot.HandOffResult {
	r := s.rooms[q.Claim.Room]
	if r != nil && !r.closed && r.claim.Nonce == q.Nonce && r.holder == q.Holder {
		return snapshot.HandOffResult{Claim: r.claim}
	}
	if err := s.check(q.Claim, false); err != nil {
		return snapshot.HandOffResult{Err: err}
	}
	if len(q.Data) > s.limit {
		return snapshot.HandOffResult{Err: snapshot.ErrTooBig}
	}
	n := *r
	n.claim.Epoch = max(r.claim.Epoch, wire.Epoch(time.Now().UnixMilli())) + 1
	n.claim.Nonce, n.holder, n.created, n.seq = q.Nonce, q.Holder, false, q.Seq
	if q.Seq > 0 {
		n.data, n.prev, n.journal = slices.Clone(q.Data), r.data, r.journal.After(q.Journal)
	}
	s.rooms[q.Claim.Room] = &n
	return snapshot.HandOffResult{Claim: n.claim}
}

func (s *memStore) hold(q snapshot.HoldRequest) error {
	if err := s.check(q.Claim, false); err != nil {
		return err
	}
	r := s.rooms[q.Claim.Room]
	old, had, _ := r.holder.Split()
	process, count, _ := q.Holder.Split()
	if old != process {
		return snapshot.ErrFenced
	}
	if count > had {
		r.holder = q.Holder
	}
	return nil
}

func (s *memStore) putNote(q snapshot.NoteRequest) error {
	if err := s.check(q.Claim, false); err != nil {
		return err
	}
	if r := s.rooms[q.Claim.Room]; q.Number > r.noted {
		r.noted, r.note = q.Number, q.Note
	}
	return nil
}

// wipe is a store that lost its data.
func (s *memStore) wipe() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.generation++
	clear(s.beats)
	clear(s.leases)
	clear(s.rooms)
}

// view is one host's connection to a memStore, which can be made to fail.
type view struct {
	*memStore
	mu     sync.Mutex
	stall  chan struct{}     // calls wait until it is closed; nil: they don't
	err    error             // calls fail
	forget int               // so many claim calls lose their answer
	beats  error             // of beats alone
	writes func() error      // called before saves and appends, which fail with its error
	claims func()            // called before claims
	noted  func()            // called after a note
	hand   func(before bool) // called before and after a hand-off; the answer is lost if the view fails then
}

var errDown = errors.New("connection refused")

func (v *view) fail(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.err = err
}

func (v *view) failBeats(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.beats = err
}

func (v *view) onWrite(f func() error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.writes = f
}

func (v *view) write() error {
	v.mu.Lock()
	f := v.writes
	v.mu.Unlock()
	if f == nil {
		return nil
	}
	return f()
}

// hang makes calls wait until the returned function is called.
func (v *view) hang() (resume func()) {
	ch := make(chan struct{})
	v.mu.Lock()
	defer v.mu.Unlock()
	v.stall = ch
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.stall = nil
		close(ch)
	}
}

// enter waits out what the view is made to do, and locks the store.
func (v *view) enter(ctx context.Context) error {
	v.mu.Lock()
	stall, err := v.stall, v.err
	v.mu.Unlock()
	if stall != nil {
		select {
		case <-stall:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err == nil {
		v.memStore.mu.Lock()
	}
	return err
}

func (v *view) TakeLease(ctx context.Context, h snapshot.Holder, ttl time.Duration) error {
	if err := v.enter(ctx); err != nil {
		return err
	}
	defer v.memStore.mu.Unlock()
	return v.takeLease(h, ttl)
}

func (v *view) RenewLease(ctx context.Context, h snapshot.Holder, ttl time.Duration) error {
	if err := v.enter(ctx); err != nil {
		return err
	}
	defer v.memStore.mu.Unlock()
	return v.renewLease(h, ttl)
}

func (v *view) EndLease(ctx context.Context, h snapshot.Holder) error {
	if err := v.enter(ctx); err != nil {
		return err
	}
	defer v.memStore.mu.Unlock()
	v.endLease(h)
	return nil
}

func (v *view) LeaseAlive(ctx context.Context, h snapshot.Holder) (bool, error) {
	if err := v.enter(ctx); err != nil {
		return false, err
	}
	defer v.memStore.mu.Unlock()
	return v.alive(h), nil
}

func (v *view) Claim(ctx context.Context, qs []snapshot.ClaimRequest) ([]snapshot.ClaimResult, error) {
	v.mu.Lock()
	f := v.claims
	v.mu.Unlock()
	if f != nil {
		f()
	}
	if err := v.enter(ctx); err != nil {
		return nil, err
	}
	defer v.memStore.mu.Unlock()
	v.claimCalls++
	v.claimReqs += len(qs)
	out := each(qs, v.claim)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.forget > 0 {
		v.forget--
		return nil, errDown
	}
	return out, nil
}

func (v *view) Check(ctx context.Context, cs []snapshot.Claim) ([]error, error) {
	if err := v.enter(ctx); err != nil {
		return nil, err
	}
	defer v.memStore.mu.Unlock()
	return each(cs, func(c snapshot.Claim) error { return v.check(c, false) }), nil
}

func (v *view) Save(ctx context.Context, qs []snapshot.SaveRequest) ([]error, error) {
	if err := v.write(); err != nil {
		return nil, err
	}
	if err := v.enter(ctx); err != nil {
		return nil, err
	}
	defer v.memStore.mu.Unlock()
	return each(qs, v.save), nil
}

func (v *view) Append(ctx context.Context, qs []snapshot.AppendRequest) ([]error, error) {
	if err := v.write(); err != nil {
		return nil, err
	}
	if err := v.enter(ctx); err != nil {
		return nil, err
	}
	defer v.memStore.mu.Unlock()
	v.appendMost = max(v.appendMost, len(qs))
	return each(qs, v.append), nil
}

func (v *view) Close(ctx context.Context, qs []snapshot.CloseRequest) ([]error, error) {
	if err := v.enter(ctx); err != nil {
		return nil, err
	}
	defer v.memStore.mu.Unlock()
	return each(qs, v.close), nil
}

func (v *view) Mend(ctx context.Context, qs []snapshot.MendRequest) ([]snapshot.MendResult, error) {
	if err := v.enter(ctx); err != nil {
		return nil, err
	}
	defer v.memStore.mu.Unlock()
	return each(qs, v.mend), nil
}

// onHandOff has f called before and after the next hand-off.
func (v *view) onHandOff(f func(before bool)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.hand = f
}

func (v *view) watchHandOff(before bool) {
	v.mu.Lock()
	f := v.hand
	if !before {
		v.hand = nil
	}
	v.mu.Unlock()
	if f != nil {
		f(before)
	}
}

func (v *view) failed() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.err != nil
}

func (v *view) HandOff(ctx context.Context, qs []snapshot.HandOffRequest) ([]snapshot.HandOffResult, error) {
	if err := v.enter(ctx); err != nil {
		return nil, err
	}
	v.memStore.mu.Unlock()
	v.watchHandOff(true)
	if err := v.enter(ctx); err != nil {
		return nil, err
	}
	out := each(qs, v.handOff)
	v.memStore.mu.Unlock()
	v.watchHandOff(false)
	if v.failed() {
		return nil, errDown
	}
	return out, nil
}

func (v *view) Note(ctx context.Context, qs []snapshot.NoteRequest) ([]error, error) {
	if err := v.enter(ctx); err != nil {
		return nil, err
	}
	out := each(qs, v.putNote)
	v.memStore.mu.Unlock()
	v.mu.Lock()
	noted := v.noted
	v.mu.Unlock()
	if noted != nil {
		noted()
	}
	return out, nil
}

func (v *view) Hold(ctx context.Context, qs []snapshot.HoldRequest) ([]error, error) {
	if err := v.enter(ctx); err != nil {
		return nil, err
	}
	defer v.memStore.mu.Unlock()
	return each(qs, v.hold), nil
}

func (v *view) Load(ctx context.Context, ids []wire.RoomID) ([]snapshot.LoadResult, error) {
	if err := v.enter(ctx); err != nil {
		return nil, err
	}
	defer v.memStore.mu.Unlock()
	return each(ids, func(id wire.RoomID) snapshot.LoadResult {
		r := v.rooms[id]
		if r == nil {
			return snapshot.LoadResult{Err: snapshot.ErrNoRoom}
		}
		return snapshot.LoadResult{Claim: r.claim, Holder: r.holder, Closed: r.closed, Data: r.data, Journal: r.journal, Note: r.note}
	}), nil
}

func (v *view) List(context.Context, string, int) ([]snapshot.Entry, string, error) {
	return nil, "", errors.New("not used by the host")
}

func (v *view) Beat(ctx context.Context, process string, n uint64) (snapshot.Beat, error) {
	if err := v.enter(ctx); err != nil {
		return snapshot.Beat{}, err
	}
	defer v.memStore.mu.Unlock()
	v.mu.Lock()
	err := v.beats
	v.mu.Unlock()
	if err != nil {
		return snapshot.Beat{}, err
	}
	b := snapshot.Beat{Mark: fmt.Sprint("mark ", v.generation), Last: v.memStore.beats[process]}
	v.memStore.beats[process] = max(n, b.Last)
	return b, nil
}

func (v *view) Shut() error { return nil }

func each[Q, A any](qs []Q, f func(Q) A) []A {
	out := make([]A, len(qs))
	for i, q := range qs {
		out[i] = f(q)
	}
	return out
}

var _ snapshot.Store = (*view)(nil)
