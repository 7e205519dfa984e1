package socket

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// pair is a TCP connection whose first end is Direct.
func pair(t testing.TB) (near, far net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialled, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if far, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	near = Direct(dialled)
	if near == dialled {
		t.Fatal("a TCP connection is not direct")
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

func TestDirectCarriesBothWays(t *testing.T) {
	near, far := pair(t)
	want := make([]byte, 5<<20) // more than sockets hold
	for i := range want {
		want[i] = byte(i * 7)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if n, err := near.Write(want); n != len(want) || err != nil {
			t.Errorf("wrote %d: %v", n, err)
		}
	})
	wg.Go(func() {
		if _, err := io.CopyN(far, far, int64(len(want))); err != nil {
			t.Error(err)
		}
	})
	got := make([]byte, len(want))
	if _, err := io.ReadFull(near, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("what came back differs: %v", err)
	}
	wg.Wait()
	far.Close()
	if n, err := near.Read(got); n != 0 || err != io.EOF {
		t.Errorf("read %d, %v behind the end", n, err)
	}
}

func TestDirectHeedsDeadlinesAndClose(t *testing.T) {
	near, _ := pair(t)
	near.SetReadDeadline(time.Now().Add(time.Millisecond))
	if _, err := near.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read past its deadline: %v", err)
	}
	much := make([]byte, 32<<20)
	near.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := near.Write(much); n == len(much) || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("wrote %d to who does not read: %v", n, err)
	}
	near.SetDeadline(time.Time{})
	ended := make(chan error)
	go func() {
		_, err := near.Read(make([]byte, 1))
		ended <- err
	}()
	near.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("read of a closed connection: %v", err)
	}
	if _, err := near.Write([]byte{1}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write to a closed connection: %v", err)
	}
}

func TestDirectTellsOfABrokenConnection(t *testing.T) {
	near, far := pair(t)
	far.(*net.TCPConn).SetLinger(0)
	far.Close()
	var err error
	for err == nil {
		_, err = near.Write([]byte("to nobody"))
	}
	var call *os.SyscallError
	if !errors.As(err, &call) {
		t.Errorf("write to a broken connection: %v", err)
	}
}

func TestOthersAreLeftAlone(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if Direct(a) != a {
		t.Error("a pipe is no TCP connection")
	}
}

func TestDirectAllocatesNothing(t *testing.T) {
	near, far := pair(t)
	p := make([]byte, 64)
	if n := testing.AllocsPerRun(100, func() {
		near.Write(p)
		far.Read(p)
		far.Write(p)
		near.Read(p)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
