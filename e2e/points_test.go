package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/limpet-games/limpet/client"
	"github.com/limpet-games/limpet/e2e/check"
	"github.com/limpet-games/limpet/e2e/cluster"
	"github.com/limpet-games/limpet/e2e/ledger"
	"github.com/limpet-games/limpet/e2e/load"
	"github.com/limpet-games/limpet/internal/fault"
	"github.com/limpet-games/limpet/wire"
)

// TestCrashAtNamedPoints kills a host at each named point under load, one after
// the other, and then holds what all rooms have against what was sent and seen.
func TestCrashAtNamedPoints(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	p := startPointed(ctx, t)
	for i, name := range slices.Sorted(maps.Keys(fault.Points)) {
		p.crashAt(ctx, t, p.Hosts[i%len(p.Hosts)], name)
	}
	p.finish(ctx, t)
}

// pointed is a cluster whose hosts have fault points, under load.
type pointed struct {
	*cluster.Cluster
	rec    *recorder
	fleets []*load.Fleet
	stop   func() error
	other  *client.Client // of a player who does what the fleets don't
	rooms  int            // that it has used
	cuts   int
	moves  int
}

func startPointed(ctx context.Context, t *testing.T) *pointed {
	t.Helper()
	dir := os.Getenv("LIMPET_E2E_LOGS")
	if dir == "" {
		dir = t.TempDir()
	}
	c, err := cluster.Start(t.Context(), cluster.Config{
		Dir: dir, Gatewayd: program(t, "cmd/gatewayd"), Roomd: program(t, "e2e/roomd", "-tags=faults"),
		Hosts: 3, Gateways: 2, Log: t.Output(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Stop() })
	p := &pointed{Cluster: c, rec: newRecorder()}
	playing, stop := context.WithCancel(ctx)
	played := make(chan error, 2)
	for _, kind := range []string{"ledger", "ledger-journal"} {
		f, err := load.Join(ctx, load.Config{
			URLs: c.URLs(), Kind: kind, Prefix: kind + "-", Rooms: 24, PerRoom: 3, OnEvent: p.rec.event, Record: true,
			Journaled: kind == "ledger-journal",
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(f.Close)
		p.fleets = append(p.fleets, f)
		go func() { played <- f.Play(playing, 3) }()
	}
	p.stop = func() error { stop(); return errors.Join(<-played, <-played) }
	if p.other, err = client.Dial(ctx, client.Config{URLs: c.URLs()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.other.Close)
	return p
}

// crashAt takes a host to a point until it has died there, and starts it again.
func (p *pointed) crashAt(ctx context.Context, t *testing.T, victim *cluster.Process, name string) {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	dead, where := victim.Done(), fault.Points[name]
	by := p.Hosts[(slices.Index(p.Hosts, victim)+1)%len(p.Hosts)]
	furnish := victim
	switch where {
	case fault.Join, fault.Fail, fault.Empty, fault.Take:
		furnish = by // rooms are placed where few are
	}
	p.furnish(ctx, furnish)
	if err := victim.Arm(name); err != nil {
		t.Fatal(err)
	}
	furnished := time.Now()
	for alive := true; alive; {
		if time.Since(furnished) > 3*time.Second {
			if where == fault.Arrive {
				furnish = by // all it had may have gone to the third
			}
			if where == fault.Take && ended(by) { // in vain: another had its rooms
				p.restart(ctx, t, by)
			}
			p.furnish(ctx, furnish) // its rooms may have been taken over
			furnished = time.Now()
		}
		p.bring(ctx, where, victim, by)
		select {
		case <-dead:
			alive = false
		case <-ctx.Done():
			t.Fatalf("%s did not come to %s", victim.Name, name)
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Logf("%s died at %s after %s", victim.Name, name, time.Since(began).Round(time.Millisecond))
	if err := victim.Arm(""); err != nil {
		t.Fatal(err)
	}
	p.restart(ctx, t, victim)
	if ended(by) {
		p.restart(ctx, t, by)
	}
	// What a drain of the other host was for is over.
	_ = p.Gateways[0].Admin(ctx, "/v1/drain/cancel", map[string]any{"host": by.Name}, nil)
}

// furnish gives a host rooms of both kinds: one that has just started has none.
func (p *pointed) furnish(ctx context.Context, h *cluster.Process) {
	for _, kind := range []string{"ledger", "ledger-journal"} {
		for range 4 {
			p.moves++
			room := fmt.Sprintf("%s/%s-%d", kind, kind, p.moves%24)
			// Where the room is there already that is an error, and fine.
			_ = p.Gateways[0].Admin(ctx, "/v1/move", map[string]any{"room": room, "to": h.Name}, nil)
		}
	}
}

func ended(p *cluster.Process) bool {
	select {
	case <-p.Done():
		return true
	default:
		return false
	}
}

func (p *pointed) restart(ctx context.Context, t *testing.T, h *cluster.Process) {
	t.Helper()
	if err := h.Start(); err != nil {
		t.Fatal(err)
	}
	if err := h.Ready(ctx); err != nil {
		t.Fatal(err)
	}
}

// bring does once what takes a victim to a point; by is another host. Errors are
// the victim's death, or come again.
func (p *pointed) bring(ctx context.Context, where fault.Where, victim, by *cluster.Process) {
	short, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	switch where {
	case fault.Resume:
		for _, f := range p.fleets {
			for range 6 { // others each time: who is cut often comes back late
				p.cuts++
				f.Players[p.cuts%len(f.Players)].Cut()
			}
		}
	case fault.Join, fault.Fail, fault.Empty:
		p.visit(short, where)
	case fault.Move:
		p.drain(short, victim)
	case fault.Arrive:
		p.drain(short, by)
	case fault.Take:
		if !ended(by) {
			by.Signal(syscall.SIGKILL)
		}
	case fault.Wake:
		if err := victim.Pause(short); err == nil {
			time.Sleep(3 * time.Second) // its lease ends
			victim.Signal(syscall.SIGCONT)
			time.Sleep(time.Second)
		}
	}
}

// drain empties a host, and has it serve again.
func (p *pointed) drain(ctx context.Context, h *cluster.Process) {
	_, _ = cluster.Drain(ctx, p.Gateways[0], h.Name, nil)
	_ = p.Gateways[0].Admin(ctx, "/v1/drain/cancel", map[string]any{"host": h.Name}, nil)
}

// visit joins a new room, on whichever host, and leaves it again.
func (p *pointed) visit(ctx context.Context, where fault.Where) {
	p.rooms++
	r, err := p.other.Join(ctx, wire.ModeJoinOrCreate, "ledger-brief", fmt.Sprintf("visit-%d", p.rooms), nil)
	if err != nil {
		return
	}
	if where == fault.Fail {
		_, _ = r.Send([]byte(ledger.Poison))
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
	_ = r.Leave(ctx)
}

// finish holds every room's book against what was sent and seen.
func (p *pointed) finish(ctx context.Context, t *testing.T) {
	t.Helper()
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	for _, f := range p.fleets {
		if err := f.Settle(ctx); err != nil {
			t.Fatal(err)
		}
		books, err := f.Books(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range f.Players {
			if err := inOrderOnce(books[q.RoomName].Applied[q.Name].Numbers(), q.Sent()); err != nil {
				t.Errorf("%s in %s: %v", q.Name, q.RoomName, err)
			}
		}
		for _, wrong := range check.Check(f.History(books)) {
			t.Error(wrong)
		}
	}
	t.Log(p.rec.summary())
}
