package isolate

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is one child from its start to its end.
type process struct {
	cmd     *exec.Cmd
	box     *Box
	last    *os.File // the runtime's last words
	leash   *os.File // closing it ends the child
	began   time.Time
	done    chan struct{}  // closed when it has ended, and said all it had to say
	seen    map[int]uint64 // calls under way at the last look
	lasting map[int]uint64 // those of them that were at the look before too
	looked  time.Time
	over    bool // it had too much memory at the last look

	mu    sync.Mutex
	heard time.Time // of the last beat, or until when it may be silent; guarded by mu
	node  string    // guarded by mu
	ready bool      // guarded by mu
	err   error     // of its end; guarded by mu
}

const (
	startWithin = 10 * time.Second // to the first beat
	maxLast     = 64 << 10         // of the last words, bytes
	maxReason   = 200              // bytes of a crash's reason
)

// start starts a child. It must be called on a thread that lives as long as the
// child.
func (s *Supervisor) start() (p *process, err error) {
	p = &process{began: time.Now(), done: make(chan struct{})}
	var open []*os.File // to be closed here: the child has its own
	defer func() {
		for _, f := range open {
			f.Close()
		}
		if err != nil {
			p.close()
		}
	}()
	boxFile, box, err := createBox(s.cfg.Dir, s.cfg.Slots)
	if err != nil {
		return p, err
	}
	p.box = box
	open = append(open, boxFile)
	if p.last, err = nameless(s.cfg.Dir, "limpet-last-*"); err != nil {
		return p, fmt.Errorf("make file for last words: %w", err)
	}
	leash, pull, err := os.Pipe()
	if err != nil {
		return p, fmt.Errorf("make leash: %w", err)
	}
	p.leash = pull
	open = append(open, leash)
	beats, say, err := os.Pipe()
	if err != nil {
		return p, fmt.Errorf("make pipe for beats: %w", err)
	}
	open = append(open, say)
	link, err := fileOf(s.cfg.Link)
	if err != nil {
		beats.Close()
		return p, err
	}
	open = append(open, link)
	ops, err := fileOf(s.cfg.Ops)
	if err != nil {
		beats.Close()
		return p, err
	}
	open = append(open, ops)

	p.cmd = exec.Command(s.cfg.Command[0], s.cfg.Command[1:]...)
	if self != "" {
		p.cmd.Path = self
	}
	p.cmd.Stdout, p.cmd.Stderr = s.cfg.Output, s.cfg.Output
	p.cmd.WaitDelay = time.Second                                         // for what its own children hold open
	p.cmd.ExtraFiles = []*os.File{leash, say, boxFile, p.last, link, ops} // from descriptor 3 on
	note, err := json.Marshal(errand{Kind: s.cfg.Kind, Parent: s.cfg.Parent, Memory: s.cfg.Memory,
		Leash: 3, Beats: 4, Box: 5, Last: 6, Link: 7, Ops: 8})
	if err != nil {
		beats.Close()
		return p, fmt.Errorf("encode errand: %w", err)
	}
	p.cmd.Env = append(s.cfg.Env(), Variable+"="+string(note))
	bind(p.cmd)
	p.heard = time.Now().Add(startWithin)
	if err := p.cmd.Start(); err != nil {
		beats.Close()
		return p, fmt.Errorf("start process of kind %s: %w", s.cfg.Kind, err)
	}
	go p.listen(beats)
	return p, nil
}

func fileOf(ln net.Listener) (*os.File, error) {
	l, ok := ln.(interface{ File() (*os.File, error) })
	if !ok {
		return nil, fmt.Errorf("%T has no descriptor", ln)
	}
	return l.File()
}

// listen takes the child's beats until it ends.
func (p *process) listen(beats *os.File) {
	lines := bufio.NewScanner(beats)
	ended := make(chan error, 1)
	go func() {
		err := p.cmd.Wait()
		beats.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // others may hold its end
		ended <- err
	}()
	for lines.Scan() {
		var b beat
		if json.Unmarshal(lines.Bytes(), &b) == nil {
			p.hear(b)
		}
	}
	err := <-ended
	beats.Close()
	p.mu.Lock()
	p.err = err
	p.mu.Unlock()
	close(p.done)
}

func (p *process) hear(b beat) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard = time.Now().Add(time.Duration(min(b.QuietMS, maxQuiet.Milliseconds())) * time.Millisecond)
	if b.QuietMS == 0 {
		p.ready = b.Ready
	}
	if b.Node != "" {
		p.node = b.Node
	}
}

// maxQuiet bounds for how long a child may ask to be left alone.
const maxQuiet = 10 * time.Minute

// silence is for how long the child has said nothing that it should have.
func (p *process) silence(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return now.Sub(p.heard)
}

func (p *process) state() (node string, ready bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.node, p.ready, p.err
}

// look remembers which calls of rooms' code last since the look before. One that
// follows too closely, as on a busy machine, tells nothing.
func (p *process) look(at time.Time) {
	if at.Sub(p.looked) < beatEvery/2 {
		return
	}
	p.looked = at
	now := p.box.calls()
	p.lasting = map[int]uint64{}
	for slot, n := range now {
		if p.seen[slot] == n {
			p.lasting[slot] = n
		}
	}
	p.seen = now
}

// dies reports whether the runtime has begun to write its last words.
func (p *process) dies() bool {
	info, err := p.last.Stat()
	return err == nil && info.Size() > 0
}

// memory is what the child uses, in bytes.
func (p *process) memory() int64 { return residentOf(p.cmd.Process.Pid) }

func (p *process) kill() { p.cmd.Process.Signal(syscall.SIGKILL) }

// death says how the child ended. killed is why its host killed it, "" if it
// did not.
func (p *process) death(killed string) Death {
	node, _, err := p.state()
	d := Death{Node: node, Why: killed}
	report := make([]byte, maxLast)
	n, _ := p.last.ReadAt(report, 0)
	c, crashed := readCrash(report[:n])
	crashed = crashed && killed == ""
	_, signalled := signalled(err)
	switch {
	case crashed:
		d.Why, d.Detail = "crash", c.reason
	case killed != "":
	case signalled:
		d.Why = "killed"
	default:
		d.Why = "ended"
	}
	if d.Detail == "" && err != nil {
		d.Detail = err.Error()
	}
	if d.Why != "ended" {
		d.Guilty = blame(p.box.places(), c, crashed, p.lasting)
	}
	return d
}

// endedWell reports whether a child that was told to end did, and no more. One
// that has no name yet may not have begun to heed signals, and has nothing to lose.
func (p *process) endedWell() bool {
	node, _, err := p.state()
	sig, by := signalled(err)
	return err == nil || node == "" && by && sig == syscall.SIGTERM
}

// signalled tells by which signal a child ended; false: by none.
func signalled(err error) (syscall.Signal, bool) {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return 0, false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		return 0, false
	}
	return status.Signal(), true
}

// close frees what the host held for the child.
func (p *process) close() {
	p.last.Close() // a nil one says so, and no more
	p.leash.Close()
	if p.box != nil {
		p.box.close()
	}
}

// residentOf reads a process's resident memory, 0 where that is not known.
func residentOf(pid int) int64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(raw))
	if len(f) < 2 {
		return 0
	}
	return int64(number([]byte(f[1]))) * int64(os.Getpagesize())
}
