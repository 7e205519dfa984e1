package handover

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

var head = Header{Node: "host-1#00000000000000aa", Build: "v1", Until: time.UnixMilli(1_800_000_000_123),
	Lease: "host-1#00000000000000aa/1", Mark: "host-1#00000000000000aa/restart1"}

type state struct{ body, baggage []byte }

func roomN(i int) Room {
	return Room{Claim: snapshot.Claim{Room: wire.Room("ledger", fmt.Sprint("r", i)), Incarnation: 7, Epoch: wire.Epoch(100 + i), Nonce: snapshot.Nonce(i + 1)},
		Saves: uint64(i), StateVersion: 3, Dirty: i%2 == 0}
}

// write makes a valid file of n rooms and one that is in the store.
func write(t *testing.T, path string, n, size int) map[wire.RoomID]state {
	t.Helper()
	w, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	all := map[wire.RoomID]state{}
	random := rand.New(rand.NewPCG(1, 2))
	var adding sync.WaitGroup
	for i := range n {
		r, s := roomN(i), state{make([]byte, size+i), make([]byte, i*3)}
		for k := range s.body {
			s.body[k] = byte(random.Uint32())
		}
		all[r.Claim.Room] = s
		adding.Go(func() {
			if err := w.Add(r, s.body, s.baggage); err != nil {
				t.Error(err)
			}
		})
	}
	adding.Wait()
	left := roomN(n)
	left.InStore = true
	if err := w.Add(left, nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(head); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestRoomsComeBackAsTheyWere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rooms")
	all := write(t, path, 20, 5000)
	r, err := Take(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if !r.Until.Equal(head.Until) || r.Node != head.Node || r.Build != head.Build || r.Lease != head.Lease || r.Mark != head.Mark {
		t.Errorf("header is %+v, want %+v", r.Header, head)
	}
	if len(r.Rooms) != 21 {
		t.Fatalf("%d rooms, want 21", len(r.Rooms))
	}
	for i := range r.Rooms {
		room := &r.Rooms[i]
		s, here := all[room.Claim.Room]
		body, baggage, err := read(r, room)
		if !here {
			if !room.InStore || !errors.Is(err, ErrNone) {
				t.Errorf("room %s: %v", room.Claim.Room, err)
			}
			continue
		}
		if err != nil || !bytes.Equal(body, s.body) || !bytes.Equal(baggage, s.baggage) {
			t.Errorf("room %s: %d and %d bytes, %v", room.Claim.Room, len(body), len(baggage), err)
		}
		r.Free(room)
		n := int(room.Saves)
		want := roomN(n)
		if room.Claim != want.Claim || room.StateVersion != 3 || room.Dirty != want.Dirty {
			t.Errorf("room is %+v, want %+v", *room, want)
		}
	}
	if _, err := Take(path); !errors.Is(err, ErrNone) {
		t.Errorf("taken twice: %v", err)
	}
}

func TestAFreedBlockIsGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rooms")
	write(t, path, 2, 100)
	r, err := Take(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	i := slices.IndexFunc(r.Rooms, func(r Room) bool { return r.Saves == 0 })
	r.Free(&r.Rooms[i])
	if _, _, err := read(r, &r.Rooms[i]); !errors.Is(err, ErrDamaged) {
		t.Errorf("freed room reads: %v", err)
	}
	if _, _, err := read(r, &r.Rooms[1-i]); err != nil {
		t.Errorf("its neighbour does not: %v", err)
	}
}

// TestEveryByteFlipped: whatever byte is wrong, no room comes back other than
// it was.
func TestEveryByteFlipped(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "rooms")
	all := write(t, path, 2, 50)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	noticed := 0
	for at := range whole {
		bad := slices.Clone(whole)
		bad[at] ^= 1 << (at % 8)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if !same(t, path, all) {
			noticed++
		}
	}
	// All but the blanks between header, mark and blocks matter.
	if used := 190 + 2*50 + 3*60; noticed < used {
		t.Errorf("%d of %d bytes were noticed, want at least %d", noticed, len(whole), used)
	}
}

// read is what a room is read as.
func read(r *Reader, room *Room) (body, baggage []byte, err error) {
	err = r.Read(room, func(b, c []byte) error {
		body, baggage = bytes.Clone(b), bytes.Clone(c)
		return nil
	})
	return body, baggage, err
}

// same reports whether all rooms come back; it fails the test where one comes
// back changed.
func same(t *testing.T, path string, all map[wire.RoomID]state) bool {
	t.Helper()
	r, err := Take(path)
	if err != nil {
		return false
	}
	defer r.Close()
	good := 0
	for i := range r.Rooms {
		room := &r.Rooms[i]
		body, baggage, err := read(r, room)
		if err != nil {
			continue
		}
		s, here := all[room.Claim.Room]
		want := roomN(int(room.Saves))
		if !here || !bytes.Equal(body, s.body) || !bytes.Equal(baggage, s.baggage) || room.Claim != want.Claim {
			t.Fatalf("room %s came back changed", room.Claim.Room)
		}
		good++
	}
	return good == len(all)
}

func TestTruncatedAnywhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rooms")
	all := write(t, path, 2, 50)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(whole); n += 3 {
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if same(t, path, all) {
			t.Fatalf("%d of %d bytes are enough", n, len(whole))
		}
	}
}

func TestFilesThatAreNotTaken(t *testing.T) {
	at := func(off int, b ...byte) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt(b, int64(off)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		change func(t *testing.T, path string)
		want   error
	}{
		"never completed":   {at(markAt, make([]byte, 8)...), ErrUnmarked},
		"another layout":    {at(8, 0, 0, 0, layout+1), ErrLayout},
		"not such a file":   {at(0, 'x'), ErrDamaged},
		"readable by all":   {func(t *testing.T, path string) { os.Chmod(path, 0o644) }, nil},
		"a link to it":      {link, nil},
		"of an earlier run": {stale, ErrStale},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "rooms")
			write(t, path, 2, 10)
			c.change(t, path)
			r, err := Take(path)
			if err == nil {
				r.Close()
				t.Fatal("taken")
			}
			if c.want == nil {
				return
			}
			if !errors.Is(err, c.want) {
				t.Errorf("error is %v, want %v", err, c.want)
			}
			if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("it is still there: %v", err)
			}
		})
	}
}

func link(t *testing.T, path string) {
	if err := os.Rename(path, path+".real"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path+".real", path); err != nil {
		t.Fatal(err)
	}
}

// stale writes the file as before the machine started.
func stale(t *testing.T, path string) {
	w, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w.boot = "00000000-0000-0000-0000-000000000000"
	if err := w.Commit(head); err != nil {
		t.Fatal(err)
	}
}

func TestAnAbortedFileLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rooms")
	w, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Add(roomN(1), []byte("body"), nil); err != nil {
		t.Fatal(err)
	}
	w.Abort()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("file is there: %v", err)
	}
}

func TestCommitAfterAFullMemoryFails(t *testing.T) {
	w, err := Create(filepath.Join(t.TempDir(), "rooms"))
	if err != nil {
		t.Fatal(err)
	}
	w.file.Close() // as good as a full one: nothing can be written
	if err := w.Add(roomN(1), []byte("body"), nil); err == nil {
		t.Error("room was added")
	}
	if err := w.Commit(head); err == nil {
		t.Error("file was completed")
	}
}
