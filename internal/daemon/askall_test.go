package daemon

import (
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
		all := askAll(nodes, func(n *directory.Node) (string, error) {
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
