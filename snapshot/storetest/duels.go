package storetest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

const duellists = 8

// duel has eight processes claim the same rooms at once, over two handles.
func duel(t *testing.T, f *fixture, holders []snapshot.Holder, rooms []wire.RoomID, m wire.Mode) [][]snapshot.ClaimResult {
	t.Helper()
	all := make([][]snapshot.ClaimResult, len(holders))
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i, h := range holders {
		reqs := make([]snapshot.ClaimRequest, len(rooms))
		for k, room := range rooms {
			reqs[k] = snapshot.ClaimRequest{Room: room, Holder: h, Nonce: nonce(), Mode: m}
		}
		ctx := timeout(t)
		wg.Go(func() {
			<-start
			res, err := []snapshot.Store{f.a, f.b}[i%2].Claim(ctx, reqs)
			if err != nil {
				t.Errorf("claim as %s: %v", h, err)
				res = make([]snapshot.ClaimResult, len(reqs))
			}
			all[i] = res
		})
	}
	close(start)
	wg.Wait()
	return all
}

// winners finds the one who got each room and checks what the others heard.
func winners(t *testing.T, all [][]snapshot.ClaimResult, holders []snapshot.Holder, rooms []wire.RoomID) []snapshot.ClaimResult {
	t.Helper()
	won := make([]snapshot.ClaimResult, len(rooms))
	for k, room := range rooms {
		n := 0
		var by snapshot.Holder
		for i := range holders {
			if all[i][k].Err == nil {
				n, by, won[k] = n+1, holders[i], all[i][k]
			}
		}
		if n != 1 {
			t.Fatalf("%s went to %d processes", room, n)
		}
		for i := range holders {
			err := all[i][k].Err
			if held, ok := errors.AsType[*snapshot.HeldError](err); ok && (held.Holder != by || held.Epoch != won[k].Claim.Epoch) {
				t.Errorf("%s: told %v, but %s won in %d", room, err, by, won[k].Claim.Epoch)
			} else if !ok && err != nil && !errors.Is(err, snapshot.ErrExists) {
				t.Errorf("%s: %v", room, err)
			}
		}
	}
	return won
}

func many(t *testing.T, f *fixture, n int) []snapshot.Holder {
	var holders []snapshot.Holder
	for i := range n {
		holders = append(holders, lease(t, f.a, fmt.Sprintf("n%d", i)))
	}
	return holders
}

func testDuelCreate(t *testing.T, f *fixture) {
	rooms := []wire.RoomID{"k/a", "k/b", "k/c", "k/d", "k/e"}
	holders := many(t, f, duellists)
	for _, r := range winners(t, duel(t, f, holders, rooms, wire.ModeJoinOrCreate), holders, rooms) {
		if !r.Created {
			t.Errorf("%s: the winner did not create it: %+v", r.Claim.Room, r)
		}
	}
	rooms = []wire.RoomID{"k/v", "k/w", "k/x", "k/y", "k/z"}
	winners(t, duel(t, f, holders, rooms, wire.ModeCreate), holders, rooms)
}

func testDuelTakeOver(t *testing.T, f *fixture) {
	rooms := []wire.RoomID{"k/a", "k/b", "k/c", "k/d", "k/e", "k/f"}
	dead := lease(t, f.b, "dead")
	last := make([]snapshot.ClaimResult, len(rooms))
	for k, room := range rooms {
		last[k] = take(t, f.b, room, dead)
		if err := save(t, f.b, last[k].Claim, 1, big); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		if err := f.b.EndLease(timeout(t), dead); err != nil {
			t.Fatal(err)
		}
		holders := many(t, f, duellists)
		won := winners(t, duel(t, f, holders, rooms, wire.ModeJoin), holders, rooms)
		for k, r := range won {
			if r.Created || r.Claim.Epoch <= last[k].Claim.Epoch || len(r.Data) != len(big) {
				t.Errorf("%s: %d bytes, %+v after %+v", rooms[k], len(r.Data), r.Claim, last[k].Claim)
			}
			wantErr(t, "the dead one's save", save(t, f.b, last[k].Claim, 2, big), snapshot.ErrFenced)
		}
		// Give all to one, who dies next.
		dead = lease(t, f.a, "dead")
		for _, h := range holders {
			if err := f.a.EndLease(timeout(t), h); err != nil {
				t.Fatal(err)
			}
		}
		for k, room := range rooms {
			last[k] = take(t, f.b, room, dead)
		}
	}
}

// Eight writers take the room from each other all the time: a save that begins
// after another's claim was confirmed must not be accepted.
func testDuelWrite(t *testing.T, f *fixture) {
	h := lease(t, f.a, "n1")
	var newest atomic.Uint64 // epoch of a confirmed claim
	var mu sync.Mutex
	epochs := make(map[wire.Epoch]bool)
	var accepted wire.Epoch
	var wg sync.WaitGroup
	for i := range duellists {
		s := []snapshot.Store{f.a, f.b}[i%2]
		wg.Go(func() {
			for range 15 {
				c := take(t, s, "k/a", h).Claim
				mu.Lock()
				if epochs[c.Epoch] {
					t.Errorf("epoch %d was given twice", c.Epoch)
				}
				epochs[c.Epoch] = true
				mu.Unlock()
				for old := newest.Load(); old < uint64(c.Epoch) && !newest.CompareAndSwap(old, uint64(c.Epoch)); {
					old = newest.Load()
				}
				for seq := uint64(1); seq <= 3; seq++ {
					seen := newest.Load()
					data := binary.BigEndian.AppendUint64(make([]byte, seq*2500), uint64(c.Epoch))
					err := save(t, s, c, seq, data)
					if err != nil && !errors.Is(err, snapshot.ErrFenced) {
						t.Errorf("save: %v", err)
					}
					if err == nil && seen > uint64(c.Epoch) {
						t.Errorf("a save of epoch %d was accepted after %d was claimed", c.Epoch, seen)
					}
					if err == nil {
						mu.Lock()
						accepted = max(accepted, c.Epoch)
						mu.Unlock()
					}
				}
			}
		})
	}
	wg.Wait()
	r := load(t, f.a, "k/a")
	if r.Err != nil || len(r.Data) < 8 {
		t.Fatalf("load: %+v", r)
	}
	if e := wire.Epoch(binary.BigEndian.Uint64(r.Data[len(r.Data)-8:])); e != accepted {
		t.Errorf("the store holds epoch %d's state, the last accepted was %d's", e, accepted)
	}
}
