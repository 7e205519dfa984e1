package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
)

// starter starts processes on a thread of its own: they inherit its priority,
// whatever that of this process's other threads is, and their death signal is
// tied to it.
type starter struct {
	once sync.Once
	tid  int
	work chan func()
}

var starts = starter{work: make(chan func())}

// start is cmd.Start on the starter's thread, which lives as long as the process.
func (s *starter) start(cmd *exec.Cmd) error {
	s.run()
	err := make(chan error, 1)
	s.work <- func() { err <- cmd.Start() }
	return <-err
}

func (s *starter) run() {
	s.once.Do(func() {
		began := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			s.tid = syscall.Gettid()
			close(began)
			for do := range s.work {
				do()
			}
		}()
		<-began
	})
}

// Yield has this process, which plays thousands of clients that would have
// machines of their own, give way to the processes that it measures: its threads
// run at a niceness, those of what it starts before and after do not.
func Yield(niceness int) error {
	starts.run()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("list threads: %w", err)
	}
	for _, t := range tasks {
		tid, err := strconv.Atoi(t.Name())
		if err != nil || tid == starts.tid {
			continue
		}
		if err := syscall.Setpriority(syscall.PRIO_PROCESS, tid, niceness); err != nil && err != syscall.ESRCH {
			return fmt.Errorf("lower priority: %w", err)
		}
	}
	return nil
}
