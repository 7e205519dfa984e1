package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Met waits until every process sees all hosts and gateways. Each is ready before
// that: it needs some of them, and news of the others is a round of gossip away.
func (c *Cluster) Met(ctx context.Context) error {
	for _, p := range c.nodes() {
		for {
			var seen struct{ Hosts, Gateways []json.RawMessage }
			if err := p.Admin(ctx, "/v1/cluster", nil, &seen); err != nil {
				return err
			}
			if len(seen.Hosts) >= len(c.Hosts) && len(seen.Gateways) >= len(c.Gateways) { // isolated kinds are hosts, too
				break
			}
			if err := pause(ctx, 20*time.Millisecond); err != nil {
				return fmt.Errorf("await that %s sees %d hosts and %d gateways, it sees %d and %d: %w",
					p.Name, len(c.Hosts), len(c.Gateways), len(seen.Hosts), len(seen.Gateways), err)
			}
		}
	}
	return nil
}
