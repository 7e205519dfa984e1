package storetest

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

// testRandom runs random operations of three processes on two rooms through
// both handles, and holds each answer against the model's.
func testRandom(t *testing.T, f *fixture) {
	var runs atomic.Int64
	rapid.Check(t, func(rt *rapid.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		r := &run{t: rt, f: f, m: newModel(), ctx: ctx}
		n := runs.Add(1) // names are fresh in each run, so that the store need not be emptied
		for i := range 2 {
			r.rooms = append(r.rooms, wire.RoomID(fmt.Sprintf("k/run%d.%d", n, i)))
		}
		for i := range 4 {
			r.holders = append(r.holders, snapshot.Holder(fmt.Sprintf("run%d.%d#1/%d", n, i/2, i%2+1)))
		}
		rt.Repeat(map[string]func(*rapid.T){
			"take lease":  r.takeLease,
			"renew lease": r.renewLease,
			"end lease":   r.endLease,
			"claim":       r.claim,
			"claim again": r.claimAgain,
			"claim lost":  r.claimLost,
			"save":        r.save,
			"save more":   r.save,
			"append":      r.append,
			"append more": r.append,
			"mend":        r.mend,
			"close":       r.close,
			"hand off":    r.handOff,
			"hold":        r.hold,
			"check":       r.check,
			"load":        r.load,
		})
	})
}

// run is one sequence of operations.
type run struct {
	t       *rapid.T
	f       *fixture
	m       *model
	ctx     context.Context
	rooms   []wire.RoomID
	holders []snapshot.Holder
	asked   []snapshot.ClaimRequest
	claims  []snapshot.Claim
}

func (r *run) store() snapshot.Store {
	if rapid.Bool().Draw(r.t, "other handle") {
		return r.f.b
	}
	return r.f.a
}

func (r *run) holder() snapshot.Holder { return rapid.SampledFrom(r.holders).Draw(r.t, "holder") }
func (r *run) room() wire.RoomID       { return rapid.SampledFrom(r.rooms).Draw(r.t, "room") }

func (r *run) want(what string, got, want error) {
	if err := wantAnswer(got, want); err != nil {
		r.t.Fatalf("%s: %v", what, err)
	}
}

func (r *run) takeLease(*rapid.T) {
	h := r.holder()
	r.want("take lease", r.store().TakeLease(r.ctx, h, ttl), r.m.takeLease(h))
	r.alive(h)
}

func (r *run) renewLease(*rapid.T) {
	h := r.holder()
	r.want("renew lease", r.store().RenewLease(r.ctx, h, ttl), r.m.renewLease(h))
	r.alive(h)
}

func (r *run) endLease(*rapid.T) {
	h := r.holder()
	r.want("end lease", r.store().EndLease(r.ctx, h), nil)
	r.m.leases[h] = leaseEnded
	r.alive(h)
}

func (r *run) alive(h snapshot.Holder) {
	ok, err := r.store().LeaseAlive(r.ctx, h)
	if err != nil || ok != (r.m.leases[h] == leaseAlive) {
		r.t.Fatalf("lease of %s alive: %t, %v; the model says %v", h, ok, err, r.m.leases[h])
	}
}

func (r *run) claim(*rapid.T) {
	mode := rapid.SampledFrom([]wire.Mode{wire.ModeJoin, wire.ModeCreate, wire.ModeJoinOrCreate, wire.ModeJoinOrCreate}).Draw(r.t, "mode")
	floor := wire.Epoch(0)
	if rapid.IntRange(0, 3).Draw(r.t, "far floor") == 0 {
		floor = wire.Epoch(rapid.Uint64Range(1, 1<<45).Draw(r.t, "floor"))
	}
	r.ask(snapshot.ClaimRequest{Room: r.room(), Holder: r.holder(), Nonce: nonce(), Mode: mode, Floor: floor})
}

func (r *run) claimAgain(*rapid.T) {
	if len(r.asked) > 0 {
		r.ask(rapid.SampledFrom(r.asked).Draw(r.t, "request"))
	}
}

func (r *run) claimLost(*rapid.T) {
	if len(r.claims) == 0 {
		return
	}
	c := rapid.SampledFrom(r.claims).Draw(r.t, "claim")
	inc := c.Incarnation + wire.Incarnation(rapid.IntRange(0, 1).Draw(r.t, "next incarnation"))
	r.ask(snapshot.ClaimRequest{Room: c.Room, Holder: r.holder(), Nonce: nonce(), Floor: c.Epoch, Incarnation: inc})
}

func (r *run) ask(req snapshot.ClaimRequest) {
	res, err := r.store().Claim(r.ctx, []snapshot.ClaimRequest{req})
	if err != nil {
		r.t.Fatalf("claim: %v", err)
	}
	if err := r.m.claim(req, res[0]); err != nil {
		r.t.Fatalf("%+v: %v", req, err)
	}
	r.asked = append(r.asked, req)
	if res[0].Err == nil {
		r.claims = append(r.claims, res[0].Claim)
	}
}

// some is a claim that was given, the last one more often than not, or one
// that never was.
func (r *run) some() snapshot.Claim {
	if len(r.claims) == 0 {
		return snapshot.Claim{Room: r.room(), Epoch: 1, Nonce: 1}
	}
	switch rapid.IntRange(0, 9).Draw(r.t, "which claim") {
	case 0, 1, 2:
		return rapid.SampledFrom(r.claims).Draw(r.t, "claim")
	case 3:
		c := r.claims[len(r.claims)-1]
		c.Epoch += wire.Epoch(rapid.IntRange(0, 1).Draw(r.t, "later epoch"))
		c.Nonce++
		return c
	}
	return r.claims[len(r.claims)-1]
}

func (r *run) save(*rapid.T) {
	c := r.some()
	seq := uint64(rapid.IntRange(1, 12).Draw(r.t, "seq"))
	size := rapid.SampledFrom([]int{3, 4096, 4097, 9002}).Draw(r.t, "size")
	// One count means one content, so the count says the size.
	seq = seq*4 + uint64(size%4)
	text := fmt.Appendf(nil, "%d.%d.", c.Nonce, seq)
	req := snapshot.SaveRequest{Claim: c, Seq: seq, Data: bytes.Repeat(text, size/len(text)+1)[:size]}
	if covers := rapid.IntRange(-3, 3).Draw(r.t, "covers"); r.m.rooms[c.Room] != nil {
		req.Journal = uint64(max(0, int(r.m.rooms[c.Room].journal.Last())+covers))
	}
	errs, err := r.store().Save(r.ctx, []snapshot.SaveRequest{req})
	if err != nil {
		r.t.Fatalf("save: %v", err)
	}
	r.want("save", errs[0], r.m.save(req))
	r.read(c.Room)
}

// append adds a few entries, from somewhat before to somewhat behind the last.
func (r *run) append(*rapid.T) {
	c := r.some()
	req := snapshot.AppendRequest{Claim: c, First: 1}
	if room := r.m.rooms[c.Room]; room != nil {
		req.First = uint64(max(1, int(room.journal.Last())+rapid.IntRange(-3, 2).Draw(r.t, "first")))
	}
	for i := range rapid.IntRange(0, 4).Draw(r.t, "entries") {
		n := req.First + uint64(i)
		req.Entries = append(req.Entries, fmt.Appendf(nil, "%d.%d", c.Incarnation, n)) // one number means one content
	}
	errs, err := r.store().Append(r.ctx, []snapshot.AppendRequest{req})
	if err != nil {
		r.t.Fatalf("append: %v", err)
	}
	r.want("append", errs[0], r.m.append(req))
	r.read(c.Room)
}

func (r *run) mend(*rapid.T) {
	req := snapshot.MendRequest{Claim: r.some()}
	if room := r.m.rooms[req.Claim.Room]; room != nil && rapid.Bool().Draw(r.t, "of the journal") {
		req.Entry = uint64(max(0, int(room.journal.Last())+rapid.IntRange(-3, 1).Draw(r.t, "entry")))
	}
	res, err := r.store().Mend(r.ctx, []snapshot.MendRequest{req})
	if err != nil {
		r.t.Fatalf("mend: %v", err)
	}
	if err := r.m.mend(req, res[0]); err != nil {
		r.t.Fatalf("%+v: %v", req, err)
	}
	r.read(req.Claim.Room)
}

func (r *run) close(*rapid.T) {
	if rapid.IntRange(0, 2).Draw(r.t, "close at all") > 0 {
		return
	}
	c := r.some()
	errs, err := r.store().Close(r.ctx, []snapshot.CloseRequest{{Claim: c}})
	if err != nil {
		r.t.Fatalf("close: %v", err)
	}
	r.want("close", errs[0], r.m.close(c))
}

func (r *run) handOff(*rapid.T) {
	c := r.some()
	req := snapshot.HandOffRequest{Claim: c, Holder: r.holder(), Nonce: nonce()}
	if rapid.Bool().Draw(r.t, "with a checkpoint") {
		req.Seq = uint64(rapid.IntRange(1, 12).Draw(r.t, "seq"))
		req.Data = bytes.Repeat([]byte("h"), rapid.SampledFrom([]int{3, 9002}).Draw(r.t, "size"))
		req.Journal = uint64(rapid.IntRange(0, 6).Draw(r.t, "covers"))
	}
	res, err := r.store().HandOff(r.ctx, []snapshot.HandOffRequest{req})
	if err != nil {
		r.t.Fatalf("hand off: %v", err)
	}
	if err := r.m.handOff(req, res[0]); err != nil {
		r.t.Fatal(err)
	}
	if res[0].Err == nil {
		r.claims = append(r.claims, res[0].Claim)
	}
	r.read(c.Room)
}

func (r *run) hold(*rapid.T) {
	req := snapshot.HoldRequest{Claim: r.some(), Holder: r.holder()}
	errs, err := r.store().Hold(r.ctx, []snapshot.HoldRequest{req})
	if err != nil {
		r.t.Fatalf("hold: %v", err)
	}
	r.want("hold", errs[0], r.m.hold(req))
	r.read(req.Claim.Room)
}

func (r *run) check(*rapid.T) {
	c := r.some()
	errs, err := r.store().Check(r.ctx, []snapshot.Claim{c})
	if err != nil {
		r.t.Fatalf("check: %v", err)
	}
	r.want("check", errs[0], r.m.standing(c, false))
}

func (r *run) load(*rapid.T) { r.read(r.room()) }

func (r *run) read(room wire.RoomID) {
	res, err := r.store().Load(r.ctx, []wire.RoomID{room})
	if err != nil {
		r.t.Fatalf("load: %v", err)
	}
	if err := r.m.load(room, res[0]); err != nil {
		r.t.Fatal(err)
	}
}
