package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// A process that restarts in place becomes its successor by exec: the same
// process to the kernel, its parent and its peers, running the program that is
// in its file by now. Its listening sockets stay open, so that nobody who
// connects meanwhile is refused.

// InheritVariable names what a process leaves to the one that it becomes.
const InheritVariable = "LIMPET_INHERIT"

// Inheritance is what a process leaves to its successor.
type Inheritance struct {
	PID    int             `json:"pid"` // of both: for any other process it is void
	Boot   uint64          `json:"boot"`
	Ops    int             `json:"ops"`  // descriptor of the operations listener
	Link   int             `json:"link"` // and of that for links
	Gossip string          `json:"gossip"`
	Peers  []string        `json:"peers"` // gossip addresses of some other nodes
	Parts  json.RawMessage `json:"parts"` // what the process's parts leave
}

// inherit takes what a predecessor left, nil where there is none.
func inherit() (*Inheritance, error) {
	raw := os.Getenv(InheritVariable)
	if raw == "" {
		return nil, nil
	}
	os.Unsetenv(InheritVariable)
	var in Inheritance
	if err := json.Unmarshal([]byte(raw), &in); err != nil {
		return nil, fmt.Errorf("%s: %w", InheritVariable, err)
	}
	if in.PID != os.Getpid() {
		return nil, nil // somebody's child, who was given a whole environment
	}
	return &in, nil
}

// inherited is an inherited listening socket.
func inherited(fd int) (net.Listener, error) {
	f := os.NewFile(uintptr(fd), "listener")
	if f == nil {
		return nil, fmt.Errorf("inherited descriptor %d is none", fd)
	}
	defer f.Close()
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("inherited descriptor %d: %w", fd, err)
	}
	return ln, nil
}

// leave keeps a listening socket open through an exec.
func leave(ln net.Listener) (fd int, err error) {
	sock, ok := ln.(syscall.Conn)
	if !ok {
		return 0, fmt.Errorf("leave listener: %T has no descriptor", ln)
	}
	raw, err := sock.SyscallConn()
	if err == nil {
		// A duplicate is not closed on exec, as the original is.
		err = errors.Join(raw.Control(func(was uintptr) { fd, err = syscall.Dup(int(was)) }), err)
	}
	if err != nil {
		return 0, fmt.Errorf("leave listener: %w", err)
	}
	return fd, nil
}

// program is the file that this process was started from, or what is in its
// place by now.
var program, programErr = findProgram()

func findProgram() (string, error) {
	path, err := exec.LookPath(os.Args[0])
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return os.Executable()
	}
	return path, nil
}

// Program is the path of the file that a restart in place runs.
func Program() (string, error) { return program, programErr }

// Become has the program in this process's file take this process over, with
// its arguments, environment and listening sockets. It returns only with an
// error.
func (w *Wiring) Become(c *Cluster, parts any) error {
	path, err := Program()
	if err != nil {
		return fmt.Errorf("find own program: %w", err)
	}
	in, err := w.bequeath(c, parts)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode inheritance: %w", err)
	}
	env := append(os.Environ(), InheritVariable+"="+string(raw))
	return fmt.Errorf("run %s in place: %w", path, syscall.Exec(path, os.Args, env))
}

// maxPeers are named to the successor: it needs one that lives.
const maxPeers = 32

func (w *Wiring) bequeath(c *Cluster, parts any) (*Inheritance, error) {
	in := &Inheritance{PID: os.Getpid(), Boot: c.boot, Gossip: c.Members.Addr()}
	var err, err2, err3 error
	in.Ops, err = leave(w.opsListener)
	in.Link, err2 = leave(c.links)
	in.Parts, err3 = json.Marshal(parts)
	for _, n := range c.Members.View().Nodes {
		if n.ID != c.ID && len(in.Peers) < maxPeers {
			in.Peers = append(in.Peers, n.Gossip)
		}
	}
	return in, errors.Join(err, err2, err3)
}

// gossipPort is where the predecessor gossiped, which others know it by.
func (in *Inheritance) gossipPort() (int, error) {
	_, port, err := net.SplitHostPort(in.Gossip)
	if err != nil {
		return 0, fmt.Errorf("inherited gossip address: %w", err)
	}
	return strconv.Atoi(port)
}
