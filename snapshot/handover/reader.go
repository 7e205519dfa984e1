package handover

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/cespare/xxhash/v2"
)

// Reader reads one file. Read and Free may be called concurrently.
type Reader struct {
	Header
	Rooms []Room

	file   *os.File
	blocks sync.Pool // of *[]byte: what Read reads into
}

// Take opens the file at path, clears its mark, and only then looks at what is
// in it; whether that is good or not, no other Take finds it again. The memory
// is freed at the latest when the Reader is closed or its process ends.
//
// ErrNone: there is none. Other errors say why the file is not used.
func Take(path string) (*Reader, error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	marked, err := claim(f, path)
	if err == nil && !marked {
		err = ErrUnmarked
	}
	r := &Reader{file: f}
	if err == nil {
		err = r.load()
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("take rooms from %s: %w", path, err)
	}
	return r, nil
}

// Peek tells whose rooms wait at path, and touches nothing. Errors are as of
// Take; that there is none does not mean that Take succeeds.
func Peek(path string) (Header, error) {
	f, err := open(path)
	if err != nil {
		return Header{}, err
	}
	defer f.Close()
	head, _, err := readHeader(f)
	if err != nil {
		return Header{}, fmt.Errorf("look for rooms in %s: %w", path, err)
	}
	return head, nil
}

func readHeader(f *os.File) (Header, index, error) {
	boot, err := bootID()
	if err != nil {
		return Header{}, index{}, err
	}
	head := make([]byte, markAt)
	if _, err := f.ReadAt(head, 0); err != nil {
		return Header{}, index{}, fmt.Errorf("%w: header: %w", ErrDamaged, err)
	}
	return decodeHeader(head, boot)
}

// open takes only what this user alone may have written.
func open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|noFollow, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, fmt.Errorf("open rooms in shared memory: %w", err)
	}
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 || !own(info)) {
		err = errors.New("it is not a file of this user alone")
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open rooms in shared memory: %s: %w", path, err)
	}
	return f, nil
}

// claim clears the mark and takes the file's name away.
func claim(f *os.File, path string) (marked bool, err error) {
	var mark [8]byte
	if _, err := f.ReadAt(mark[:], markAt); err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("read mark: %w", err)
	}
	if _, err := f.WriteAt(make([]byte, len(mark)), markAt); err != nil {
		return false, fmt.Errorf("clear mark: %w", err)
	}
	if err := os.Remove(path); err != nil {
		return false, fmt.Errorf("clear mark: %w", err)
	}
	return mark == valid, nil
}

func (r *Reader) load() error {
	head, x, err := readHeader(r.file)
	if err != nil {
		return err
	}
	r.Header = head
	b := make([]byte, x.size)
	if _, err := r.file.ReadAt(b, x.at); err != nil {
		return fmt.Errorf("%w: index: %w", ErrDamaged, err)
	}
	if sum := xxhash.Sum64(b); sum != x.sum {
		return fmt.Errorf("%w: index's checksum is %016x, want %016x", ErrDamaged, sum, x.sum)
	}
	r.Rooms, err = decodeIndex(b, x.at)
	return err
}

// Read calls use with one room's body and baggage, which are good until it
// returns: the rooms that are read one after the other share their memory.
func (r *Reader) Read(room *Room, use func(body, baggage []byte) error) error {
	if room.InStore {
		return fmt.Errorf("room %s: %w: its state is in the store", room.Claim.Room, ErrNone)
	}
	block, _ := r.blocks.Get().(*[]byte)
	if block == nil {
		block = new([]byte)
	}
	defer r.blocks.Put(block)
	b := slices.Grow((*block)[:0], room.Size())[:room.Size()]
	*block = b
	if _, err := r.file.ReadAt(b, room.at); err != nil {
		return fmt.Errorf("%w: room %s: %w", ErrDamaged, room.Claim.Room, err)
	}
	if sum := room.checksum(b); sum != room.sum {
		return fmt.Errorf("%w: room %s: checksum is %016x, want %016x", ErrDamaged, room.Claim.Room, sum, room.sum)
	}
	return use(b[:room.body:room.body], b[room.body:])
}

// Free gives the memory of a room's block back.
func (r *Reader) Free(room *Room) {
	if size := (int64(room.Size()) + page - 1) / page * page; size > 0 && !room.InStore {
		punch(r.file, room.at, size)
	}
}

// Close frees what is left.
func (r *Reader) Close() error { return r.file.Close() }

// bootID names the machine's present run.
func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("ask which run of the machine this is: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}
