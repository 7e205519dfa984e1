package redisstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/snapshot/storetest"
	"github.com/limpet-games/limpet/wire"
)

const slots = 16384

// startCluster makes a Cluster of three masters.
func startCluster(t *testing.T) (url string, nodes []*storetest.Redis) {
	t.Helper()
	ctx := t.Context()
	var addrs []string
	for i := range 3 {
		_, r := storetest.StartRedis(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "5000",
			"--cluster-require-full-coverage", "no", "--cluster-port", freePort(t))
		nodes, addrs = append(nodes, r), append(addrs, r.Addr)
		c := redis.NewClient(&redis.Options{Addr: r.Addr})
		defer c.Close()
		if err := c.ClusterAddSlotsRange(ctx, i*slots/3, (i+1)*slots/3-1).Err(); err != nil {
			t.Fatal(err)
		}
		if err := c.Do(ctx, "config", "set", "cluster-announce-ip", "127.0.0.1").Err(); err != nil {
			t.Fatal(err)
		}
	}
	first := redis.NewClient(&redis.Options{Addr: addrs[0]})
	defer first.Close()
	for _, r := range nodes[1:] {
		if err := first.Do(ctx, "cluster", "meet", "127.0.0.1", port(r.Addr), clusterPort(t, r.Addr)).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for _, addr := range addrs {
		c := redis.NewClient(&redis.Options{Addr: addr})
		defer c.Close()
		poll(t, "cluster to form", func() error {
			info, err := c.ClusterInfo(ctx).Result()
			if err != nil {
				return err
			}
			if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, fmt.Sprintf("cluster_slots_assigned:%d", slots)) {
				return errors.New(info)
			}
			return nil
		})
	}
	return "redis://" + strings.Join(addrs, ",") + "?cluster=true", nodes
}

func port(addr string) string {
	_, p, _ := net.SplitHostPort(addr)
	return p
}

func clusterPort(t *testing.T, addr string) string {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr})
	defer c.Close()
	values, err := c.ConfigGet(t.Context(), "cluster-port").Result()
	if err != nil {
		t.Fatal(err)
	}
	return values["cluster-port"]
}

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return port(ln.Addr().String())
}

// poll tries f until it is content, for at most 20 s.
func poll(t *testing.T, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 20 s: %v", what, err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

func TestCluster(t *testing.T) {
	url, nodes := startCluster(t)
	s, warnings, err := Open(t.Context(), url, Config{})
	if err != nil || len(warnings) != 3 {
		t.Fatalf("warnings %q, %v; want one a node", warnings, err)
	}
	if err := s.Shut(); err != nil {
		t.Fatal(err)
	}
	storetest.Run(t, func(t *testing.T) snapshot.Store { return dial(t, url) })
	t.Run("one node down", func(t *testing.T) { testNodeDown(t, url, nodes[2]) })
}

// Rooms on the other nodes go on, and each room's answer says which is which.
func testNodeDown(t *testing.T, url string, down *storetest.Redis) {
	s := dialed(t, url)
	var reqs []snapshot.ClaimRequest
	for i := range 60 {
		reqs = append(reqs, snapshot.ClaimRequest{Room: wire.RoomID(fmt.Sprintf("k/r%d", i)), Holder: "n#1.1", Nonce: 7, Mode: wire.ModeCreate})
	}
	res, err := s.Claim(t.Context(), reqs)
	if err != nil {
		t.Fatal(err)
	}
	down.Kill()
	var saves []snapshot.SaveRequest
	for _, r := range res {
		saves = append(saves, snapshot.SaveRequest{Claim: r.Claim, Seq: 1, Data: big})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	errs, err := s.Save(ctx, saves)
	if err != nil {
		t.Fatalf("the call as a whole: %v", err)
	}
	ok, unknown := 0, 0
	for _, err := range errs {
		switch {
		case err == nil:
			ok++
		case errors.Is(err, snapshot.ErrUnknown):
			unknown++
		default:
			t.Errorf("save: %v", err)
		}
	}
	if ok < 20 || unknown < 8 {
		t.Errorf("%d saves stored and %d not known of %d; one of three nodes is down", ok, unknown, len(saves))
	}
	if err := down.Restart(); err != nil {
		t.Fatal(err)
	}
	// It came back empty: its rooms are missing, the others stand.
	poll(t, "the node to be back", func() error {
		errs, err = s.Save(t.Context(), saves)
		if err != nil {
			return err
		}
		missing := 0
		for _, err := range errs {
			if errors.Is(err, snapshot.ErrMissing) {
				missing++
			} else if err != nil {
				return err
			}
		}
		if missing != unknown {
			return fmt.Errorf("%d rooms missing, %d had no answer", missing, unknown)
		}
		return nil
	})
}

func TestSentinel(t *testing.T) {
	url, primary := storetest.StartRedis(t)
	conf := filepath.Join(t.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("sentinel monitor limpet-main 127.0.0.1 %s 1\n", port(primary.Addr))
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	sentinel := storetest.StartSentinel(t, conf)
	s, _, err := Open(t.Context(), "redis://"+sentinel.Addr+"/0?master_name=limpet-main", Config{Prefix: prefixOf(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shut()
	c := made(t, s, "k/a", 7)
	if err := saved(t, s, c, 1, big); err != nil {
		t.Fatal(err)
	}
	direct := dialed(t, url)
	res, err := direct.Load(t.Context(), []wire.RoomID{"k/a"})
	if err != nil || len(res[0].Data) != len(big) {
		t.Errorf("%+v, %v", res, err)
	}
}
