//go:build linux

// Package system starts what is measured, Limpet or a baseline, as processes of
// its own, and reads what they used.
package system

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a running child. It dies with this process.
type Process struct {
	Name string
	Ops  string // HOST:PORT of /metrics and profiles; empty: none

	cmd  *exec.Cmd
	done chan struct{}
	log  string
}

// start runs a program, on one CPU where cpu is not negative.
func start(dir, name string, cpu int, env []string, argv ...string) (*Process, error) {
	if cpu >= 0 {
		// nice fails without the right to it, and starts the program all the same.
		argv = append([]string{"nice", "-n", "-15", "taskset", "-c", strconv.Itoa(cpu)}, argv...)
	}
	p := &Process{Name: name, done: make(chan struct{}), log: dir + "/" + name + ".log"}
	out, err := os.Create(p.log)
	if err != nil {
		return nil, fmt.Errorf("make log of %s: %w", name, err)
	}
	defer out.Close()
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() { p.cmd.Wait(); close(p.done) }()
	return p, nil
}

// stop ends the process and waits for its end.
func (p *Process) stop() {
	p.cmd.Process.Signal(syscall.SIGKILL)
	<-p.done
}

// await tries until ok, for ten seconds at most.
func (p *Process) await(ctx context.Context, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	for {
		last := try()
		if last == nil {
			return nil
		}
		select {
		case <-p.done:
			tail, _ := os.ReadFile(p.log)
			return fmt.Errorf("%s ended: %s", p.Name, tail[max(0, len(tail)-600):])
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready (log in %s): %w", p.Name, p.log, last)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (p *Process) awaitPort(ctx context.Context, addr string) error {
	return p.await(ctx, func() error {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			c.Close()
		}
		return err
	})
}

func (p *Process) awaitReady(ctx context.Context) error {
	return p.await(ctx, func() error {
		resp, err := http.Get("http://" + p.Ops + "/readyz")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	})
}

// Usage is what a process has used so far.
type Usage struct {
	CPU     time.Duration
	RSS     uint64 // bytes
	Anon    uint64 // of RSS, what no file backs
	Metrics Metrics
}

// Metrics are a process's counters and gauges, with labels in the name.
type Metrics map[string]float64

// Sum adds up all series of a metric whose name and labels begin so.
func (m Metrics) Sum(prefix string) float64 {
	var sum float64
	for k, v := range m {
		if k == prefix || strings.HasPrefix(k, prefix+"{") || strings.Contains(prefix, "{") && strings.HasPrefix(k, prefix) {
			sum += v
		}
	}
	return sum
}

// Usage reads /proc and, where there is one, /metrics.
func (p *Process) Usage() (Usage, error) {
	u, err := ProcUsage(p.cmd.Process.Pid)
	if err != nil || p.Ops == "" {
		return u, err
	}
	u.Metrics, err = scrape("http://" + p.Ops + "/metrics")
	return u, err
}

// CPU is the CPU time that the process has used so far.
func (p *Process) CPU() (time.Duration, error) { return cpuTime(p.cmd.Process.Pid) }

// cpuTime is the user and system time of a process, of all its threads that are
// and were. Its clock (clock_getcpuclockid(3)) counts nanoseconds, where
// /proc/PID/stat has hundredths of a second: a thirtieth of what a quiet server
// uses while it is looked at.
func cpuTime(pid int) (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &t); err != nil {
		return 0, fmt.Errorf("read CPU time: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

// ProcUsage reads what the kernel knows of a process.
func ProcUsage(pid int) (Usage, error) {
	var u Usage
	var err error
	if u.CPU, err = cpuTime(pid); err != nil {
		return u, err
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, fmt.Errorf("read usage: %w", err)
	}
	u.RSS, u.Anon = kib(status, "VmRSS:"), kib(status, "RssAnon:")
	return u, nil
}

func kib(status []byte, name string) uint64 {
	for line := range strings.SplitSeq(string(status), "\n") {
		if rest, ok := strings.CutPrefix(line, name); ok {
			n, _ := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
			return n << 10
		}
	}
	return 0
}

// plain asks for no compression: what gzip holds would be counted as members' memory.
var plain = http.Client{Transport: &http.Transport{DisableCompression: true}}

func scrape(url string) (Metrics, error) {
	resp, err := plain.Get(url)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	m := Metrics{}
	for line := range strings.SplitSeq(string(text), "\n") {
		at := strings.LastIndexByte(line, ' ')
		if at < 0 || line[0] == '#' {
			continue
		}
		if v, err := strconv.ParseFloat(line[at+1:], 64); err == nil {
			m[line[:at]] = v
		}
	}
	return m, nil
}

// Profile fetches a CPU profile of d into a file.
func (p *Process) Profile(d time.Duration, file string) error {
	return p.fetch(fmt.Sprintf("profile?seconds=%d", int(d.Seconds())), file)
}

// HeapProfile has the process collect and fetches what it holds into a file.
func (p *Process) HeapProfile(file string) error { return p.fetch("heap?gc=1", file) }

func (p *Process) fetch(what, file string) error {
	resp, err := http.Get(fmt.Sprintf("http://%s/debug/pprof/%s", p.Ops, what))
	if err != nil {
		return fmt.Errorf("profile %s: %w", p.Name, err)
	}
	defer resp.Body.Close()
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, resp.Body)
	return errors.Join(err, out.Close())
}
