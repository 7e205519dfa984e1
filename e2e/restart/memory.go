package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// memory samples what a process takes, with its files in shared memory.
type memory struct {
	pid    int
	dir    string
	others int64 // in shared memory
	before int64
	peak   int64
	began  time.Time
	at     time.Duration // when it was that
	stop   chan struct{}
	done   chan struct{}
}

func watchMemory(pid int, dir string) (*memory, error) {
	m := &memory{pid: pid, dir: dir, stop: make(chan struct{}), done: make(chan struct{})}
	var err error
	if m.others, err = m.shared(); err != nil {
		return nil, err
	}
	if m.before, err = m.now(); err != nil {
		return nil, err
	}
	m.began = time.Now()
	go m.run()
	return m, nil
}

func (m *memory) run() {
	defer close(m.done)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-m.stop:
			return
		case <-tick.C:
		}
		if n, err := m.now(); err == nil && n > m.peak { // between two programs there is none
			m.peak, m.at = n, time.Since(m.began)
		}
	}
}

// end stops watching. What before, peak and at are stays.
func (m *memory) end() {
	close(m.stop)
	<-m.done
}

// now is the process's resident memory and what was written to shared memory.
func (m *memory) now() (int64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", m.pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var kib int64
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmRSS:"); ok {
			fmt.Sscan(rest, &kib)
		}
	}
	used, err := m.shared()
	return kib<<10 + used - m.others, err
}

// shared is what all files beside dir take in memory: a file that has lost its
// name is among them.
func (m *memory) shared() (int64, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(m.dir, &fs); err != nil {
		return 0, fmt.Errorf("ask how much shared memory is in use: %w", err)
	}
	return int64(fs.Blocks-fs.Bfree) * fs.Bsize, nil
}
