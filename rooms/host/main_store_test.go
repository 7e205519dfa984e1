package host

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/snapshot/redisstore"
	"github.com/limpet-games/limpet/snapshot/sqlitestore"
)

func TestEndLeasesFindsTheDeadProcessesLease(t *testing.T) {
	store, err := sqlitestore.Open(t.Context(), t.TempDir(), sqlitestore.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Shut()
	dead, living := directory.MakeNodeID("host-1", 1), directory.MakeNodeID("host-1", 2)
	lease := func(node directory.NodeID, count int) snapshot.Holder {
		h := snapshot.Holder(fmt.Sprintf("%s/%d", node, count))
		if err := store.TakeLease(t.Context(), h, time.Minute); err != nil {
			t.Fatal(err)
		}
		return h
	}
	theirs, other := lease(dead, 3), lease(living, 1)
	if err := endLeases(t.Context(), store, dead); err != nil {
		t.Fatal(err)
	}
	for h, want := range map[snapshot.Holder]bool{theirs: false, other: true} {
		if alive, err := store.LeaseAlive(t.Context(), h); err != nil || alive != want {
			t.Errorf("%s alive: %v, %v", h, alive, err)
		}
	}
	if nodeOf(theirs) != dead {
		t.Errorf("holder %s is not of %s: leases are named otherwise", theirs, dead)
	}
}

func TestStoreIsGivenOnce(t *testing.T) {
	for _, c := range []struct {
		s  storeFlags
		ok bool
	}{
		{storeFlags{redis: "redis://h"}, true}, {storeFlags{dir: "d"}, true},
		{storeFlags{}, false}, {storeFlags{redis: "redis://h", dir: "d"}, false},
	} {
		if err := c.s.check(); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c.s, err)
		}
	}
}

func TestInspectionOutlivesAStoreThatIsAway(t *testing.T) {
	store, err := redisstore.New("redis://127.0.0.1:1", redisstore.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Shut()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	i := &inspection{store: store, log: zerolog.Nop()}
	if err := i.run(ctx); err != nil {
		t.Errorf("a store that can't be reached ends the host: %v", err)
	}
	if err := i.ready(); !errors.Is(err, errNotInspected) {
		t.Errorf("ready without a store: %v", err)
	}
}

func TestLoadCountsProcessors(t *testing.T) {
	var c cpuClock
	now, cores := time.Now(), time.Duration(runtime.GOMAXPROCS(0))
	if p := c.percent(now, time.Hour); p != 0 {
		t.Errorf("first reading is %d %%", p)
	}
	for _, tc := range []struct {
		used time.Duration
		want uint8
	}{{0, 0}, {cores * time.Second / 2, 50}, {cores * time.Second, 100}, {cores * 2 * time.Second, 100}} {
		now = now.Add(time.Second)
		if p := c.percent(now, c.used+tc.used); p != tc.want {
			t.Errorf("%s of %d processors in a second: %d %%, want %d", tc.used, cores, p, tc.want)
		}
	}
	if cpuUsed() == 0 {
		t.Error("this process is said to have used no processor")
	}
}

func TestDangersOfARedisOffLoopback(t *testing.T) {
	for url, want := range map[string][]string{
		"":                             nil,
		"redis://127.0.0.1:6379/0":     nil,
		"redis://localhost,[::1]:7000": nil,
		"redis://redis.internal":       {"rediss://", "LIMPET_REDIS"},
		"redis://127.0.0.1:7000,10.0.0.2?cluster=true": {"rediss://", "LIMPET_REDIS"},
		"redis://:secret@10.0.0.1:6379":                {"rediss://"},
		"rediss://10.0.0.1":                            {"LIMPET_REDIS"},
		"rediss://limpet:secret@10.0.0.1/3":            nil,
		"redis://s1,s2/0?master_name=limpet":           {"rediss://", "LIMPET_REDIS"},
	} {
		got := (&storeFlags{redis: url}).dangers()
		if len(got) != len(want) {
			t.Errorf("%s: %q, want %d warnings", url, got, len(want))
			continue
		}
		for i, line := range got {
			if !strings.Contains(line, want[i]) || strings.Contains(line, "secret") {
				t.Errorf("%s: %q, want %s and no password", url, line, want[i])
			}
		}
	}
}
