package partition

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/limpet-games/limpet/e2e/cluster"
)

type view struct {
	Asked, Answered int
	Rooms           []struct {
		Room, Host string
		Epoch      uint64
	}
}

func everybody(c *cluster.Cluster) []*cluster.Process {
	return append(append([]*cluster.Process(nil), c.Hosts...), c.Gateways...)
}

// oneMembership is nil when each process sees all of them.
func oneMembership(ctx context.Context, c *cluster.Cluster) error {
	for _, p := range everybody(c) {
		var v view
		if err := p.Admin(ctx, "/v1/cluster", nil, &v); err != nil {
			return err
		}
		if want := len(everybody(c)); v.Asked != want || v.Answered != want {
			return fmt.Errorf("%s sees %d processes, of which %d answered, of %d", p.Name, v.Asked, v.Answered, want)
		}
	}
	return nil
}

// healing waits for one membership and for one copy of each room, beside each
// other, from the moment the network has healed.
func healing(ctx context.Context, t *testing.T, c *cluster.Cluster) {
	var both sync.WaitGroup
	both.Go(func() {
		took := await(ctx, t, healWithin, func() error { return oneMembership(ctx, c) })
		t.Logf("one membership %s after the network healed", took)
	})
	both.Go(func() {
		took := await(ctx, t, copiesWithin, func() error { return seenByAll(ctx, c) })
		t.Logf("one copy of each room %s after the network healed", took)
	})
	both.Wait()
}

// seenByAll is nil when no room has two live copies and every process was asked.
func seenByAll(ctx context.Context, c *cluster.Cluster) error {
	v, err := look(ctx, c)
	if err != nil {
		return err
	}
	if want := len(everybody(c)); v.Answered != want {
		return fmt.Errorf("%d of %d processes say what they run", v.Answered, want)
	}
	_, err = v.places()
	return err
}

// oneCopy is nil when no room has two live copies, and all the players' live.
func oneCopy(ctx context.Context, c *cluster.Cluster) error {
	v, err := look(ctx, c)
	if err != nil {
		return err
	}
	at, err := v.places()
	if err == nil && len(at) < 12 {
		err = fmt.Errorf("%d rooms live, want at least the players'", len(at))
	}
	return err
}

func look(ctx context.Context, c *cluster.Cluster) (v view, err error) {
	err = c.Gateways[0].Admin(ctx, "/v1/cluster", nil, &v)
	return v, err
}

// places are the hosts of all rooms. A room on two of them is an error.
func (v view) places() (map[string]string, error) {
	at := map[string]string{}
	for _, r := range v.Rooms {
		if other := at[r.Room]; other != "" {
			return nil, fmt.Errorf("%s lives on %s and on %s", r.Room, other, r.Host)
		}
		at[r.Room] = r.Host
	}
	return at, nil
}

var supersededTotal = regexp.MustCompile(`(?m)^limpet_host_superseded_total (\S+)$`)

// superseded says what each host's limpet_host_superseded_total is.
func superseded(ctx context.Context, t *testing.T, c *cluster.Cluster) string {
	t.Helper()
	var all []string
	for _, h := range c.Hosts {
		text, err := h.Metrics(ctx)
		if err != nil {
			t.Error(err)
			continue
		}
		n := supersededTotal.FindStringSubmatch(text)
		if n == nil {
			t.Errorf("%s does not tell limpet_host_superseded_total", h.Name)
			continue
		}
		all = append(all, h.Name+" "+n[1])
	}
	return strings.Join(all, ", ")
}
