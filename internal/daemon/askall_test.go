package daemon

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/limpet-games/limpet/directory"
)

func TestAskAllAsksABoundedNumberAtOnce(t *testing.T) {
	nodes := make([]*directory.Node, 3*maxAsking)
	for i := range nodes {
		nodes[i] = &directory.Node{ID: directory.NodeID(fmt.Sprintf("host-%d#1", i)), Role: directory.RoleHost}
	}
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		all := askAll(t.Context(), nodes, func(n *directory.Node) (string, error) {
			time.Sleep(time.Second)
			if n == nodes[7] {
				return "", errors.New("it is gone")
			}
			return n.ID.Name(), nil
		})
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("%d at a time it took %s", maxAsking, took)
		}
		for i, a := range all {
			if i != 7 && (a.node != nodes[i] || a.value != nodes[i].ID.Name() || a.err != nil) {
				t.Errorf("answer %d is %+v", i, a)
			}
		}
		if m := all[7].missing(); m.Node != "host-7#1" || m.Role != "host" || m.Why != "it is gone" {
			t.Errorf("%+v", m)
		}
	})
}

// Nodes that hang, as many as are asked at once and more, hold nobody else up.
func TestAskAllPassesHungNodes(t *testing.T) {
	nodes := make([]*directory.Node, 5*maxAsking)
	for i := range nodes {
		nodes[i] = &directory.Node{ID: directory.NodeID(fmt.Sprintf("host-%d#1", i)), Role: directory.RoleHost}
	}
	hung := len(nodes) - 10
	synctest.Test(t, func(t *testing.T) {
		const within = 2 * time.Second
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		began := time.Now()
		all := askAll(ctx, nodes, func(n *directory.Node) (string, error) {
			for _, h := range nodes[:hung] {
				if n == h {
					<-ctx.Done()
					return "", ctx.Err()
				}
			}
			if asked := time.Since(began); asked > within/2 {
				t.Errorf("%s was asked after %s of %s", n.ID, asked, within)
			}
			time.Sleep(within / 4)
			return n.ID.Name(), nil
		})
		if took := time.Since(began); took > within {
			t.Errorf("it took %s", took)
		}
		for i, a := range all {
			if answers := i >= hung; answers != (a.err == nil) {
				t.Errorf("answer %d of %d, those up to %d hang: %q, %v", i, len(all), hung, a.value, a.err)
			}
		}
	})
}
