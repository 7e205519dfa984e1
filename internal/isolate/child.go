package isolate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"
)

// Variable tells a process that it is a child, and what it got.
const Variable = "LIMPET_ISOLATED"

// errand is what a child gets with Variable. Numbers are descriptors.
type errand struct {
	Kind   string `json:"kind"`
	Parent string `json:"parent"` // the node's name
	Memory int64  `json:"memory"` // bytes, 0: no bound of its own

	Leash int `json:"leash"` // ends when the parent does
	Beats int `json:"beats"` // where the child says that it lives
	Box   int `json:"box"`
	Last  int `json:"last"` // file for the runtime's last words
	Link  int `json:"link"` // listening sockets
	Ops   int `json:"ops"`
}

// beat is a line that a child says every beatEvery.
type beat struct {
	Node  string `json:"node,omitempty"` // NAME#BOOT
	Ready bool   `json:"ready,omitempty"`
	// QuietMS is for how long the child is to be left alone if it says no more.
	QuietMS int64 `json:"quiet_ms,omitempty"`
}

const beatEvery = 250 * time.Millisecond

// Child is this process, where it runs a kind for another one. A nil Child is
// no child: its methods do nothing. They may be called concurrently.
type Child struct {
	errand
	box   *Box
	beats *os.File
	// kept are open for the program that takes this one's place: a file that
	// nothing refers to would be closed.
	kept  []*os.File
	node  atomic.Pointer[string]
	ready func() bool
}

// Join finds out whether this process is a child; nil: it is none. It sets the
// bounds on its memory.
func Join() (*Child, error) {
	raw := os.Getenv(Variable)
	if raw == "" {
		return nil, nil
	}
	c := &Child{ready: func() bool { return false }}
	if err := json.Unmarshal([]byte(raw), &c.errand); err != nil {
		return nil, fmt.Errorf("%s: %w", Variable, err)
	}
	box, last := file(c.errand.Box, "box"), file(c.Last, "last words")
	c.kept = append(c.kept, box, last)
	var err error
	if c.box, err = openBox(box); err != nil {
		return nil, err
	}
	if err := debug.SetCrashOutput(last, debug.CrashOptions{}); err != nil {
		return nil, fmt.Errorf("have the runtime's last words written down: %w", err)
	}
	c.beats = file(c.Beats, "beats")
	if c.Memory > 0 {
		if err := limitMemory(c.Memory); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func file(fd int, name string) *os.File { return os.NewFile(uintptr(fd), name) }

// stackShare of a child's memory bounds one goroutine's stack: an endless
// recursion is to end as one, and not as a lack of memory.
const stackShare = 8

func limitMemory(bytes int64) error {
	debug.SetMemoryLimit(bytes / 10 * 9)
	debug.SetMaxStack(int(min(bytes/stackShare, 1<<30)))
	return limitData(bytes)
}

// Is reports whether this process is a child, and of which kind.
func (c *Child) Is() (kind string, yes bool) {
	if c == nil {
		return "", false
	}
	return c.Kind, true
}

// Listeners are the sockets that the parent listens on for this child.
func (c *Child) Listeners() (link, ops func() (net.Listener, error)) {
	if c == nil {
		return nil, nil
	}
	return func() (net.Listener, error) { return listener(c.Link) }, func() (net.Listener, error) { return listener(c.Ops) }
}

func listener(fd int) (net.Listener, error) {
	f := file(fd, "listener")
	defer f.Close()
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("listener from the parent: %w", err)
	}
	return ln, nil
}

// Take finds a place in the box for a room.
func (c *Child) Take(room string) *Slot {
	if c == nil {
		return nil
	}
	return c.box.Take(room)
}

// Named tells the parent this process's whole name, and how to ask whether it is
// ready. Call it before Run.
func (c *Child) Named(node string, ready func() bool) {
	if c != nil {
		c.node.Store(&node)
		c.ready = ready
	}
}

// Quiet asks the parent to leave this process alone for d.
func (c *Child) Quiet(d time.Duration) {
	if c != nil {
		c.say(beat{QuietMS: d.Milliseconds()})
	}
}

// Run tells the parent that this process lives, until ctx is done. It ends the
// process when the parent has ended.
func (c *Child) Run(ctx context.Context) error {
	go c.heedLeash() // until the process ends: nothing else ends a read of a pipe
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		b := beat{Ready: c.ready()}
		if n := c.node.Load(); n != nil {
			b.Node = *n
		}
		c.say(b)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (c *Child) say(b beat) {
	line, err := json.Marshal(b)
	if err == nil {
		_, err = c.beats.Write(append(line, '\n')) // less than a pipe's page: in one piece
	}
	if errors.Is(err, syscall.EPIPE) {
		os.Exit(1)
	}
}

// heedLeash ends the process with its parent, on systems whose kernel does not.
func (c *Child) heedLeash() {
	leash := file(c.Leash, "leash")
	for b := make([]byte, 1); ; {
		if _, err := leash.Read(b); err != nil {
			os.Exit(1)
		}
	}
}
