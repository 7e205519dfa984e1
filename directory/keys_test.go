package directory

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// lines is a log that a test reads.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.buf.String(), text)
}

// Keys are rotated under gossip, step by step: nobody leaves anybody's view.
// Then a node with the old key alone is a stranger.
func TestKeysAreRotated(t *testing.T) {
	c := newCluster(t, 3, 1)
	old, fresh := []byte("0123456789abcdef"), []byte("fedcba9876543210fedcba9876543210")
	changes := func() (all int) {
		for _, n := range c.nodes {
			all += len(n.View().Nodes)
		}
		return all
	}
	for _, keys := range [][][]byte{{old, fresh}, {fresh, old}, {fresh}} {
		for _, n := range c.nodes { // between two nodes both sets are in use
			if err := n.SetKeys(keys); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond) // gossip goes on meanwhile: it is what must not break
			if got := changes(); got != 16 {
				t.Fatalf("views have %d nodes in all after %s took %d keys, want 16", got, n.Self(), len(keys))
			}
		}
	}
	for _, n := range c.nodes {
		if got := n.keys.GetKeys(); len(got) != 1 || !bytes.Equal(got[0], fresh) {
			t.Errorf("%s has %d keys", n.Self(), len(got))
		}
	}
	c.nodes[0].Update(true, Load{}) // news still spreads
	c.until("all know that the first host drains", func() bool {
		for _, n := range c.nodes {
			if !n.View().Node(c.nodes[0].Self()).Draining {
				return false
			}
		}
		return true
	})
	if err := c.nodes[0].SetKeys(nil); err == nil {
		t.Error("gossip went on in the clear")
	}
}

// Peers with another label, another key or none, and nodes whose metadata is
// of another version, are refused with a log line and counted.
func TestStrangersAreRefused(t *testing.T) {
	key := []byte("0123456789abcdef")
	for reason, cfg := range map[string]MembersConfig{
		"label": {Cluster: "another", Keys: [][]byte{key}},
		"key":   {Cluster: "this", Keys: [][]byte{[]byte("another key of16")}},
		"none":  {Cluster: "this"},
	} {
		name := reason
		if reason == "none" {
			reason = "key"
		}
		t.Run(name, func(t *testing.T) {
			log, metrics := &lines{}, prometheus.NewRegistry()
			c := &cluster{t: t, claims: newClaims()}
			home := c.startMembers(MembersConfig{Name: "home", Cluster: "this", Keys: [][]byte{key}, Log: zerolog.New(log), Metrics: metrics})
			cfg.Name, cfg.Seeds, cfg.Rejoin = "stranger", []string{home.Addr()}, 100*time.Millisecond
			stranger := c.startMembers(cfg)
			c.until("the stranger is refused", func() bool {
				return counted(t, metrics, "limpet_members_strangers_total", reason) > 0 &&
					log.has(fmt.Sprintf(`"reason":%q`, reason)) && log.has("not of this cluster")
			})
			if !sees(home, 1) || !sees(stranger, 1) {
				t.Errorf("views of %d and %d nodes", len(home.View().Nodes), len(stranger.View().Nodes))
			}
		})
	}
	t.Run("version", func(t *testing.T) {
		log, metrics := &lines{}, prometheus.NewRegistry()
		c := &cluster{t: t, claims: newClaims()}
		home := c.startMembers(MembersConfig{Name: "home", Log: zerolog.New(log), Metrics: metrics})
		c.startMembers(MembersConfig{Name: "later", Seeds: []string{home.Addr()}}, func(m *Members) {
			meta := append([]byte{metaVersion + 1}, (*m.meta.Load())[1:]...)
			m.meta.Store(&meta)
		})
		c.until("the later build is refused", func() bool {
			return counted(t, metrics, "limpet_members_strangers_total", "version") > 0 && log.has("metadata version 2")
		})
		if !sees(home, 1) {
			t.Errorf("%d nodes in the view", len(home.View().Nodes))
		}
	})
}

// A peer whose gossip protocol has no version in common with this cluster's is
// refused when it joins.
func TestOtherProtocolIsRefused(t *testing.T) {
	log, metrics := &lines{}, prometheus.NewRegistry()
	c := &cluster{t: t, claims: newClaims()}
	home := c.startMembers(MembersConfig{Name: "home", Log: zerolog.New(log), Metrics: metrics})
	cfg := memberlist.DefaultLocalConfig()
	cfg.Name, cfg.BindAddr, cfg.BindPort, cfg.LogOutput = "other#1", "127.0.0.1", 0, io.Discard
	cfg.DelegateProtocolMin, cfg.DelegateProtocolMax, cfg.DelegateProtocolVersion = 9, 9, 9
	other, err := memberlist.Create(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := other.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	if _, err := other.Join([]string{home.Addr()}); err == nil {
		t.Error("it joined")
	}
	c.until("the other protocol is refused", func() bool {
		return counted(t, metrics, "limpet_members_strangers_total", "version") > 0 && log.has("protocol version")
	})
	if !sees(home, 1) {
		t.Errorf("%d nodes in the view", len(home.View().Nodes))
	}
}

// A node whose probes are not answered says in a metric that it may be late
// itself.
func TestHealthScoreIsGathered(t *testing.T) {
	metrics := prometheus.NewRegistry()
	c := &cluster{t: t, claims: newClaims()}
	home := c.startMembers(MembersConfig{Name: "home", Metrics: metrics})
	score := func() float64 {
		all, err := metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if f.GetName() == "limpet_members_health_score" {
				return f.Metric[0].Gauge.GetValue()
			}
		}
		return -1
	}
	if got := score(); got != 0 {
		t.Errorf("score %v before there was anybody to probe", got)
	}
	cfg := memberlist.DefaultLocalConfig()
	cfg.Name, cfg.BindAddr, cfg.BindPort, cfg.LogOutput = "mute#2", "127.0.0.1", 0, io.Discard
	cfg.Delegate = delegate{m: home}
	mute, err := memberlist.Create(cfg)
	if err != nil {
		t.Fatal(err)
	}
	down := sync.OnceFunc(func() {
		if err := mute.Shutdown(); err != nil { // without a word to the others
			t.Error(err)
		}
	})
	t.Cleanup(down)
	if _, err := mute.Join([]string{home.Addr()}); err != nil {
		t.Fatal(err)
	}
	down()
	c.until("the score rises", func() bool { return score() > 0 })
}

// counted is a counter's value for one label value.
func counted(t *testing.T, r *prometheus.Registry, name, label string) (sum float64) {
	t.Helper()
	all, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.Metric {
			if len(m.Label) > 0 && m.Label[0].GetValue() == label {
				sum += m.Counter.GetValue()
			}
		}
	}
	return sum
}
