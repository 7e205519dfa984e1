package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/alarm"
	"github.com/limpet-games/limpet/internal/certs"
	"github.com/limpet-games/limpet/internal/link"
)

// ClusterFlags are a process's settings for its place in a cluster.
type ClusterFlags struct {
	Name, Cluster, KeyFile  string
	CA, Cert, Key           string
	Gossip, Link, Advertise string
	Join                    []string

	// LinkListener is where links come in, instead of Link; nil: that is.
	LinkListener func() (net.Listener, error)
	// Proves is the node whose certificate this process shows, where that is not
	// Name: a host's isolated kinds show the host's.
	Proves string
}

// Register adds the settings with their default addresses.
func (c *ClusterFlags) Register(f *Flags, gossip, link string) {
	f.String(&c.Name, "name", HostName(), "NAME", "this node's name, kept over restarts and unlike any other node's", NodeName)
	f.String(&c.Cluster, "cluster", "limpet", "LABEL", "the cluster's label: nodes of others are not talked to", checkLabel)
	f.String(&c.KeyFile, "cluster-key-file", "", "FILE",
		"file with the cluster's secret, the same on all nodes: gossip, links and resume tokens depend on it; a further line is a secret that is taken beside the first; "+
			"looked at again when it changes; required off loopback")
	f.String(&c.CA, "cluster-ca", "", "FILE",
		"certificates of the CAs that sign the cluster's processes, in PEM; with --node-cert and --node-key it takes the secret's place on links")
	f.String(&c.Cert, "node-cert", "", "FILE", "this process's certificate, which names its cluster, role and node (limpet certs makes them); looked at again when it changes")
	f.String(&c.Key, "node-key", "", "FILE", "the certificate's key")
	f.String(&c.Gossip, "gossip", gossip, "HOST:PORT", "address for gossip, UDP and TCP", Addr)
	f.String(&c.Link, "link", link, "HOST:PORT", "address for links from other nodes; empty: any free port beside gossip", OptionalAddr)
	f.String(&c.Advertise, "advertise", "", "IP", "address under which other nodes reach this one; empty: the one it listens on", IP)
	f.List(&c.Join, "join", "HOST:PORT", "gossip addresses of nodes to join, of which some may be down", Addr)
}

func checkLabel(s string) error {
	if len(s) == 0 || len(s) > 63 {
		return fmt.Errorf("label of %d bytes: want 1 to 63", len(s))
	}
	return nil
}

// LinkAddr is where links come in.
func (c *ClusterFlags) LinkAddr() string {
	if c.Link != "" {
		return c.Link
	}
	host, _, _ := net.SplitHostPort(c.Gossip)
	return net.JoinHostPort(host, "0")
}

// keys reads the cluster's secrets; nil without a file.
func (c *ClusterFlags) keys(log zerolog.Logger) (*Keyring, error) {
	if c.KeyFile != "" {
		k, err := readKeyring(c.KeyFile, log)
		if err != nil {
			return nil, fmt.Errorf("--cluster-key-file: %w", err)
		}
		return k, nil
	}
	for _, f := range [][2]string{{"gossip", c.Gossip}, {"link", c.LinkAddr()}} {
		if !Loopback(f[1]) {
			return nil, fmt.Errorf("--%s %s is reachable from other machines: it needs --cluster-key-file", f[0], f[1])
		}
	}
	return nil, nil
}

// identity is what the process proves on links: its certificate, or that it has
// the cluster's secret. Nil on loopback, without either.
func (c *ClusterFlags) identity(keys *Keyring, self Self) (*certs.Links, error) {
	name := certs.Name{Cluster: c.Cluster, Role: self.Role.String(), Node: cmp.Or(c.Proves, c.Name)}
	switch given := c.CA != "" || c.Cert != "" || c.Key != ""; {
	case given && (c.CA == "" || c.Cert == "" || c.Key == ""):
		return nil, errors.New("--cluster-ca, --node-cert and --node-key go together")
	case given && keys == nil:
		return nil, errors.New("--node-cert is for links: gossip and resume tokens still need --cluster-key-file")
	case given:
		l, err := certs.FromFiles(name, c.CA, c.Cert, c.Key, certs.Watch{Log: self.Log, Metrics: self.Metrics, What: "links"})
		if err != nil {
			return nil, fmt.Errorf("--node-cert: %w", err)
		}
		return l, nil
	case keys == nil:
		self.Log.Warn().Msg("no --cluster-key-file: whoever is on this machine can link and gossip with this process")
		return nil, nil
	}
	return certs.FromKeys(name, keys.Links)
}

// Self says what a process is to its cluster.
type Self struct {
	Role  directory.Role
	Kinds []string // hosts only
	// Placements of kinds that are not placed by load, and the host's labels.
	Placements map[string]string
	Labels     map[string]string

	Ops string // bound address of the operations listener
	// Inherited is what a process left that became this one: its name, boot and
	// addresses stay.
	Inherited *Inheritance
	Log       zerolog.Logger
	Metrics   prometheus.Registerer
	Alarms    *alarm.Clock // nil: timers of Go's
}

// Cluster is a process's place in its cluster: its name, links and view.
type Cluster struct {
	ID      directory.NodeID
	Keys    *Keyring // nil where the cluster has no secret
	Members *directory.Members
	Mesh    *link.Mesh
	Addr    string // this process's link address, as others know it

	scan   Scan // this host's; nil on gateways
	boot   uint64
	links  net.Listener
	gate   chan struct{} // links are served when it is closed
	log    zerolog.Logger
	seeded bool
	begun  time.Time
}

// OpenCluster binds the link address and makes members and mesh. Handlers can
// be registered on both until the parts run.
func OpenCluster(flags ClusterFlags, self Self) (*Cluster, error) {
	keys, err := flags.keys(self.Log)
	if err != nil {
		return nil, BadSetting(err)
	}
	boot := rand.Uint64()>>1 + 1 // never 0
	in := self.Inherited
	if in != nil {
		boot = in.Boot
		flags.Join = append(slices.Clone(flags.Join), in.Peers...)
	}
	c := &Cluster{
		ID: directory.MakeNodeID(flags.Name, boot), Keys: keys, boot: boot, gate: make(chan struct{}),
		seeded: len(flags.Join) > 0, begun: time.Now(), log: self.Log,
	}
	switch {
	case in != nil:
		c.links, err = inherited(in.Link)
	case flags.LinkListener != nil:
		c.links, err = flags.LinkListener()
	default:
		c.links, err = net.Listen("tcp", flags.LinkAddr())
	}
	if err != nil {
		return nil, fmt.Errorf("listen for links: %w", err)
	}
	if c.Members, err = c.members(flags, boot, self); err != nil {
		c.links.Close()
		return nil, err
	}
	identity, err := flags.identity(keys, self)
	if err != nil {
		c.links.Close()
		return nil, BadSetting(err)
	}
	c.Mesh = link.New(link.Config{
		Self: string(c.ID), Cluster: flags.Cluster, Identity: identity,
		Log: self.Log, Metrics: self.Metrics, Alarms: self.Alarms,
	})
	return c, nil
}

func (c *Cluster) members(flags ClusterFlags, boot uint64, self Self) (*directory.Members, error) {
	linkAddr, err := Advertised(c.links.Addr(), flags.Advertise)
	if err != nil {
		return nil, err
	}
	c.Addr = linkAddr
	bound, err := net.ResolveTCPAddr("tcp", flags.Gossip)
	if err != nil {
		return nil, fmt.Errorf("gossip address: %w", err)
	}
	if in := self.Inherited; in != nil {
		if bound.Port, err = in.gossipPort(); err != nil {
			return nil, err
		}
	}
	bind, advertise := "0.0.0.0", ""
	if bound.IP != nil {
		bind = bound.IP.String()
	}
	if flags.Advertise != "" || bound.IP == nil || bound.IP.IsUnspecified() {
		// Where links come in, gossip does too.
		if advertise, _, err = net.SplitHostPort(linkAddr); err != nil {
			return nil, fmt.Errorf("advertise gossip: %w", err)
		}
	}
	cfg := directory.MembersConfig{
		Name: flags.Name, Boot: boot, Role: self.Role,
		BindAddr: bind, BindPort: bound.Port, AdvertiseAddr: advertise,
		LinkAddr: linkAddr, OpsAddr: self.Ops, Kinds: self.Kinds, Placements: self.Placements, Labels: self.Labels, Build: gossiped(Version()),
		Cluster: flags.Cluster, Seeds: flags.Join,
		Log: self.Log, Metrics: self.Metrics,
	}
	if Loopback(flags.Gossip) {
		cfg.Profile = directory.ProfileLocal
	}
	cfg.Keys = c.Keys.Gossip()
	m, err := directory.NewMembers(cfg)
	if err != nil {
		return nil, BadSetting(err)
	}
	c.Keys.OnChange(func([]Keys) {
		if err := m.SetKeys(c.Keys.Gossip()); err != nil {
			c.log.Error().Err(err).Msg("keys of gossip not changed")
		}
	})
	return m, nil
}

// AddTo adds links and gossip to the process's parts. Links are added first:
// who hears of this process can reach it.
func (c *Cluster) AddTo(parts *Parts) {
	parts.Add("links", func(ctx context.Context) error {
		c.Opened(ctx) // who connects before waits in the listener's queue
		return c.Mesh.Run(ctx, c.links)
	})
	parts.Add("gossip", c.Members.Run)
	if c.Keys != nil {
		parts.Add("cluster's secrets", c.Keys.Run)
	}
}

// Open has links from others served. Call it once.
func (c *Cluster) Open() { close(c.gate) }

// Opened waits for Open, and reports whether it came before ctx ended.
func (c *Cluster) Opened(ctx context.Context) bool {
	select {
	case <-c.gate:
		return true
	case <-ctx.Done():
		return false
	}
}

// Close frees what OpenCluster bound, where the parts never ran.
func (c *Cluster) Close() { c.links.Close() }

// lonelyFor is how long a process that is to join others is not ready while it
// has found none. After that it may well be the first.
const lonelyFor = 3 * time.Second

var (
	errNoGossip = errors.New("gossip does not run yet")
	errNoHosts  = errors.New("no room host is known")
)

// Joined is a condition of readiness: gossip runs and has found the others.
func (c *Cluster) Joined() error {
	select {
	case <-c.Members.Ready():
	default:
		return errNoGossip
	}
	if c.seeded && len(c.Members.View().Nodes) < 2 && time.Since(c.begun) < lonelyFor {
		return errors.New("no other node found yet")
	}
	return nil
}

// SomeHost is a condition of readiness: there is a room host.
func (c *Cluster) SomeHost() error {
	if len(c.Members.View().Hosts) == 0 {
		return errNoHosts
	}
	return nil
}
