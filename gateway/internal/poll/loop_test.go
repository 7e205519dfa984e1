//go:build linux

package poll

import (
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type socket struct {
	near, far int
	got       chan string
	roused    chan struct{}
}

func sockets(t *testing.T, n int) []*socket {
	t.Helper()
	var all []*socket
	for range n {
		p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(p[0]); unix.Close(p[1]) })
		all = append(all, &socket{near: p[0], far: p[1], got: make(chan string, 100), roused: make(chan struct{}, 100)})
	}
	return all
}

// run runs a loop whose sockets tell what has come.
func run(t *testing.T) *Loop[*socket] {
	t.Helper()
	l, err := New[*socket]()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		defer l.Free()
		err := l.Run(func(s *socket, _ time.Time, ended bool) {
			var b [64]byte
			n, _ := unix.Read(s.near, b[:])
			text := string(b[:max(0, n)])
			if ended {
				text += " ended"
			}
			s.got <- text
		}, func(s *socket) {
			if l.Remove(s.near, s) {
				s.roused <- struct{}{}
			}
		})
		if err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l
}

func await[T any](t *testing.T, c chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(20 * time.Second):
		t.Fatal("nothing within 20 s")
	}
	return v
}

func TestLoopTellsWhatArrives(t *testing.T) {
	l := run(t)
	all := sockets(t, 600) // more than a batch
	for _, s := range all {
		if !l.Add(s.near, s) {
			t.Fatal("not added")
		}
	}
	for _, text := range []string{"one", "two"} {
		for _, s := range all {
			unix.Write(s.far, []byte(text))
		}
		for _, s := range all {
			if got := await(t, s.got); got != text {
				t.Fatalf("got %q, want %q", got, text)
			}
		}
	}
	unix.Shutdown(all[7].far, unix.SHUT_WR)
	if got := await(t, all[7].got); got != " ended" {
		t.Errorf("got %q of a socket that ended", got)
	}
	if l.Len() != len(all) {
		t.Errorf("%d watched", l.Len())
	}
}

func TestLoopTellsWhatWasThereBefore(t *testing.T) {
	l := run(t)
	s := sockets(t, 1)[0]
	unix.Write(s.far, []byte("early"))
	l.Add(s.near, s)
	if got := await(t, s.got); got != "early" {
		t.Errorf("got %q", got)
	}
}

func TestLoopHandsOverWhomItWatches(t *testing.T) {
	l := run(t)
	all := sockets(t, 3)
	l.Add(all[0].near, all[0])
	l.Add(all[1].near, all[1])
	l.Rouse(all[2].near, all[2]) // not watched: nothing happens
	l.Rouse(all[0].near, all[0])
	l.Rouse(all[0].near, all[0])
	l.Rouse(all[1].near, all[1])
	await(t, all[0].roused)
	await(t, all[1].roused)
	if l.Len() != 0 || len(all[0].roused) != 0 {
		t.Errorf("%d watched, roused again %d times", l.Len(), len(all[0].roused))
	}
	unix.Write(all[0].far, []byte("unheard"))
	l.Add(all[2].near, all[2])
	unix.Write(all[2].far, []byte("heard"))
	await(t, all[2].got)
	if len(all[0].got) != 0 {
		t.Error("told of a socket that is not watched")
	}
}

func TestClosedLoopTakesNothing(t *testing.T) {
	l := run(t)
	l.Close()
	l.Close()
	s := sockets(t, 1)[0]
	if l.Add(s.near, s) {
		t.Error("taken after Close")
	}
}
