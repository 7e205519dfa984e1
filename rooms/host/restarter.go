package host

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/daemon"
	"github.com/limpet-games/limpet/internal/isolate"
	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

// RestartState is how a host stands to restarts in place.
type RestartState struct {
	Node  string `json:"node"` // NAME#BOOT
	PID   int    `json:"pid"`
	Build string `json:"build"`
	State string `json:"state"` // serving, restarting or starting
	// Last is how the last restart in place went; nil: there was none.
	Last *Adoption `json:"last,omitempty"`
	// Next is the program that a restart would run, Gone the kinds served here
	// that it does not serve. Of a plan alone.
	Next *Description `json:"next,omitempty"`
	Gone []string     `json:"gone,omitempty"`
	// Changes are what the next program changes for the kinds served here.
	Changes []string `json:"changes,omitempty"`
	Older   bool     `json:"older,omitempty"` // it can't read some kind's state
	// OneWay are kinds whose rooms this program will not load once the next one
	// has saved them, and that are not marked so.
	OneWay []string `json:"one_way,omitempty"`
	// Unconfirmed are the kinds that are written in the version before theirs,
	// until a rollout is confirmed.
	Unconfirmed []string `json:"unconfirmed,omitempty"`

	NotReady string   `json:"not_ready,omitempty"` // why the host takes no rooms
	Failures Failures `json:"failures"`
}

// Failures are what went wrong with rooms' code and state in this process, and in
// those of its isolated kinds.
type Failures struct {
	Loads  int64 `json:"loads"`  // rooms whose state did not load, or that did not start
	Panics int64 `json:"panics"` // rooms whose code failed, and deaths of isolated kinds' processes
	Stuck  int64 `json:"stuck"`  // calls of rooms' code that lasted longer than a second
	// Refused are rooms whose checkpoint was refused: too big, or not encoded.
	Refused int64 `json:"refused"`
}

func (f *Failures) add(g Failures) {
	f.Loads, f.Panics, f.Stuck, f.Refused = f.Loads+g.Loads, f.Panics+g.Panics, f.Stuck+g.Stuck, f.Refused+g.Refused
}

// restarter restarts the process in place, when a signal or an operator says so.
type restarter struct {
	host     *Host
	wiring   *daemon.Wiring
	cluster  *daemon.Cluster
	coroner  *directory.Coroner
	within   time.Duration
	child    *isolate.Child
	isolated *isolation
	orders   chan []string // capacity 1; kinds that the next program does not serve
}

// answerFirst is for the answer to an order to leave before this program ends.
const answerFirst = 50 * time.Millisecond

// quietSlack is for what a restart does beside its hand-over.
const quietSlack = 5 * time.Second

// run waits for orders. A restart that was carried out does not return.
func (r *restarter) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.wiring.Restarts():
			r.signalled(ctx)
		case gone := <-r.orders:
			sleep(ctx, answerFirst)
			r.wiring.Log.Error().Err(r.restart(ctx, gone)).Msg("not restarted")
		}
	}
}

// signalled restarts as an order without force would.
func (r *restarter) signalled(ctx context.Context) {
	s, err := r.check(ctx)
	if err == nil {
		err = s.refusal()
	}
	if err == nil {
		err = r.restart(ctx, nil)
	}
	r.wiring.Log.Error().Err(err).Msg("not restarted")
}

// restart ends this program and begins the next one. It returns why it did not,
// with all as it was.
func (r *restarter) restart(ctx context.Context, gone []string) error {
	// The children's rooms go to other hosts or to the store.
	if err := r.isolated.hold(ctx); err != nil {
		r.isolated.release()
		return err
	}
	defer r.isolated.release()
	r.child.Quiet(r.within + quietSlack)
	legacy, over, err := r.host.HandOver(ctx, HandOverOptions{
		Within: r.within, Build: daemon.Version(), Gone: gone,
		Tell: func(ctx context.Context) { r.coroner.TellRestarting(ctx, r.cluster.ID, r.within) },
	})
	if err == nil {
		err, over = r.wiring.Become(r.cluster, legacy), true
	}
	if over {
		// The rooms are in shared memory or in the store. A new process of this
		// name takes them up; an orderly end would give them to others.
		r.wiring.Log.Error().Err(err).Msg("ended in the middle of a restart: to be started again")
		os.Exit(1)
	}
	return err
}

// check says what a restart would run, or why there can't be one.
func (r *restarter) check(ctx context.Context) (RestartState, error) {
	s := r.state()
	next, err := nextProgram(ctx)
	if err != nil {
		return s, wire.Refuse(wire.CodeUnavailable, err.Error())
	}
	s.Next = &next
	served := r.served()
	for _, now := range describeKinds(served).Kinds {
		k := next.Kind(now.Kind)
		switch {
		case k == nil:
			s.Gone = append(s.Gone, now.Kind)
		default:
			s.compare(now, *k, r.host.versions.writes(served[now.Kind]))
		}
	}
	return s, nil
}

// compare says what becomes of a kind that both programs serve, of which rooms are
// written in a version now.
func (s *RestartState) compare(now, next KindDescription, written uint32) {
	switch {
	case next.StateVersion < written:
		s.Older = true
		s.Changes = append(s.Changes, fmt.Sprintf("%s goes back from state version %d to %d: its rooms will not load",
			now.Kind, now.StateVersion, next.StateVersion))
	case next.StateVersion < now.StateVersion:
		s.Changes = append(s.Changes, fmt.Sprintf("%s goes back from state version %d to %d, in which its rooms are written",
			now.Kind, now.StateVersion, next.StateVersion))
	case next.StateVersion == now.StateVersion:
	case next.Writes <= now.StateVersion:
		s.Changes = append(s.Changes, fmt.Sprintf("%s goes from state version %d to %d, and is written in %d until the rollout is confirmed",
			now.Kind, now.StateVersion, next.StateVersion, next.Writes))
	default:
		if !next.OneWay {
			s.OneWay = append(s.OneWay, now.Kind)
		}
		s.Changes = append(s.Changes, fmt.Sprintf("%s goes from state version %d to %d, one way: "+
			"the former build can't read what the new one has saved", now.Kind, now.StateVersion, next.StateVersion))
	}
}

// served are the kinds of this process and of its isolated kinds'.
func (r *restarter) served() map[string]rooms.Kind {
	all := maps.Clone(r.host.kinds)
	if r.isolated != nil {
		for _, k := range r.isolated.kinds {
			if k, err := k.Checked(); err == nil {
				all[k.Name] = k
			}
		}
	}
	return all
}

func (r *restarter) state() RestartState {
	s := RestartState{Node: string(r.cluster.ID), PID: os.Getpid(), Build: daemon.Version(), State: "serving"}
	switch {
	case r.host.restarting.Load():
		s.State = "restarting"
	case !isDone(r.host.adoption.done):
		s.State = "starting"
	}
	if err := cmp.Or(r.host.Ready(), r.isolated.ready()); err != nil {
		s.NotReady = err.Error()
	}
	s.Failures, s.Unconfirmed = r.host.Failures(), r.host.versions.unconfirmed()
	if last, any := r.host.AdoptState(); any {
		s.Last = &last
	}
	return s
}

// admin does what operators ask about restarts, and passes on the rest.
func (r *restarter) admin(ctx context.Context, op string, body []byte) (any, error) {
	switch op {
	case daemon.AdminRestartState:
		return r.state(), nil
	case daemon.AdminRestart:
		return r.ordered(ctx, body)
	case daemon.AdminConfirm:
		kinds, err := r.host.Confirm(ctx)
		return map[string][]string{"confirmed": append([]string{}, kinds...)}, err
	}
	return r.host.admin(ctx, op, body)
}

func (r *restarter) ordered(ctx context.Context, body []byte) (any, error) {
	var q daemon.RestartOrder
	if err := json.Unmarshal(body, &q); err != nil {
		return nil, wire.Refuse(wire.CodeBadRequest, "restart: "+err.Error())
	}
	s, err := r.check(ctx)
	if err != nil || q.DryRun {
		return s, err
	}
	if err := s.refusal(); err != nil && !q.Force {
		return nil, err
	}
	if err := r.host.mayRestart(); err != nil {
		return nil, err
	}
	select {
	case r.orders <- s.Gone:
	default:
		return nil, wire.Refuse(wire.CodeBusy, "the host restarts already")
	}
	return s, nil
}

// refusal says why the next program should not run, or nil.
func (s *RestartState) refusal() error {
	if s.Older {
		return wire.Refuse(wire.CodeUnavailable, "the program is older than the rooms' state: "+strings.Join(s.Changes, "; "))
	}
	if len(s.Gone) == 0 {
		return nil
	}
	return wire.Refuse(wire.CodeUnavailable, fmt.Sprintf("the program no longer serves: %s "+
		"(--force saves the rooms of these kinds and leaves them out of service)", strings.Join(s.Gone, ", ")))
}

// sharedFile is where this host leaves rooms to its next process: a file of its
// own in dir, by all that tells it from others on the machine.
func sharedFile(dir, cluster, name, addr string) string {
	if dir == "" {
		return ""
	}
	id := xxhash.Sum64String(strings.Join([]string{cluster, name, addr}, "\x00"))
	return filepath.Join(dir, fmt.Sprintf("limpet-%s-%016x", name, id))
}

// inherited is what this process's predecessor left for its rooms.
func inherited(p *daemon.Wiring) (*Legacy, error) {
	if p.Inherited == nil {
		return nil, nil
	}
	var l Legacy
	if err := json.Unmarshal(p.Inherited.Parts, &l); err != nil || l.Lease == "" {
		return nil, fmt.Errorf("what the predecessor left can't be read: %w", errors.Join(err, l.Lease.Check()))
	}
	return &l, nil
}

// restarts reports whether the store has it that a node restarts in place.
func restarts(ctx context.Context, store snapshot.Store, node directory.NodeID) (bool, error) {
	for n := 1; n <= maxRestarts; n++ {
		alive, err := store.LeaseAlive(ctx, markOf(string(node), n))
		if alive || err != nil {
			return alive, err
		}
	}
	return false, nil
}
