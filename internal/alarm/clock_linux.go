package alarm

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Clock rings alarms. It may be used concurrently.
type Clock struct {
	// Static.
	base time.Time
	fd   int
	file *os.File        // of fd, which the runtime's poller watches
	raw  syscall.RawConn // of file

	mu    sync.Mutex
	due   queue         // guarded by mu
	armed time.Duration // what the kernel's timer is set to, since base; 0: not set; guarded by mu
	shut  bool          // fd is closed; guarded by mu
}

// NewClock makes a clock; its alarms ring while Run runs.
func NewClock() (*Clock, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("make timer: %w", err)
	}
	c := &Clock{base: time.Now(), fd: fd, file: os.NewFile(uintptr(fd), "timer")}
	if c.raw, err = c.file.SyscallConn(); err != nil {
		c.file.Close()
		return nil, fmt.Errorf("watch timer: %w", err)
	}
	return c, nil
}

// Run rings until ctx is done, and then never more.
func (c *Clock) Run(ctx context.Context) error {
	defer c.close()
	defer context.AfterFunc(ctx, func() { c.file.SetReadDeadline(time.Unix(1, 0)) })()
	// The poller tells each time that the timer runs out; it need not be read.
	err := c.raw.Read(func(uintptr) bool {
		c.ring()
		return ctx.Err() != nil
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

func (c *Clock) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shut = true
	c.file.Close()
}

// together is how long a moment is: alarms within it ring at its end.
const together = 20 * time.Microsecond

func (c *Clock) ring() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	past := now.Sub(c.base)
	for len(c.due) > 0 && c.due[0].at <= past {
		heap.Pop(&c.due).(*Alarm).bell <- now // which is empty since it was set
	}
	c.armed = 0
	c.arm(past)
}

func (c *Clock) set(a *Alarm, at time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a.quiet()
	if a.at = at; a.i == notSet {
		heap.Push(&c.due, a)
	} else {
		heap.Fix(&c.due, a.i)
	}
	if a.i == 0 {
		c.arm(time.Since(c.base))
	}
}

func (c *Clock) stop(a *Alarm) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a.quiet()
	if a.i != notSet {
		heap.Remove(&c.due, a.i)
	}
}

// arm sets the kernel's timer to the first alarm, unless it runs out before. mu is
// held.
func (c *Clock) arm(now time.Duration) {
	if c.shut || len(c.due) == 0 {
		return
	}
	at := max(1, c.due[0].at+together)
	if c.armed > 0 && c.armed <= at {
		return
	}
	c.armed = at
	settime(c.fd, max(1, at-now))
}

// settime is a timerfd_settime(2) of which the runtime is not told, as in package
// socket. It fails only for what is not a timer.
func settime(fd int, d time.Duration) {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, uintptr(fd), 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
}
