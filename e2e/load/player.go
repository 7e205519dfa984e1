package load

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"github.com/limpet-games/limpet/client"
	"github.com/limpet-games/limpet/e2e/check"
	"github.com/limpet-games/limpet/e2e/ledger"
)

// Player is one client and its membership of one room.
type Player struct {
	Name     string // what the ledger knows it by
	RoomName string
	Client   *client.Client
	Room     *client.Room
	Silence  *Silence // of the seat

	// Static after player.
	seat, turn int
	net        dialer        // nil: net.Dialer's
	record     *record       // nil: nothing is kept
	joined     chan struct{} // closed when the join has ended, well or not

	closed atomic.Bool // its tab was closed
	dials  atomic.Int64

	mu   sync.Mutex
	sent uint64   // inputs sent so far; guarded by mu
	conn net.Conn // the last one; guarded by mu
}

// Number is that of the player's seat, from 0.
func (p *Player) Number() int { return p.seat }

// Send sends the player's next input and returns its count.
func (p *Player) Send() (uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.sent + 1
	b, err := json.Marshal(ledger.Input{Client: p.Name, N: n})
	if err != nil {
		return 0, err
	}
	if p.record != nil { // before the send: its ack may come during it
		p.record.add(check.Event{Kind: check.Sent, N: n})
	}
	took, err := p.Room.Send(b)
	if err != nil {
		if p.record != nil {
			p.record.takeBack(n)
		}
		return 0, fmt.Errorf("send input of %s: %w", p.Name, err)
	}
	if uint64(took) != n {
		return 0, fmt.Errorf("input %d of %s took number %d", n, p.Name, took)
	}
	p.sent = n
	return n, nil
}

// Sent is how many inputs the player has sent.
func (p *Player) Sent() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent
}

type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

// Dials is how often the player's client has tried to connect.
func (p *Player) Dials() int64 { return p.dials.Load() }

func (p *Player) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	p.dials.Add(1)
	dial := p.net
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(ctx, network, addr)
	if err == nil {
		p.mu.Lock()
		p.conn = conn
		p.mu.Unlock()
	}
	return conn, err
}

// Cut breaks the player's connection without a word.
func (p *Player) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if tcp, ok := p.conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
		tcp.Close()
	}
}
