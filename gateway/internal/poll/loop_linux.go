package poll

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Loop watches sockets. Its methods may be called concurrently; Run and Remove
// belong to one goroutine.
type Loop[T comparable] struct {
	// Static.
	epoll int
	file  *os.File        // the epoll itself, which the runtime's poller watches
	raw   syscall.RawConn // of file
	event int             // an eventfd: somebody was roused, or the loop ends

	mu     sync.Mutex
	by     []T // by descriptor; the zero T: not watched
	roused []T // to be handed over by the loop
	n      int // watched
	closed bool
}

// New makes a loop, which Free gives back.
func New[T comparable]() (*Loop[T], error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make epoll: %w", err)
	}
	// The runtime takes only what does not block.
	if err := unix.SetNonblock(epoll, true); err != nil {
		unix.Close(epoll)
		return nil, fmt.Errorf("make epoll: %w", err)
	}
	l := &Loop[T]{epoll: epoll, file: os.NewFile(uintptr(epoll), "epoll")}
	if l.raw, err = l.file.SyscallConn(); err != nil {
		l.file.Close()
		return nil, fmt.Errorf("watch epoll: %w", err)
	}
	if l.event, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		l.file.Close()
		return nil, fmt.Errorf("make eventfd: %w", err)
	}
	if err := l.control(unix.EPOLL_CTL_ADD, l.event); err != nil {
		unix.Close(l.event)
		l.file.Close()
		return nil, fmt.Errorf("watch eventfd: %w", err)
	}
	return l, nil
}

// hangup are the events after which no data is to be waited for.
const hangup = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR

func (l *Loop[T]) control(what, fd int) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | edge, Fd: int32(fd)}
	return unix.EpollCtl(l.epoll, what, fd, &ev)
}

// edge has a socket reported once for all that has arrived.
const edge = uint32(unix.EPOLLET & 0xffffffff)

// Add watches a socket, which must stay open until it is removed. What has
// arrived already is reported. False: the loop is closed, or the kernel takes
// no more.
func (l *Loop[T]) Add(fd int, it T) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	for fd >= len(l.by) {
		l.by = append(l.by, make([]T, max(64, len(l.by)))...)
	}
	if l.control(unix.EPOLL_CTL_ADD, fd) != nil {
		return false
	}
	l.by[fd] = it
	l.n++
	return true
}

// Remove stops watching a socket. False: it was not watched.
func (l *Loop[T]) Remove(fd int, it T) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.has(fd, it) {
		return false
	}
	var none T
	l.by[fd] = none
	l.n--
	unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, fd, nil) // it is watched
	return true
}

func (l *Loop[T]) has(fd int, it T) bool { return fd < len(l.by) && l.by[fd] == it }

// Rouse has the loop hand a socket over, if it watches it.
func (l *Loop[T]) Rouse(fd int, it T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.has(fd, it) {
		return
	}
	if l.roused = append(l.roused, it); len(l.roused) == 1 {
		l.kick()
	}
}

func (l *Loop[T]) kick() { unix.Write(l.event, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

// Len is how many sockets are watched.
func (l *Loop[T]) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}

// batch is how many events are taken at once.
const batch = 256

// Run reports until the loop is closed. arrived tells that there is something
// to be read, and whether the peer has sent its last; what it leaves unread is
// not reported again. roused tells of what Rouse named and is still watched.
func (l *Loop[T]) Run(arrived func(it T, now time.Time, ended bool), roused func(it T)) error {
	events := make([]unix.EpollEvent, batch)
	items := make([]T, batch)
	var calls []T
	var failure error
	err := l.raw.Read(func(fd uintptr) bool {
		for {
			n, err := wait(fd, events)
			if err == unix.EINTR {
				continue
			}
			if err != 0 {
				failure = fmt.Errorf("wait for sockets: %w", err)
				return true
			}
			if n == 0 {
				return false
			}
			var over bool
			if calls, over = l.take(events[:n], items, calls[:0]); over {
				return true
			}
			now := time.Now()
			var none T
			for i, ev := range events[:n] {
				if items[i] != none {
					arrived(items[i], now, ev.Events&hangup != 0)
					items[i] = none
				}
			}
			for _, it := range calls {
				roused(it)
			}
			clear(calls)
			if n < len(events) { // that was all; the runtime's poller hears of what comes from now on
				return false
			}
		}
	})
	if failure != nil || errors.Is(err, os.ErrClosed) {
		return failure
	}
	return err
}

// take finds whose events these are, and who was roused.
func (l *Loop[T]) take(events []unix.EpollEvent, items, calls []T) ([]T, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, ev := range events {
		fd := int(ev.Fd)
		if fd == l.event {
			var b [8]byte
			unix.Read(fd, b[:])
			calls = append(calls, l.roused...)
			clear(l.roused)
			l.roused = l.roused[:0]
		} else if fd < len(l.by) {
			items[i] = l.by[fd]
		}
	}
	return calls, l.closed
}

// Close ends Run, waits for nothing, and takes no more sockets.
func (l *Loop[T]) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		l.kick()
	}
}

// Free gives the loop's descriptors back, after Run has returned.
func (l *Loop[T]) Free() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	unix.Close(l.event)
	l.file.Close()
}
