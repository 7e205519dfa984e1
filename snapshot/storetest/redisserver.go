package storetest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startWithin bounds how long a server may take to answer.
const startWithin = 20 * time.Second

// Redis is a real redis-server on a port of loopback, which it keeps over
// restarts. Its data is in memory alone unless its arguments say otherwise.
type Redis struct {
	Addr string // HOST:PORT

	dir  string
	args []string

	mu   sync.Mutex
	cmd  *exec.Cmd
	out  *bytes.Buffer
	done chan struct{} // closed when cmd has ended
}

// StartRedis starts a server in a directory of the test and ends it with the
// test. args are redis-server's own, as "--appendonly", "yes".
func StartRedis(t testing.TB, args ...string) (url string, r *Redis) {
	t.Helper()
	r, err := LaunchRedis(t.TempDir(), args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Kill)
	return r.URL(), r
}

// LaunchRedis is StartRedis without a test, as for TestMain: the caller ends
// the server with Kill and removes the directory.
func LaunchRedis(dir string, args ...string) (*Redis, error) {
	return launch(dir, append([]string{"--save", "", "--appendonly", "no"}, args...))
}

// StartSentinel starts a Sentinel with a configuration file, which it rewrites.
func StartSentinel(t testing.TB, conf string) *Redis {
	t.Helper()
	r, err := launch(t.TempDir(), []string{"--sentinel"}, conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Kill)
	return r
}

// launch starts a server with what has to stand ahead of all flags, and flags.
func launch(dir string, flags []string, first ...string) (*Redis, error) {
	var last error
	for range 5 { // another process may take the port between the look and the start
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		r := &Redis{Addr: net.JoinHostPort("127.0.0.1", port), dir: dir}
		r.args = append(first, "--port", port, "--bind", "127.0.0.1", "--dir", dir, "--daemonize", "no")
		r.args = append(r.args, flags...)
		if last = r.Restart(); last == nil {
			return r, nil
		}
	}
	return nil, last
}

func freePort() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer ln.Close()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	return port, err
}

// URL is the server's address for redisstore.
func (r *Redis) URL() string { return "redis://" + r.Addr }

// Restart starts the server again on its port and with its directory, after a
// Kill; a running one is killed first. It returns when the server answers.
func (r *Redis) Restart() error {
	r.Kill()
	r.mu.Lock()
	defer r.mu.Unlock()
	cmd := exec.Command("redis-server", r.args...)
	cmd.Dir = r.dir
	r.out = &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = r.out, r.out
	endWithParent(cmd)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start redis-server (is it installed?): %w", err)
	}
	done := make(chan struct{})
	r.cmd, r.done = cmd, done
	go func() {
		_ = cmd.Wait() // ends by Kill, or says why in its output
		close(done)
	}()
	return r.await()
}

// await polls until the server answers. The caller holds mu.
func (r *Redis) await() error {
	deadline := time.Now().Add(startWithin)
	for {
		err := ping(r.Addr)
		if err == nil {
			return nil
		}
		select {
		case <-r.done:
			return fmt.Errorf("redis-server on %s ended: %s", r.Addr, r.out.String())
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("redis-server on %s does not answer: %w", r.Addr, err)
		}
	}
}

func ping(addr string) error {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return err
	}
	if strings.HasPrefix(line, "+PONG") || strings.HasPrefix(line, "-NOAUTH") {
		return nil
	}
	return errors.New(strings.TrimSpace(line))
}

// Kill ends the server with SIGKILL and waits for its end. Killing one that has
// ended is fine.
func (r *Redis) Kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cmd == nil {
		return
	}
	_ = r.cmd.Process.Kill() // it may have ended by itself
	<-r.done
	r.cmd = nil
}

// Pause stops the server's process where it stands, with its connections open.
func (r *Redis) Pause() error { return r.signal(syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (r *Redis) Resume() error { return r.signal(syscall.SIGCONT) }

func (r *Redis) signal(sig syscall.Signal) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cmd == nil {
		return errors.New("redis-server is not running")
	}
	return r.cmd.Process.Signal(sig)
}
