package handover

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/cespare/xxhash/v2"
)

// Writer writes one file. Add may be called concurrently.
type Writer struct {
	path string
	file *os.File
	boot string

	mu    sync.Mutex
	next  int64 // where the next block goes; guarded by mu
	rooms []Room
}

// Create makes the file anew; one that was there is gone. It is readable by
// this process's user alone, and not valid before Commit.
func Create(path string) (*Writer, error) {
	boot, err := bootID()
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove earlier rooms: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create file for rooms: %w", err)
	}
	return &Writer{path: path, file: f, boot: boot, next: page}, nil
}

// Add writes a room: its body and its baggage, neither of which it keeps. With
// an error, such as a full memory, the room is not in the file.
func (w *Writer) Add(r Room, body, baggage []byte) error {
	r.body, r.baggage = len(body), len(baggage)
	if r.Size() > maxBlock {
		return fmt.Errorf("room %s takes %d bytes, at most %d are handed over", r.Claim.Room, r.Size(), maxBlock)
	}
	if !r.InStore {
		r.at = w.reserve(r.Size())
		if _, err := w.file.WriteAt(body, r.at); err != nil {
			return fmt.Errorf("write room %s: %w", r.Claim.Room, err)
		}
		if _, err := w.file.WriteAt(baggage, r.at+int64(len(body))); err != nil {
			return fmt.Errorf("write room %s: %w", r.Claim.Room, err)
		}
	}
	r.sum = r.checksum(body, baggage)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rooms = append(w.rooms, r)
	return nil
}

// reserve gives out whole pages, so that each can be freed alone.
func (w *Writer) reserve(size int) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := w.next
	w.next += (int64(size) + page - 1) / page * page
	return at
}

// Commit writes index and header, and the mark last. No Add may be under way.
func (w *Writer) Commit(h Header) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := binary.BigEndian.AppendUint32(nil, uint32(len(w.rooms)))
	for i := range w.rooms {
		b = binary.BigEndian.AppendUint64(appendEntry(b, &w.rooms[i]), w.rooms[i].sum)
	}
	head, err := h.encode(w.boot, w.next, int64(len(b)), xxhash.Sum64(b))
	if err == nil && len(b) > maxIndex {
		err = fmt.Errorf("index of %d bytes, at most %d", len(b), maxIndex)
	}
	if err == nil {
		_, err = w.file.WriteAt(b, w.next)
	}
	if err == nil {
		_, err = w.file.WriteAt(head, 0)
	}
	if err == nil {
		err = w.file.Sync() // costs nothing in memory; on a disk the mark must not overtake the rest
	}
	if err == nil {
		_, err = w.file.WriteAt(valid[:], markAt)
	}
	if err != nil {
		return fmt.Errorf("complete rooms in shared memory: %w", err)
	}
	return w.file.Close()
}

// Abort removes the file. After Commit it does nothing.
func (w *Writer) Abort() {
	if w.file.Close() == nil {
		os.Remove(w.path)
	}
}

// Bytes is how much memory the file takes so far.
func (w *Writer) Bytes() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.next
}
