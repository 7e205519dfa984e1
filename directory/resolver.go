package directory

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/limpet-games/limpet/internal/link"
	"github.com/limpet-games/limpet/wire"
)

// ResolverConfig is what a Resolver works with.
type ResolverConfig struct {
	Members *Members
	Mesh    *link.Mesh
	Local   *Service // on hosts: this process's own part of the directory
	Coroner *Coroner // told of owners that refuse connections; nil: nobody is

	MaxCached   int // rooms; default 100,000
	MaxSearches int // rooms looked for at once; default 16,384
	MaxWaiters  int // askers of one search; default 16,384

	Log     zerolog.Logger
	Metrics prometheus.Registerer
}

// Resolver finds rooms for a gateway or a host: from its cache, or by asking
// the room's owners. All methods may be called concurrently.
type Resolver struct {
	cfg      ResolverConfig
	cache    *cache
	searches *flights
	metrics  resolverMetrics
}

const (
	resolveWithin = 5 * time.Second // where ctx has no deadline
	searchWithin  = 6 * time.Second // longer than an owner takes
	askAgain      = 20 * time.Millisecond
	askAgainMost  = 500 * time.Millisecond
	// settleFor is how long after hosts came or went a kind that nobody
	// serves may be one that a host not yet seen serves.
	settleFor = time.Second
)

// NewResolver makes a resolver with an empty cache.
func NewResolver(cfg ResolverConfig) *Resolver {
	r := &Resolver{cfg: cfg}
	r.cache = newCache(cmp.Or(cfg.MaxCached, 100_000), func() { r.metrics.evicted.Inc() })
	r.searches = newFlights(cmp.Or(cfg.MaxSearches, 16384), cmp.Or(cfg.MaxWaiters, 16384), searchWithin)
	r.metrics = newResolverMetrics(cfg.Metrics, r)
	cfg.Members.OnBury(r.ForgetNode)
	return r
}

// Run lets searches go on until ctx is done and waits for their end.
func (r *Resolver) Run(ctx context.Context) error {
	<-ctx.Done()
	r.searches.end()
	return nil
}

// Resolve finds where a room lives, and makes it live somewhere if the mode
// allows. The answer's epoch is above req.After. Errors are *wire.Error: what
// can't be had while nodes come, go and settle is tried again until ctx ends
// (5 s where it has no deadline), everything else is answered at once.
//
// Requests for one room share a search, except those that create a room or
// take any. A place found in the cache may be out of date: who finds nothing
// there says so with After and Not.
func (r *Resolver) Resolve(ctx context.Context, req Request) (Location, error) {
	if loc, ok := r.cached(req); ok {
		r.metrics.hits.Inc()
		return loc, nil
	}
	return r.miss(ctx, req)
}

// miss is Resolve where the cache has no answer. It is apart for the goroutines that
// need none of its stack.
func (r *Resolver) miss(ctx context.Context, req Request) (Location, error) {
	if err := req.check(); err != nil {
		return Location{}, wire.Refuse(wire.CodeBadRequest, err.Error())
	}
	r.metrics.misses.Inc()
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, resolveWithin)
		defer cancel()
	}
	return r.resolve(ctx, req)
}

// Learn takes in a place that an answer told. A lower epoch than known is
// ignored.
func (r *Resolver) Learn(loc Location) {
	if !r.cfg.Members.Buried(loc.Node) {
		r.cache.put(loc)
	}
}

// Forget drops a room's place if it is not above epoch.
func (r *Resolver) Forget(room wire.RoomID, epoch wire.Epoch) { r.cache.remove(room, epoch) }

// ForgetNode drops the places on a node.
func (r *Resolver) ForgetNode(id NodeID) { r.cache.removeNode(id) }

func (r *Resolver) cached(req Request) (Location, bool) {
	if req.Mode != wire.ModeJoin && req.Mode != wire.ModeJoinOrCreate {
		return Location{}, false
	}
	loc, ok := r.cache.live(req.Room, r.cfg.Members.View())
	return loc, ok && usable(loc, req)
}

func (r *Resolver) resolve(ctx context.Context, req Request) (Location, error) {
	pause := askAgain
	for {
		changed := r.cfg.Members.Changed()
		loc, err := r.share(ctx, req)
		if err == nil || err != errAgain && r.final(err) {
			return loc, err
		}
		if err == errAgain {
			if loc, ok := r.cached(req); ok {
				return loc, nil
			}
			continue
		}
		r.metrics.retries.Inc()
		select {
		case <-ctx.Done():
			return Location{}, err
		case <-changed:
		case <-time.After(pause/2 + rand.N(pause)):
			pause = min(2*pause, askAgainMost)
		}
	}
}

// share joins or starts a search for the room.
func (r *Resolver) share(ctx context.Context, req Request) (Location, error) {
	if req.Mode == wire.ModeCreate || req.Mode == wire.ModeAny {
		return r.ask(ctx, req)
	}
	return r.searches.do(ctx, req, func(ctx context.Context) (Location, error) { return r.ask(ctx, req) })
}

// ask asks the owners of the room, the primary first, and the others where a
// link fails.
func (r *Resolver) ask(ctx context.Context, req Request) (loc Location, err error) {
	if r.cfg.Local != nil {
		loc, err = r.cfg.Local.locate(ctx, req, 0)
	} else {
		loc, err = r.askOwners(ctx, req)
	}
	if err != nil {
		return Location{}, err
	}
	if loc.Epoch <= req.After {
		return Location{}, wire.Refuse(wire.CodeUnavailable, "the room is known only at an epoch that is over")
	}
	r.Learn(loc)
	return loc, nil
}

func (r *Resolver) askOwners(ctx context.Context, req Request) (Location, error) {
	room := req.Room
	if req.Mode == wire.ModeAny {
		room = searchKey(&req)
	}
	for owner := range r.cfg.Members.View().Ring.Owners(PartitionOf(room)) {
		loc, err := callLocation(ctx, r.cfg.Mesh, owner, req, 0)
		if !unanswered(err) {
			return loc, err
		}
		if ctx.Err() != nil {
			return Location{}, wire.Refuse(wire.CodeTimeout, "locate room: "+err.Error())
		}
		r.metrics.fallbacks.Inc()
		r.suspect(owner.ID, err)
	}
	return Location{}, wire.Refuse(wire.CodeUnavailable, "no room host answers")
}

func (r *Resolver) suspect(id NodeID, err error) {
	var other *link.OtherNodeError
	if r.cfg.Coroner != nil && (link.Refused(err) || errors.As(err, &other)) {
		r.cfg.Coroner.suspectSoon(id)
	}
}

// final reports whether an error is to be answered, not tried again.
func (r *Resolver) final(err error) bool {
	e := wire.CodeOf(err)
	switch e.Code {
	case wire.CodeUnavailable, wire.CodeTimeout:
		return e.RetryMS != 0
	case wire.CodeUnknownKind:
		return time.Since(r.cfg.Members.View().settled) > settleFor
	}
	return true
}
