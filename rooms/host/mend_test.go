package host

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// change works on what the store holds of a room.
func (s *memStore) change(id wire.RoomID, f func(r *memRoom)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s.rooms[id])
}

// dropCopy ends a room's copy without a last save.
func dropCopy(t *testing.T, h *node, id wire.RoomID) {
	t.Helper()
	h.find(id).kill(errFenced)
	until(t, "copy is out", func() bool { return h.find(id) == nil })
}

func flipped(b []byte) []byte {
	b = bytes.Clone(b)
	b[len(b)-1] ^= 1
	return b
}

// comeBack attaches the member that joined made to the room's next copy.
func comeBack(t *testing.T, h *node, room wire.RoomID, first heard, seq wire.Seq) (*player, heard) {
	t.Helper()
	activate(t, h.Host, room, wire.ModeJoin, 0)
	l := newPipe(h.Host)
	p := newPlayer(l, l.ear, room, 9, 100)
	at := first.at
	at.Seq = seq
	return p, p.attach(t, peer.WhyReattach, at)
}

// A damaged checkpoint is set aside for the one before it; the members are told
// of the rewind, and their inputs come again.
func TestDamagedCheckpointGivesWayToTheOlder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, newMemStore(), "a#1", tallyKind())
		_, p, first := joined(t, h, "tally/one")
		p.moves(1, 3)
		p.waitAck(t, 3, 3)
		p.moves(4, 5)
		p.waitAck(t, 5, 5)
		dropCopy(t, h, "tally/one")
		h.memStore().change("tally/one", func(r *memRoom) { r.data = flipped(r.data) })
		q, got := comeBack(t, h, "tally/one", first, 5)
		if got.kind != peer.KindAttached || got.at.How != wire.HowRewound || got.at.Applied < 3 || got.at.Applied >= 5 {
			t.Fatalf("attach: %v %+v, want to hear of the rewind", got.kind, got.at)
		}
		q.moves(int(got.at.Applied)+1, 5)
		q.waitAck(t, 5, 5)
	})
}

// A damaged entry takes the journal after it along; what stands before it is
// played, and the room records on from there.
func TestDamagedJournalIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newMemStore()
		v := &view{memStore: mem}
		id := lateSaver(brokerKind(rooms.Journal()))
		h := startWith(t, v, testConfig(snapshot.Sealed(v, sealKeys(t, 'a')), "a#1", []rooms.Kind{brokerKind(rooms.Journal())}))
		_, p, first := joined(t, h, id)
		p.moves(1, 8)
		p.waitAck(t, 8, 8)
		dropCopy(t, h, id)
		cut := uint64(0)
		mem.change(id, func(r *memRoom) {
			at := len(r.journal.Entries) - 3
			cut = r.journal.Base + 1 + uint64(at)
			r.journal.Entries[at] = flipped(r.journal.Entries[at])
		})
		q, got := comeBack(t, h, id, first, 8)
		if got.kind != peer.KindAttached || got.at.How != wire.HowRewound || got.at.Applied < 4 || got.at.Applied >= 8 {
			t.Fatalf("attach after a cut at entry %d: %v %+v", cut, got.kind, got.at)
		}
		q.moves(int(got.at.Applied)+1, 8)
		q.waitAck(t, 8, 8)
		dropCopy(t, h, id)
		if _, again := comeBack(t, h, id, got, 8); again.at.Applied != 8 {
			t.Errorf("after the next crash: %+v, want all eight inputs", again.at)
		}
	})
}

func sealKeys(t *testing.T, digit byte) *snapshot.Keyring {
	t.Helper()
	k, err := snapshot.ParseKeyring(strings.Repeat(string(digit), 2*snapshot.KeySize), snapshot.SealOptions{Encrypt: true})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// What no key at hand opens is left alone: it may be good, and the key missing
// on this host only.
func TestSealedRoomNeedsItsKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newMemStore()
		v := &view{memStore: mem}
		a := startWith(t, v, testConfig(snapshot.Sealed(v, sealKeys(t, 'a')), "a#1", []rooms.Kind{tallyKind()}))
		_, p, first := joined(t, a, "tally/one")
		p.moves(1, 3)
		p.waitAck(t, 3, 3)
		var kept []byte
		a.stop()
		mem.change("tally/one", func(r *memRoom) { kept = r.data })
		for name, store := range map[directory.NodeID]snapshot.Store{
			"b#1": v, "c#1": snapshot.Sealed(v, sealKeys(t, 'b')),
		} {
			h := startWith(t, v, testConfig(store, name, []rooms.Kind{tallyKind()}))
			wantCode(t, h.Host, "tally/one", wire.ModeJoinOrCreate, wire.CodeUnavailable)
			h.stop()
		}
		mem.change("tally/one", func(r *memRoom) {
			if !bytes.Equal(r.data, kept) {
				t.Error("the checkpoint was touched")
			}
		})
		d := startWith(t, v, testConfig(snapshot.Sealed(v, sealKeys(t, 'a')), "d#1", []rooms.Kind{tallyKind()}))
		if _, got := comeBack(t, d, "tally/one", first, 3); got.at.Applied != 3 {
			t.Errorf("with the key: %+v", got.at)
		}
	})
}
