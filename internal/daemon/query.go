package daemon

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/query"
	"github.com/limpet-games/limpet/wire"
)

// callQuery puts a query, its text, to a host's rooms; the answer is the
// encoded partial.
const callQuery = 0x3d

// Bounds of queries.
const (
	QueryDefault = 500 * time.Millisecond // a query's deadline unless it names one
	QueryWithin  = 15 * time.Second       // the longest
	maxQueries   = 16                     // that this node composes at once; more are answered busy
	maxScans     = 8                      // that a host puts to its rooms at once; more are answered busy
	streamEvery  = 20 * time.Millisecond  // between two interim answers
	queryMargin  = 5 * time.Millisecond   // of the deadline, or a tenth of it: to put the answer together
)

// Scan puts a query to the rooms of this host. It ends with ctx.
type Scan func(ctx context.Context, q *query.Query) (*query.Partial, error)

// QueryRequest is the body of POST /v1/query.
type QueryRequest struct {
	Query    string  `json:"query"`
	Deadline float64 `json:"deadline_ms,omitempty"` // 0: QueryDefault
	Stream   bool    `json:"stream,omitempty"`      // JSON lines, one whenever hosts have answered
}

// QueryAnswer is what is known of the answer, and how much that covers.
type QueryAnswer struct {
	query.Table
	Hosts   Completeness `json:"hosts"`
	Took    float64      `json:"took_ms"`
	Interim bool         `json:"interim,omitempty"` // in a stream: more follows
}

// Completeness says how much of the cluster an answer covers, as far as the
// node that composed it knows: of the rooms of hosts that did not answer it
// knows what gossip says.
type Completeness struct {
	Asked    int        `json:"asked"`
	Answered int        `json:"answered"`
	Rooms    uint64     `json:"rooms"`    // at the hosts that answered
	Expected uint64     `json:"expected"` // with those at the others
	Share    float64    `json:"share"`    // 0 to 1, of the rooms; of the hosts, where there are no rooms
	Missing  []NoAnswer `json:"missing"`
}

// NoAnswer is a host whose rooms the answer lacks.
type NoAnswer struct {
	Host  string `json:"host"`
	Rooms uint64 `json:"rooms"` // as gossip has it: seconds old, in large clusters minutes
	Why   string `json:"why"`
}

// Ask puts a query to all hosts of the view at once. It returns when all have
// answered or ctx is done: a host that is slow or dead makes the answer less
// complete, not later. interim, where not nil, is told what has come in so far,
// at most once each 20 ms.
func (c *Cluster) Ask(ctx context.Context, q *query.Query, interim func(QueryAnswer)) QueryAnswer {
	hosts := c.Members.View().Hosts
	a := newAsking(q, hosts)
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait() // each ends with ctx
	defer cancel()
	parts := make(chan hostPart, len(hosts))
	for _, n := range hosts {
		running.Go(func() {
			p, err := c.askHost(ctx, n, q)
			parts <- hostPart{n, p, err}
		})
	}
	told := a.begun
	for len(a.waits) > 0 {
		select {
		case p := <-parts:
			a.take(p)
		case <-ctx.Done():
			return a.answer(false)
		}
		if interim != nil && len(a.waits) > 0 && time.Since(told) >= streamEvery {
			told = time.Now()
			interim(a.answer(true))
		}
	}
	return a.answer(false)
}

func (c *Cluster) askHost(ctx context.Context, n *directory.Node, q *query.Query) (*query.Partial, error) {
	if n.ID == c.ID && c.scan != nil {
		return c.scan(ctx, q)
	}
	raw, err := c.Mesh.Call(ctx, string(n.ID), n.Link, callQuery, []byte(q.String()))
	if err != nil {
		return nil, err
	}
	return q.Decode(raw)
}

// hostPart is one host's answer.
type hostPart struct {
	node    *directory.Node
	partial *query.Partial
	err     error
}

// asking is an answer on its way.
type asking struct {
	begun   time.Time
	all     *query.Partial
	asked   int
	waits   map[directory.NodeID]*directory.Node // have not answered
	missing []NoAnswer
}

func newAsking(q *query.Query, hosts []*directory.Node) *asking {
	a := &asking{begun: time.Now(), all: q.NewPartial(), asked: len(hosts), waits: make(map[directory.NodeID]*directory.Node, len(hosts))}
	for _, n := range hosts {
		a.waits[n.ID] = n
	}
	return a
}

const tooLate = "no answer by the deadline"

func (a *asking) take(p hostPart) {
	delete(a.waits, p.node.ID)
	if p.err != nil {
		a.miss(p.node, whyNot(p.err))
		return
	}
	a.all.Merge(p.partial)
}

// whyNot is why a node is missing in an answer.
func whyNot(err error) string {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		wire.CodeOf(err).Code == wire.CodeTimeout { // the node's clock ran out first
		return tooLate
	}
	return err.Error()
}

func (a *asking) miss(n *directory.Node, why string) {
	a.missing = append(a.missing, NoAnswer{Host: string(n.ID), Rooms: uint64(n.Load.Rooms), Why: why})
}

// answer is what has come in so far; unless it is an interim one, hosts that
// have not answered are missing.
func (a *asking) answer(interim bool) QueryAnswer {
	if !interim {
		for _, n := range a.waits {
			a.miss(n, tooLate)
		}
		clear(a.waits)
	}
	r := QueryAnswer{Table: a.all.Table(), Interim: interim}
	h := Completeness{Asked: a.asked, Answered: a.asked - len(a.missing) - len(a.waits), Rooms: r.Rooms, Expected: r.Rooms, Missing: []NoAnswer{}}
	h.Missing = append(h.Missing, a.missing...)
	slices.SortFunc(h.Missing, func(x, y NoAnswer) int { return cmp.Compare(x.Host, y.Host) })
	for _, m := range h.Missing {
		h.Expected += m.Rooms
	}
	for _, n := range a.waits {
		h.Expected += uint64(n.Load.Rooms)
	}
	h.Share = directory.Share(h.Rooms, h.Expected, h.Answered, h.Asked)
	r.Hosts, r.Took = h, float64(time.Since(a.begun).Microseconds())/1000
	return r
}
