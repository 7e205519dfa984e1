package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/rooms/internal/actor"
	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

// A rollout can go back: until it is confirmed, the state of kinds whose
// handlers can is written in the version before theirs. That a version is
// confirmed stands in the store, as a lease of its own that does not run out;
// every host looks for it, and is told too. Where it were lost the old version
// would be written again, which this build reads as well.

// versions are the kinds that can be written in the version before theirs.
type versions struct {
	host  *Host
	kinds map[string]rooms.Kind   // of which the versions are; static
	open  map[string]*atomic.Bool // confirmed, by kind; static but for the values
}

const (
	confirmedFor  = 10 * 365 * 24 * time.Hour
	confirmedPoll = 5 * time.Second
)

// newVersions takes the host's kinds, and those that its program serves beside.
func newVersions(h *Host) (*versions, error) {
	v := &versions{host: h, kinds: maps.Clone(h.kinds), open: map[string]*atomic.Bool{}}
	for _, k := range h.cfg.Served {
		k, err := k.Checked()
		if err != nil {
			return nil, fmt.Errorf("room host: %w", err)
		}
		v.kinds[k.Name] = k
	}
	for _, k := range v.kinds {
		if actor.Downgrades(k) {
			v.open[k.Name] = new(atomic.Bool)
		}
	}
	return v, nil
}

// writes is the version in which a kind's state is written now.
func (v *versions) writes(k rooms.Kind) uint32 {
	if confirmed := v.open[k.Name]; confirmed != nil && !confirmed.Load() {
		return k.StateVersion - 1
	}
	return k.StateVersion
}

// unconfirmed are the kinds that are written in an older version, by name.
func (v *versions) unconfirmed() (names []string) {
	for name, confirmed := range v.open {
		if !confirmed.Load() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func confirmation(k rooms.Kind) snapshot.Holder {
	return snapshot.Holder(fmt.Sprintf("confirmed/%s/%d", k.Name, k.StateVersion))
}

// run looks for confirmations that this host was not told of.
func (v *versions) run(ctx context.Context) error {
	for len(v.unconfirmed()) > 0 && ctx.Err() == nil {
		for _, name := range v.unconfirmed() {
			v.look(ctx, v.kinds[name])
		}
		sleep(ctx, confirmedPoll)
	}
	return nil
}

func (v *versions) look(ctx context.Context, k rooms.Kind) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if there, err := v.host.cfg.Store.LeaseAlive(ctx, confirmation(k)); err == nil && there {
		v.confirmed(k)
	}
}

// confirmed has all rooms of the kind be saved in its own version from here on.
func (v *versions) confirmed(k rooms.Kind) {
	if v.open[k.Name].Swap(true) {
		return
	}
	v.host.log.Info().Str("kind", k.Name).Uint32("state_version", k.StateVersion).Msg("state version confirmed: the former build can't take these rooms up any more")
	for _, r := range v.host.all() {
		if r.kind.Name == k.Name && r.durable() {
			r.post(event{kind: evSaveAgain})
		}
	}
}

// Confirm says, in the store and so to all hosts, that no older build is to take
// up the rooms of the kinds served here any more. It returns the kinds that it was
// said of now.
func (h *Host) Confirm(ctx context.Context) (names []string, err error) {
	for _, name := range h.versions.unconfirmed() {
		k := h.versions.kinds[name]
		err := h.cfg.Store.TakeLease(ctx, confirmation(k), confirmedFor)
		if errors.Is(err, snapshot.ErrLeaseEnded) { // it was said before
			err = h.cfg.Store.RenewLease(ctx, confirmation(k), confirmedFor)
		}
		if err != nil {
			return names, &wire.Error{Code: wire.CodeUnavailable, RetryMS: 1000, Text: fmt.Sprintf("confirm kind %s in the store: %v", name, err)}
		}
		h.versions.confirmed(k)
		names = append(names, name)
	}
	return names, nil
}
