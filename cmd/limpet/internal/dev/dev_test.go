package dev

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/limpet-games/limpet/internal/daemon"
)

func testConfig(dir string) Config {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return Config{
		Hosts: 2, Gateways: 1, Data: dir, LogLevel: "info",
		Limpet: self, Command: "limpet", Terminal: NewTerminal(io.Discard),
	}
}

// text is a terminal's text, read while it is written.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (x *text) Write(p []byte) (int, error) { x.mu.Lock(); defer x.mu.Unlock(); return x.b.Write(p) }
func (x *text) String() string              { x.mu.Lock(); defer x.mu.Unlock(); return x.b.String() }

// running is a cluster under test.
type running struct {
	*Cluster
	t    *testing.T
	dir  string
	out  *text
	stop func() error
}

func start(t *testing.T, how string, change func(*Cluster)) *running {
	t.Helper()
	t.Setenv(asNode, how)
	r := &running{t: t, dir: t.TempDir(), out: &text{}}
	cfg := testConfig(r.dir)
	cfg.Terminal = NewTerminal(r.out)
	c, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range c.hosts {
		h.down = 50 * time.Millisecond
	}
	if change != nil {
		change(c)
	}
	r.Cluster = c
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	r.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { r.stop() })
	return r
}

func (r *running) ready() {
	r.t.Helper()
	eventually(r.t, "the cluster is ready", func() error {
		s, err := ReadState(r.dir)
		if err == nil && !s.Ready {
			err = errors.New("not ready")
		}
		return err
	})
}

// eventually waits for a condition and tells why it did not come about.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func pidOf(t *testing.T, dir, name string) (pid int) {
	t.Helper()
	eventually(t, name+" has a pid", func() (err error) {
		raw, err := os.ReadFile(filepath.Join(dir, name+".pid"))
		if err == nil {
			pid, err = strconv.Atoi(string(raw))
		}
		return err
	})
	return pid
}

func alive(pid int) error {
	if err := syscall.Kill(pid, 0); err != nil {
		return err
	}
	// A process that nobody has waited for is dead all the same.
	if raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && bytes.Contains(raw, []byte(") Z ")) {
		return syscall.ESRCH
	}
	return nil
}

func gone(pid int) error {
	if alive(pid) == nil {
		return fmt.Errorf("process %d lives", pid)
	}
	return nil
}

func (r *running) ask(method, path, body, contentType, secret string) (int, map[string]any) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, "http://"+r.control.Addr().String()+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Authorization", "Bearer "+secret)
	req.Header.Set(daemon.DevGatewayHeader, "gateway-1")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil && resp.StatusCode != http.StatusNotFound {
		r.t.Fatal(err)
	}
	return resp.StatusCode, answer
}

func (r *running) post(path, body string) (int, map[string]any) {
	r.t.Helper()
	return r.ask(http.MethodPost, path, body, "application/json; charset=utf-8", r.secret)
}

func TestStartsShowsAndStops(t *testing.T) {
	r := start(t, "good", nil)
	r.ready()
	var pids []int
	for _, name := range []string{"host-1", "host-2", "gateway-1"} {
		pids = append(pids, pidOf(t, r.dir, name))
	}
	eventually(t, "the banner is shown", func() error {
		for _, want := range []string{r.demo(), "host-2", "limpet ps --data " + r.dir, fmt.Sprint("kill -9 ", pids[0]), "Ctrl-C"} {
			if got := r.out.String(); !strings.Contains(got, want) {
				return fmt.Errorf("no %q in %s", want, got)
			}
		}
		return nil
	})
	if out := r.out.String(); strings.Contains(out, "\x1b[") {
		t.Error("colours where there is no terminal")
	}
	status, answer := r.ask(http.MethodGet, "/dev/status", "", "", r.secret)
	if nodes, _ := answer["nodes"].([]any); status != http.StatusOK || len(nodes) != 3 || answer["dev"] != true {
		t.Errorf("status: %d %v", status, answer)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"host-1", "host-2", "gateway-1"} {
		if err := gone(pids[i]); err != nil {
			t.Errorf("%s after the end: %v", name, err)
		}
		if _, err := os.Stat(filepath.Join(r.dir, name+".ended")); err != nil {
			t.Errorf("%s was not asked to end: %v", name, err)
		}
	}
	if _, err := ReadState(r.dir); err == nil {
		t.Error("the state file is left behind")
	}
}

func TestKilledHostComesBack(t *testing.T) {
	r := start(t, "good", nil)
	r.ready()
	before := pidOf(t, r.dir, "host-2")
	status, answer := r.post("/dev/kill", `{"node":"host-2#00ff"}`)
	if status != http.StatusOK || answer["pid"] != float64(before) {
		t.Fatalf("kill: %d %v", status, answer)
	}
	eventually(t, "host-2 is back", func() error {
		if pid := pidOf(t, r.dir, "host-2"); pid == before {
			return errors.New("not yet")
		}
		return nil
	})
	if err := gone(before); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(r.dir, "host-2.ended")); err == nil {
		t.Error("host-2 was asked to end, not killed")
	}
	eventually(t, "the terminal tells", func() error {
		if s := r.out.String(); !strings.Contains(s, "died (signal: killed)") || !strings.Contains(s, "is back, pid") {
			return errors.New(s)
		}
		return nil
	})
}

func TestGatewayRestartsAtOnceOnItsPort(t *testing.T) {
	r := start(t, "good", func(c *Cluster) { c.gateways[0].down = time.Hour })
	r.ready()
	before, port := pidOf(t, r.dir, "gateway-1"), r.gateways[0].ports.players
	if status, answer := r.post("/dev/restart-gateway", ""); status != http.StatusAccepted || answer["node"] != "gateway-1" {
		t.Fatalf("restart: %d %v", status, answer)
	}
	eventually(t, "gateway-1 is back", func() error {
		if pid := pidOf(t, r.dir, "gateway-1"); pid == before {
			return errors.New("not yet")
		}
		return nil
	})
	if now := r.gateways[0].ports.players; now != port {
		t.Errorf("port was %s, is %s", port, now)
	}
}

func TestControlRefuses(t *testing.T) {
	r := start(t, "good", nil)
	r.ready()
	for _, c := range []struct {
		method, path, body, contentType, secret string
		want                                    int
	}{
		{"POST", "/dev/kill", `{"node":"host-1"}`, "application/json", "", http.StatusUnauthorized},
		{"POST", "/dev/kill", `{"node":"host-1"}`, "application/json", r.secret + "x", http.StatusUnauthorized},
		{"GET", "/dev/status", "", "", "guess", http.StatusUnauthorized},
		{"POST", "/dev/kill", `{"node":"host-1"}`, "text/plain", r.secret, http.StatusUnsupportedMediaType},
		{"POST", "/dev/kill", `{"node":"host-9"}`, "application/json", r.secret, http.StatusNotFound},
		{"POST", "/dev/kill", `host-1`, "application/json", r.secret, http.StatusBadRequest},
		{"POST", "/dev/kill", strings.Repeat(" ", 5000), "application/json", r.secret, http.StatusBadRequest},
		{"POST", "/dev/restart-gateway", `{"node":"host-1"}`, "application/json", r.secret, http.StatusNotFound},
	} {
		if status, answer := r.ask(c.method, c.path, c.body, c.contentType, c.secret); status != c.want {
			t.Errorf("%s %s %.20q as %s: %d %v, want %d", c.method, c.path, c.body, c.contentType, status, answer, c.want)
		}
	}
	for _, name := range []string{"host-1", "host-2", "gateway-1"} {
		if err := alive(pidOf(t, r.dir, name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStubbornChildIsKilled(t *testing.T) {
	r := start(t, "stubborn", func(c *Cluster) {
		for _, ch := range c.children() {
			ch.within = 50 * time.Millisecond
		}
	})
	r.ready()
	pid := pidOf(t, r.dir, "host-1")
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if err := gone(pid); err != nil {
		t.Error(err)
	}
}

func TestChildThatRefusesItsSettingsEndsAll(t *testing.T) {
	t.Setenv(asNode, "refuses")
	c, err := Open(t.Context(), testConfig(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	err = c.Run(t.Context())
	if se, ok := errors.AsType[*SetupError](err); !ok || !strings.Contains(se.Text, "no such kind") {
		t.Errorf("got %v", err)
	}
}

func TestChildrenDieWithTheSupervisor(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asSupervisor+"="+dir, asNode+"=good")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pids := []int{pidOf(t, dir, "host-1"), pidOf(t, dir, "host-2"), pidOf(t, dir, "gateway-1")}
	cmd.Process.Kill()
	cmd.Wait()
	for _, pid := range pids {
		eventually(t, "orphan ends", func() error { return gone(pid) })
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	broken := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module broken\n\ngo 1.26\n", "main.go": "package main\n\nfunc main() { nonsense }\n"} {
		if err := os.WriteFile(filepath.Join(broken, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	used := testConfig(t.TempDir())
	other, err := Open(t.Context(), used)
	if err != nil {
		t.Fatal(err)
	}
	defer other.close()
	for _, c := range []struct {
		says   string
		change func(*Config)
	}{
		{fmt.Sprintf("port %d is taken", port), func(c *Config) { c.Port = port }},
		{"data directory " + file, func(c *Config) { c.Data = file }},
		{"another limpet dev", func(c *Config) { c.Data = used.Data }},
		{"does not build", func(c *Config) { c.Roomd = broken }},
		{"neither a program nor a package", func(c *Config) { c.Roomd = file }},
		{"does not build", func(c *Config) { c.Roomd = filepath.Join(broken, "nowhere") }},
	} {
		cfg := testConfig(t.TempDir())
		c.change(&cfg)
		cluster, err := Open(t.Context(), cfg)
		if se, ok := errors.AsType[*SetupError](err); !ok || !strings.Contains(se.Text, c.says) || strings.Contains(se.Text, "\n") {
			t.Errorf("want a line with %q, got %v", c.says, err)
		}
		if cluster != nil && err == nil {
			cluster.close()
		}
	}
}

func TestBackOff(t *testing.T) {
	for _, c := range []struct {
		down time.Duration
		soon int
		want time.Duration
	}{
		{0, 0, 0}, {0, 1, 0}, {0, 2, time.Second}, {0, 3, 2 * time.Second}, {0, 99, maxBackOff},
		{hostStaysDown, 1, hostStaysDown}, {hostStaysDown, 2, 2 * hostStaysDown}, {hostStaysDown, 9, maxBackOff},
	} {
		if got := backOff(c.down, c.soon); got != c.want {
			t.Errorf("backOff(%s, %d) is %s, want %s", c.down, c.soon, got, c.want)
		}
	}
}
