package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/limpet-games/limpet/client"
	"github.com/limpet-games/limpet/e2e/cluster"
	"github.com/limpet-games/limpet/e2e/faulty"
	"github.com/limpet-games/limpet/wire"
)

// TestIsolatedKind breaks the process of an isolated kind in every way that a
// room's code can: its rooms come back without the input at fault, whose sender
// hears of it, and a room of another kind on the same host notices nothing. With
// LIMPET_ISOLATE set to a number each fault comes so often, and that room's p99 is
// held against what it was before.
func TestIsolatedKind(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c := startClusterOf(t, cluster.Config{Roomd: program(t, "e2e/roomd"), Hosts: 1, Gateways: 1,
		Host: []string{"--isolate", "faulty", "--isolate-memory", "256"}})

	steady := newPulse(ctx, t, c.URLs())
	beside := newListener(ctx, t, c.URLs(), "faulty/beside")
	beside.play(ctx, t, 3)
	first := isolated(ctx, t, c.Hosts[0])
	if first.State != "ready" || !strings.HasPrefix(first.Node, "host-1~faulty#") {
		t.Fatalf("isolated kind: %+v", first)
	}
	rounds := isolateRounds(t)
	quiet := steady.lap(ctx, t, "without a fault", time.Duration(rounds-1)*5*time.Second)
	for _, fault := range []string{faulty.Loop, faulty.Goroutine, faulty.Overflow, faulty.Maps, faulty.Eat} {
		// A machine that others use stalls now and then; what the fault does it does
		// each time.
		for try := 1; ; try++ {
			steady.lap(ctx, t, "between", 0)
			for i := range rounds {
				breakKind(ctx, t, c, beside, fault, fmt.Sprintf("%s-%d-%d", fault, try, i))
			}
			err := steady.hold(steady.lap(ctx, t, fault, 0), quiet, rounds > 1)
			if err == nil {
				break
			}
			if try == isolateTries {
				t.Errorf("%s, each of %d times: %v", fault, try, err)
				break
			}
			t.Logf("%s, once more: %v", fault, err)
		}
	}
	steady.stop()

	// A rollout that watches the host hears of what went wrong in its child.
	var state struct{ Failures struct{ Panics int } }
	if err := json.Unmarshal([]byte(get(ctx, t, c.Hosts[0].Ops("/v1/restart?host=host-1"), "")), &state); err != nil || state.Failures.Panics < 5 {
		t.Errorf("the host tells of %+v (%v), want five deaths of its child at least", state, err)
	}

	// A child restarts in place as a host does: it stays the same process.
	now := isolated(ctx, t, c.Hosts[0])
	was := epochOf(ctx, t, now, "faulty/beside")
	if err := syscall.Kill(now.PID, syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	for epochOf(ctx, t, now, "faulty/beside") <= was {
		wait(ctx, t, "the room goes on in the next program")
	}
	beside.play(ctx, t, beside.last()+1)
	if s := isolated(ctx, t, c.Hosts[0]); s.PID != now.PID || s.Node != now.Node || s.Deaths != now.Deaths {
		t.Errorf("restarted in place from %+v to %+v", now, s)
	}

	// A silent child is killed, and nobody is to blame.
	now = isolated(ctx, t, c.Hosts[0])
	if err := syscall.Kill(now.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for s := isolated(ctx, t, c.Hosts[0]); s.Deaths == now.Deaths || s.State != "ready"; s = isolated(ctx, t, c.Hosts[0]) {
		wait(ctx, t, "the stopped process is another one")
	}
	beside.play(ctx, t, beside.last()+1)

	// The host's death is its child's.
	now = isolated(ctx, t, c.Hosts[0])
	c.Hosts[0].Signal(syscall.SIGKILL)
	for syscall.Kill(now.PID, 0) == nil && !zombie(now.PID) {
		wait(ctx, t, "the child dies with its host")
	}
	if err := c.Hosts[0].Start(); err != nil {
		t.Fatal(err)
	}
	beside.play(ctx, t, beside.last()+1)

	// An orderly end takes it along, and its rooms are saved.
	now = isolated(ctx, t, c.Hosts[0])
	c.Hosts[0].Signal(syscall.SIGTERM)
	if status := c.Hosts[0].Status(); status != 0 {
		t.Errorf("host ended with status %d", status)
	}
	if syscall.Kill(now.PID, 0) == nil && !zombie(now.PID) {
		t.Errorf("process %d outlives its host", now.PID)
	}
}

const isolateTries = 3

// breakKind has a room's code break the process of its kind, and sees it come back.
func breakKind(ctx context.Context, t *testing.T, c *cluster.Cluster, beside *listener, fault, room string) {
	t.Helper()
	before := isolated(ctx, t, c.Hosts[0])
	victim := newListener(ctx, t, c.URLs(), "faulty/"+room)
	victim.play(ctx, t, 3)
	began := time.Now()
	victim.breaks(ctx, t, fault)
	failed := time.Since(began)
	victim.play(ctx, t, 6)
	beside.play(ctx, t, beside.last()+1)
	// What hangs is ended a little after its room was given up.
	var after report
	for after = isolated(ctx, t, c.Hosts[0]); after.Deaths == before.Deaths || after.State != "ready"; after = isolated(ctx, t, c.Hosts[0]) {
		wait(ctx, t, "the process is another one")
	}
	if after.Deaths != before.Deaths+1 || after.PID == before.PID {
		t.Errorf("%s: process before %+v, after %+v: want one death", fault, before, after)
	}
	t.Logf("%s: sender told and room back after %s; %s", fault, failed.Round(time.Millisecond), after.Last)
	if failed > 10*time.Second {
		t.Errorf("%s: sender told and room back after %s, want 10 s at most", fault, failed)
	}
}

// zombie: dead, and whoever is to hear of it has not yet.
func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(after, "Z")
}

type report struct {
	State, Node string
	Ops         string
	PID, Deaths int
	Last        string `json:"last_death"`
}

func isolated(ctx context.Context, t *testing.T, host *cluster.Process) report {
	t.Helper()
	for {
		var answer struct{ Kinds []report }
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, host.Ops("/v1/isolated"), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			err = json.NewDecoder(resp.Body).Decode(&answer)
			resp.Body.Close()
		}
		if err == nil && len(answer.Kinds) == 1 {
			return answer.Kinds[0]
		}
		wait(ctx, t, "the host says how its isolated kind does")
	}
}

// epochOf asks a child for the epoch of a room that lives there; 0: it does not.
func epochOf(ctx context.Context, t *testing.T, child report, room string) (epoch uint64) {
	t.Helper()
	var answer struct {
		Rooms []struct {
			Room  string
			Epoch uint64
		}
	}
	if json.Unmarshal([]byte(get(ctx, t, "http://"+child.Ops+"/v1/rooms", "")), &answer) != nil {
		return 0
	}
	for _, r := range answer.Rooms {
		if r.Room == room {
			epoch = r.Epoch
		}
	}
	return epoch
}

func wait(ctx context.Context, t *testing.T, what string) {
	t.Helper()
	select {
	case <-ctx.Done():
		t.Fatalf("%s: %v", what, ctx.Err())
	case <-time.After(20 * time.Millisecond):
	}
}

// listener is one player of a room that counts its inputs.
type listener struct {
	room *client.Room

	mu      sync.Mutex
	count   int           // as told last
	failed  []wire.Input  // inputs that were skipped for good
	drops   int           // lost connections
	resumes int           // and those that came back
	heard   chan struct{} // capacity 1
}

func newListener(ctx context.Context, t *testing.T, urls []string, room string) *listener {
	t.Helper()
	return listenerOf(ctx, t, client.Config{URLs: urls}, room)
}

func listenerOf(ctx context.Context, t *testing.T, cfg client.Config, room string) *listener {
	t.Helper()
	l := &listener{heard: make(chan struct{}, 1)}
	cfg.OnEvent = l.event
	c, err := client.Dial(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	kind, name, _ := strings.Cut(room, "/")
	for l.room == nil {
		if l.room, err = c.Join(ctx, wire.ModeJoinOrCreate, kind, name, nil); err != nil {
			t.Logf("join %s: %v", room, err)
			wait(ctx, t, "join "+room)
		}
	}
	return l
}

func (l *listener) event(_ *client.Room, e client.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch e := e.(type) {
	case *client.Message:
		l.count, _ = strconv.Atoi(string(e.Payload))
	case *client.Failed:
		l.failed = append(l.failed, e.N)
	case *client.Dropped:
		l.drops++
	case *client.Resumed:
		l.resumes++
	default:
		return
	}
	select {
	case l.heard <- struct{}{}:
	default:
	}
}

func (l *listener) last() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// lost is how often the connection was lost.
func (l *listener) lost() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.drops
}

// until waits for what the room tells.
func (l *listener) until(ctx context.Context, t *testing.T, what string, is func() bool) {
	t.Helper()
	for {
		l.mu.Lock()
		ok := is()
		l.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-l.heard:
		case <-ctx.Done():
			t.Fatalf("%s: %v (count %d, failed %v)", what, ctx.Err(), l.count, l.failed)
		}
	}
}

// play plays until the room's count is n.
func (l *listener) play(ctx context.Context, t *testing.T, n int) {
	t.Helper()
	for i := l.last(); i < n; i++ {
		if _, err := l.room.Send([]byte("play")); err != nil {
			t.Fatal(err)
		}
	}
	l.until(ctx, t, "count "+strconv.Itoa(n), func() bool { return l.count == n })
}

// breaks sends an input that breaks something, and waits until it is skipped.
func (l *listener) breaks(ctx context.Context, t *testing.T, fault string) {
	t.Helper()
	n, err := l.room.Send([]byte(fault))
	if err != nil {
		t.Fatal(err)
	}
	l.until(ctx, t, fault+" is skipped for good", func() bool { return slices.Contains(l.failed, n) })
}
