package isolate

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// Input names what a call of a room's code is for. N 0 is the join.
type Input struct {
	Member   uint64
	Instance [16]byte
	N        uint64
}

// Box is memory that a child shares with its host: a slot a room, which says
// what the room's code is doing. The child writes; the host reads after its end.
type Box struct {
	mem   []byte
	slots []slot // in mem

	mu   sync.Mutex
	free []*Slot // guarded by mu
}

// slot is one room's place. Both processes are the same program.
type slot struct {
	call      atomic.Uint64 // number of the call under way, 0: none
	goroutine atomic.Uint64 // that runs the room's code
	blamed    atomic.Uint64 // 1: the call under way is for the input
	given     atomic.Uint64 // 1: there is an input: that of the last call for one
	input     Input
	used      atomic.Uint64 // length of the room's name
	room      [104]byte
}

const slotBytes = int64(unsafe.Sizeof(slot{}))

// createBox makes a file for a box in dir, which has no name any more.
func createBox(dir string, slots int) (*os.File, *Box, error) {
	f, err := nameless(dir, "limpet-box-*")
	if err != nil {
		return nil, nil, fmt.Errorf("make box: %w", err)
	}
	if err := f.Truncate(int64(slots) * slotBytes); err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("make box: %w", err)
	}
	b, err := openBox(f)
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, b, nil
}

// nameless makes a file in dir that is gone with its last descriptor. Where dir is
// "", it is in the directory for temporary files.
func nameless(dir, pattern string) (*os.File, error) {
	f, err := os.CreateTemp(dir, pattern)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// openBox maps a box's file and empties it.
func openBox(f *os.File) (*Box, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open box: %w", err)
	}
	n := info.Size() / slotBytes
	if n == 0 {
		return nil, fmt.Errorf("open box: file of %d bytes", info.Size())
	}
	mem, err := syscall.Mmap(int(f.Fd()), 0, int(info.Size()), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map box: %w", err)
	}
	b := &Box{mem: mem, slots: unsafe.Slice((*slot)(unsafe.Pointer(&mem[0])), n)}
	for i := range b.slots {
		if s := &b.slots[i]; s.used.Load() != 0 {
			*s = slot{}
		}
		b.free = append(b.free, &Slot{b.slots[i : i+1 : i+1], b})
	}
	return b, nil
}

func (b *Box) close() error { return syscall.Munmap(b.mem) }

// Slot is a room's place in a box. A nil Slot takes everything and does nothing.
// Its calls belong to whoever runs the room.
type Slot struct {
	at  []slot // one
	box *Box
}

// Take finds a place for a room; nil where there is none, or no box.
func (b *Box) Take(room string) *Slot {
	if b == nil || len(room) > len(slot{}.room) {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.free) == 0 {
		return nil
	}
	s := b.free[len(b.free)-1]
	b.free = b.free[:len(b.free)-1]
	copy(s.at[0].room[:], room)
	s.at[0].used.Store(uint64(len(room)))
	return s
}

// Release gives the place back.
func (s *Slot) Release() {
	if s == nil {
		return
	}
	s.at[0] = slot{}
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	s.box.free = append(s.box.free, s)
}

// RunsHere says that the calling goroutine runs the room's code from now on.
func (s *Slot) RunsHere() {
	if s != nil {
		s.at[0].goroutine.Store(goroutine())
	}
}

// Begin marks the start of the n-th call of the room's code; in is what it is
// for, where blamed.
func (s *Slot) Begin(n uint64, in Input, blamed bool) {
	if s == nil {
		return
	}
	at := &s.at[0]
	at.blamed.Store(0)
	if blamed {
		at.given.Store(0)
		at.input = in
		at.given.Store(1)
		at.blamed.Store(1)
	}
	at.call.Store(n)
}

// End marks its end.
func (s *Slot) End() {
	if s != nil {
		s.at[0].call.Store(0)
	}
}

// place is what a slot says.
type place struct {
	at        int // which slot
	room      string
	call      uint64
	goroutine uint64
	input     *Input // of the last call for one
	blamed    bool   // the call under way is for it
}

// places are the slots in use.
func (b *Box) places() (all []place) {
	for i := range b.slots {
		s := &b.slots[i]
		n := s.used.Load()
		if n == 0 || n > uint64(len(s.room)) {
			continue
		}
		p := place{at: i, room: string(s.room[:n]), call: s.call.Load(), goroutine: s.goroutine.Load(), blamed: s.blamed.Load() == 1}
		if s.given.Load() == 1 {
			in := s.input
			p.input = &in
		}
		all = append(all, p)
	}
	return all
}

// calls are the numbers of the calls under way, by slot.
func (b *Box) calls() map[int]uint64 {
	under := map[int]uint64{}
	for i := range b.slots {
		if n := b.slots[i].call.Load(); n != 0 {
			under[i] = n
		}
	}
	return under
}
