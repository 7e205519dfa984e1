package directory

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/limpet-games/limpet/wire"
)

func TestFigureCachedLookup(t *testing.T) {
	c := newCluster(t, 1, 1)
	g, req := c.gateways()[0], Request{Room: "chat/a", Mode: wire.ModeJoinOrCreate}
	c.resolve(g, req)
	ctx := context.Background()
	best := testing.BenchmarkResult{T: time.Hour, N: 1}
	for range of(5, 1) {
		b := testing.Benchmark(func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := g.resolver.Resolve(ctx, req); err != nil {
					b.Fatal(err)
				}
			}
		})
		if b.NsPerOp() < best.NsPerOp() {
			best = b
		}
	}
	t.Logf("cached lookup: %d ns, %d allocations", best.NsPerOp(), best.AllocsPerOp())
	if best.AllocsPerOp() != 0 && raceFactor == 1 {
		t.Error("a cached lookup allocates")
	}
}

const (
	lookupRooms   = 1000
	lookupsAtOnce = 64
	// lookupRate is what an owner is to answer a second.
	lookupRate = 50_000
	// asOwner is set in the process that is the owner.
	asOwner = "LIMPET_FIGURE_OWNER"
)

// Lookups at a remote owner over a link on loopback, 64 in flight, asker and owner
// each a process of its own: at 50,000 a second, and as many as can be had.
func TestFigureRemoteLookup(t *testing.T) {
	if os.Getenv(asOwner) != "" {
		ownLookups(t)
		return
	}
	c := &cluster{t: t, claims: newClaims(), seeds: []string{startOwner(t)}}
	g := c.start("g0", RoleGateway)
	c.until("the owner is seen", func() bool { return len(g.View().Hosts) == 1 })
	to := g.View().Hosts[0]
	look := func(i int) error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, err := callLocation(ctx, g.mesh, to, Request{Room: lookupRoom(i), Mode: wire.ModeJoin}, 0)
		return err
	}
	lookups(t, 20, 0, look) // links, buffers and heaps grow
	for _, rate := range []int{lookupRate, 0} {
		sorted, long := lookups(t, of(5_000, 50), rate, look)
		t.Logf("lookup at a remote owner, 64 in flight: %.0f a second, p50 %s, p99 %s, max %s", float64(len(sorted))/long.Seconds(),
			sorted[len(sorted)/2], sorted[len(sorted)*99/100], sorted[len(sorted)-1])
	}
}

func lookupRoom(i int) wire.RoomID { return wire.Room("chat", fmt.Sprint(i%lookupRooms)) }

// lookups has 64 workers make so many lookups each, at rate a second in all, or,
// where that is 0, one after the other, and returns how long each took and all of
// them. A lookup that is due counts from then on, although the one before it is not
// back yet.
func lookups(t *testing.T, each, rate int, look func(i int) error) (sorted []time.Duration, long time.Duration) {
	t.Helper()
	took := make([][]time.Duration, lookupsAtOnce)
	var all sync.WaitGroup
	start := time.Now()
	for w := range took {
		took[w] = make([]time.Duration, each)
		all.Go(func() {
			for i := range each {
				begun := time.Now()
				if rate > 0 {
					due := start.Add(time.Duration(i*lookupsAtOnce+w) * time.Second / time.Duration(rate))
					if early := due.Sub(begun); early > 0 {
						time.Sleep(early)
						begun = time.Now()
					} else {
						begun = due
					}
				}
				if err := look(i*7 + w); err != nil {
					t.Error(err)
					return
				}
				took[w][i] = time.Since(begun)
			}
		})
	}
	all.Wait()
	return slices.Sorted(slices.Values(slices.Concat(took...))), time.Since(start)
}

// startOwner starts a process that owns all rooms, and returns its gossip address.
func startOwner(t *testing.T) string {
	t.Helper()
	owner := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	owner.Env = append(os.Environ(), asOwner+"=1")
	owner.Stderr = os.Stderr
	in, err := owner.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close() // what it waits for
		said, _ := io.ReadAll(out)
		if err := owner.Wait(); err != nil {
			t.Errorf("owner: %v\n%s", err, said)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal("owner tells no address: ", err)
	}
	return strings.TrimSpace(line)
}

// ownLookups is the owner's process.
func ownLookups(t *testing.T) {
	c := &cluster{t: t, claims: newClaims()}
	h := c.start("h0", RoleHost, "chat")
	for i := range lookupRooms {
		c.resolve(h, Request{Room: lookupRoom(i), Mode: wire.ModeJoinOrCreate})
	}
	fmt.Println(h.Addr())
	io.Copy(io.Discard, os.Stdin)
}
