package dev

import (
	"context"
	"errors"
	"os/exec"
	"runtime"
)

// spawner starts every child from one OS thread that lives until the last of
// them has ended: Linux sends a child its parent-death signal when the thread
// that made it ends, not the process.
type spawner struct {
	requests chan spawnRequest
	done     chan struct{} // closed when run has returned
}

type spawnRequest struct {
	cmd    *exec.Cmd
	answer chan error // capacity 1
}

func newSpawner() *spawner {
	return &spawner{requests: make(chan spawnRequest), done: make(chan struct{})}
}

func (s *spawner) run(ctx context.Context) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(s.done)
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-s.requests:
			r.answer <- r.cmd.Start()
		}
	}
}

// start starts cmd in a process group of its own, so that a Ctrl-C at the
// terminal reaches the supervisor alone.
func (s *spawner) start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = childAttr()
	r := spawnRequest{cmd, make(chan error, 1)}
	select {
	case s.requests <- r:
		return <-r.answer
	case <-s.done:
		return errors.New("supervisor has ended")
	}
}
