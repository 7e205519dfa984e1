package e2e

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/limpet-games/limpet/client"
	"github.com/limpet-games/limpet/e2e/ledger"
	"github.com/limpet-games/limpet/e2e/load"
)

// BenchmarkInputToOutput times inputs to journaled and to checkpointed rooms,
// 1,000 a second over 100 rooms, from the client's send to its own note of it.
func BenchmarkInputToOutput(b *testing.B) {
	for _, kind := range []string{"ledger", "ledger-journal"} {
		b.Run(kind, func(b *testing.B) {
			ctx, cancel := context.WithTimeout(b.Context(), 2*time.Minute)
			defer cancel()
			c := startCluster(b, 3, 1)
			var echoes echoes
			fleet, err := load.Join(ctx, load.Config{URLs: c.URLs(), Kind: kind, Rooms: 100, PerRoom: 1, OnEvent: echoes.event})
			if err != nil {
				b.Fatal(err)
			}
			defer fleet.Close()
			pause(ctx, time.Second)
			every := time.NewTicker(time.Millisecond)
			defer every.Stop()
			b.ResetTimer()
			for i := range max(b.N, 5000) {
				<-every.C
				p := fleet.Players[i%len(fleet.Players)]
				echoes.sends(p)
				if _, err := p.Send(); err != nil {
					b.Fatal(err)
				}
			}
			if err := fleet.Settle(ctx); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			for name, q := range map[string]float64{"p50-us": 0.5, "p99-us": 0.99} {
				b.ReportMetric(float64(echoes.quantile(q).Microseconds()), name)
			}
		})
	}
}

// echoes are the times from a send to the note of it.
type echoes struct {
	mu   sync.Mutex
	sent map[*load.Player][]time.Time
	took []time.Duration
}

func (e *echoes) sends(p *load.Player) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.sent == nil {
		e.sent = map[*load.Player][]time.Time{}
	}
	e.sent[p] = append(e.sent[p], time.Now())
}

func (e *echoes) event(p *load.Player, ev client.Event) {
	m, ok := ev.(*client.Message)
	var note ledger.Note
	if !ok || json.Unmarshal(m.Payload, &note) != nil || note.N == 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if at := e.sent[p]; len(at) > 0 { // its room has no other player
		e.took = append(e.took, time.Since(at[0]))
		e.sent[p] = at[1:]
	}
}

func (e *echoes) quantile(q float64) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.took) == 0 {
		return 0
	}
	slices.Sort(e.took)
	return e.took[int(q*float64(len(e.took)-1))]
}
