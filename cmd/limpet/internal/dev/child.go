package dev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/limpet-games/limpet/internal/daemon"
)

type role string

const (
	roleHost    role = "host"
	roleGateway role = "gateway"
)

// child is one process of the cluster: under run it is started again whenever
// it dies.
type child struct {
	// Static.
	name    string
	role    role
	ports   nodePorts
	command []string
	env     []string
	log     *childLog
	spawner *spawner
	out     *Terminal
	down    time.Duration // how long it stays down after a death
	within  time.Duration // how long it may take to end before it is killed

	mu      sync.Mutex
	process *os.Process   // guarded by mu; nil while it is down
	starts  int           // guarded by mu
	since   time.Time     // of the last start or death; guarded by mu
	atOnce  bool          // the next death was asked for: start again at once; guarded by mu
	dead    chan struct{} // closed when the running process has died; guarded by mu
}

const (
	hostStaysDown = 3 * time.Second // so that one sees its rooms taken over
	stopWithin    = 10 * time.Second
)

func (c *Cluster) newChild(r role, p nodePorts, command, args, env []string) *child {
	ch := &child{
		name: args[1], role: r, ports: p, // args start with --name NAME
		command: append(command[:len(command):len(command)], args...),
		env:     append(cleanEnv(os.Environ()), env...),
		spawner: c.spawner, out: c.out, within: stopWithin,
	}
	ch.log = newChildLog(c.path("logs", ch.name+".log"), ch.name, c.out)
	if r == roleHost {
		ch.down = hostStaysDown
	}
	return ch
}

// cleanEnv leaves this program's own settings out: a child's are its flags.
func cleanEnv(env []string) []string {
	var out []string
	for _, v := range env {
		if !strings.HasPrefix(v, "LIMPET_") {
			out = append(out, v)
		}
	}
	return out
}

// A child that dies sooner than this after its start is started again ever
// more slowly.
const (
	tooSoon    = 5 * time.Second
	maxBackOff = 30 * time.Second
)

// run keeps the process running until ctx is done. It returns early, with a
// *SetupError, if the process says that its settings are wrong.
func (ch *child) run(ctx context.Context) error {
	if err := ch.log.open(); err != nil {
		return err
	}
	defer ch.log.close()
	soon := 0 // deaths in a row that came too soon
	for {
		started := time.Now()
		err := ch.once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if badSettings(err) {
			return setup("%s can't be run: %s", ch.name, ch.log.lastLine())
		}
		if ch.neverStarted() {
			return setup("%s can't be run: %v", ch.name, err)
		}
		if time.Since(started) < tooSoon {
			soon++
		} else {
			soon = 0
		}
		wait := backOff(ch.down, soon)
		if ch.askedFor() {
			wait = 0
		}
		ch.out.Event(ch.name, "%s; starting it again%s", ended(err), in(wait))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// backOff doubles the time that a child stays down with each death too soon,
// from the second in a row.
func backOff(down time.Duration, soon int) time.Duration {
	if soon < 2 {
		return down
	}
	return min(max(down, time.Second/2)<<min(soon-1, 8), maxBackOff)
}

// once runs the process to its end.
func (ch *child) once(ctx context.Context) error {
	cmd := exec.Command(ch.command[0], ch.command[1:]...)
	cmd.Env = ch.env
	cmd.Stdout, cmd.Stderr = ch.log, ch.log
	cmd.WaitDelay = time.Second // for what its own children hold open
	if err := ch.spawner.start(cmd); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	again := ch.began(cmd.Process)
	if again {
		ch.out.Event(ch.name, "is back, pid %d", cmd.Process.Pid)
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		ch.stopWith(ctx, cmd.Process)
	}()
	err := cmd.Wait()
	ch.died()
	<-stopped
	return err
}

// stopWith asks the process to end when ctx is done, and kills it if it takes
// too long. It returns when the process has died.
func (ch *child) stopWith(ctx context.Context, p *os.Process) {
	dead := ch.deadChannel()
	select {
	case <-dead:
		return
	case <-ctx.Done():
	}
	p.Signal(syscall.SIGTERM)
	select {
	case <-dead:
	case <-time.After(ch.within):
		ch.out.Event(ch.name, "does not end; killing it")
		p.Kill()
		<-dead
	}
}

func (ch *child) began(p *os.Process) (again bool) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.process, ch.since = p, time.Now()
	ch.dead = make(chan struct{})
	ch.starts++
	return ch.starts > 1
}

func (ch *child) died() {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.process, ch.since = nil, time.Now()
	close(ch.dead)
}

// deadChannel is closed when the running process has died.
func (ch *child) deadChannel() <-chan struct{} {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.dead
}

func (ch *child) askedFor() bool {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	asked := ch.atOnce
	ch.atOnce = false
	return asked
}

// kill ends the process as a crash would.
func (ch *child) kill() (pid int, ok bool) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.process == nil {
		return 0, false
	}
	return ch.process.Pid, ch.process.Kill() == nil
}

// killAndRestart is kill, with the process started again at once.
func (ch *child) killAndRestart() (pid int, ok bool) {
	ch.mu.Lock()
	ch.atOnce = ch.process != nil
	ch.mu.Unlock()
	return ch.kill()
}

func (ch *child) pid() int {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.process == nil {
		return 0
	}
	return ch.process.Pid
}

func (ch *child) neverStarted() bool {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.starts == 0
}

// badSettings: the exit status of a program that refuses its settings.
func badSettings(err error) bool {
	exit, ok := errors.AsType[*exec.ExitError](err)
	return ok && exit.ExitCode() == daemon.ExitUsage
}

func ended(err error) string {
	if err == nil {
		return "ended by itself"
	}
	return "died (" + err.Error() + ")"
}

func in(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return " in " + d.String()
}
