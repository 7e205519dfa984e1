package directory

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/limpet-games/limpet/wire"
)

// Profile tunes gossip to its network.
type Profile uint8

// The profiles.
const (
	// ProfileLAN suits machines in one place: a lost machine is noticed in
	// about 3 s at some 10 packets a second for each node. A lost process is
	// noticed by its broken links, long before.
	ProfileLAN Profile = iota
	// ProfileLocal suits processes on one machine, where packets aren't lost
	// but a starved process answers late.
	ProfileLocal
)

// MembersConfig says who this process is and how it gossips.
type MembersConfig struct {
	Name string // the node's name, kept over restarts; as a room's name
	Boot uint64 // drawn at random at each start, not 0
	Role Role

	BindAddr      string // for gossip, UDP and TCP; default 127.0.0.1
	BindPort      int    // 0: any that is free
	AdvertiseAddr string // an IP address that other nodes reach; default: the bound one
	AdvertisePort int    // default: the bound one

	LinkAddr string   // this process's link address, for other nodes
	OpsAddr  string   // its operations address
	Kinds    []string // kinds it serves; at most 64, and all metadata in 480 bytes
	Build    string   // its version, at most 48 bytes
	// Placements say how rooms of its kinds are placed, as Placement.String,
	// where not by load. Labels are for placement by labels.
	Placements map[string]string
	Labels     map[string]string

	Cluster string   // label: gossip with another one is dropped
	Keys    [][]byte // 16, 24 or 32 bytes each: the first encrypts, all decrypt; none: gossip in the clear
	Seeds   []string // host:port of other nodes; some may be down, one may be this
	Rejoin  time.Duration
	Profile Profile

	Log       zerolog.Logger
	Metrics   prometheus.Registerer // nil: none
	Transport memberlist.Transport  // nil: UDP and TCP on BindAddr

	clock      func() time.Time // of the machine, which may be wrong
	partitions int              // fewer in simulations, for speed
}

func (c *MembersConfig) setDefaults() {
	if c.clock == nil {
		c.clock = time.Now
	}
	c.partitions = cmp.Or(c.partitions, Partitions)
	c.BindAddr = cmp.Or(c.BindAddr, "127.0.0.1")
	c.Rejoin = cmp.Or(c.Rejoin, 5*time.Second)
	c.Kinds = slices.Compact(slices.Sorted(slices.Values(c.Kinds)))
}

func (c *MembersConfig) check() error {
	if err := checkNodeName(c.Name); err != nil {
		return err
	}
	if c.Boot == 0 {
		return errors.New("boot is 0: draw one at random at each start")
	}
	if c.Role != RoleGateway && c.Role != RoleHost {
		return fmt.Errorf("role %d is not known", c.Role)
	}
	for _, k := range c.Kinds {
		if err := wire.CheckKind(k); err != nil {
			return err
		}
	}
	for k, text := range c.Placements {
		if _, err := ParsePlacement(text); err != nil {
			return fmt.Errorf("kind %s: %w", k, err)
		}
		if !slices.Contains(c.Kinds, k) {
			return fmt.Errorf("placement of kind %s, which is not served", k)
		}
	}
	for _, s := range c.Seeds {
		if _, _, err := net.SplitHostPort(s); err != nil {
			return fmt.Errorf("seed %q: want host:port: %w", s, err)
		}
	}
	if c.AdvertiseAddr != "" && net.ParseIP(c.AdvertiseAddr) == nil {
		return fmt.Errorf("advertised address %q: want an IP address", c.AdvertiseAddr)
	}
	return nil
}

// gossipRetransmits, times the digits of the cluster's size, is how often each
// node sends a piece of news.
const gossipRetransmits = 6

// gossip is memberlist's configuration.
func (c *MembersConfig) gossip(id NodeID) *memberlist.Config {
	g := memberlist.DefaultLANConfig()
	g.Name = string(id)
	g.BindAddr, g.BindPort = c.BindAddr, c.BindPort
	g.AdvertiseAddr = c.AdvertiseAddr
	g.AdvertisePort = cmp.Or(c.AdvertisePort, c.BindPort)
	g.Label = c.Cluster
	g.Transport = c.Transport

	// A node is probed about once a ProbeInterval, whatever the cluster's size,
	// and suspected when the probe, five indirect ones and a TCP ping have
	// failed. It is taken for dead SuspicionMult * log10(N) * ProbeInterval later
	// (1.4 s up to 10 nodes, 2.1 s at 30, 4.2 s at 1000). Loss seldom gets there:
	// the suspect hears of it and refutes. A probe that waits longer suspects fewer,
	// so that one word is enough: a multiple above 2 asks for more. With 1 s, three
	// hosts cut off from three others need more than 10 s to see it, once in eight.
	g.ProbeInterval = 700 * time.Millisecond
	g.SuspicionMult = 2
	g.ProbeTimeout = 200 * time.Millisecond // the round trip of 99 in 100, starved processes included
	// More than memberlist's own 3, 3 and 4: at 30 nodes and 20 % loss these let
	// one suspicion in an hour go unrefuted.
	g.IndirectChecks, g.GossipNodes, g.RetransmitMult = 5, 16, gossipRetransmits
	// News spreads in a few intervals: each goes to GossipNodes others, 6 * log10(N)
	// times. Where there is none an interval costs a wake-up.
	g.GossipInterval = 200 * time.Millisecond
	g.PushPullInterval = 5 * time.Second // gossip may miss a node; this does not
	g.TCPTimeout = 2 * time.Second
	g.GossipToTheDeadTime = time.Minute // a node that a pause had taken for dead hears so and refutes
	g.DeadNodeReclaimTime = 0           // names hold the boot: none comes back elsewhere
	// Packets are some 100 bytes. LZW allocates 40 KB for each and saves few.
	g.EnableCompression = false
	if c.Profile == ProfileLocal {
		g.ProbeInterval = 600 * time.Millisecond
		g.TCPTimeout = time.Second
	}
	return g
}
