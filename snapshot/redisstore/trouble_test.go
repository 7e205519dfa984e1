package redisstore

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/snapshot/storetest"
	"github.com/limpet-games/limpet/wire"
)

func TestFlushed(t *testing.T) {
	url, _ := storetest.StartRedis(t)
	s := dialed(t, url)
	ctx := t.Context()
	if err := s.TakeLease(ctx, "n#1.1", time.Minute); err != nil {
		t.Fatal(err)
	}
	c := made(t, s, "k/a", 7)
	if err := saved(t, s, c, 1, big); err != nil {
		t.Fatal(err)
	}
	mark, err := markOf(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.client.FlushAll(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	if now, err := markOf(ctx, s); err != nil || now == mark {
		t.Errorf("mark after the loss: %q, %v", now, err)
	}
	if err := saved(t, s, c, 2, big); !errors.Is(err, snapshot.ErrMissing) {
		t.Errorf("save: %v", err)
	}
	if errs, err := s.Check(ctx, []snapshot.Claim{c}); err != nil || !errors.Is(errs[0], snapshot.ErrMissing) {
		t.Errorf("check: %v, %v", errs, err)
	}
	if err := s.RenewLease(ctx, "n#1.1", time.Minute); !errors.Is(err, snapshot.ErrLeaseEnded) {
		t.Errorf("renew: %v", err)
	}
	if err := s.TakeLease(ctx, "n#1.2", time.Minute); err != nil {
		t.Fatal(err)
	}
	r := claimRoom(t, s, snapshot.ClaimRequest{Room: "k/a", Holder: "n#1.2", Nonce: 8, Floor: c.Epoch, Incarnation: c.Incarnation})
	if r.Err != nil || r.Claim.Epoch <= c.Epoch || r.Claim.Incarnation != c.Incarnation {
		t.Fatalf("claim again: %+v after %+v", r, c)
	}
	if err := saved(t, s, r.Claim, 1, big); err != nil {
		t.Errorf("save again: %v", err)
	}
	if err := saved(t, s, c, 9, big); !errors.Is(err, snapshot.ErrFenced) {
		t.Errorf("save under the old claim: %v", err)
	}
}

func TestKilledAndRestarted(t *testing.T) {
	url, redis := storetest.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	s := dialed(t, url)
	c := made(t, s, "k/a", 7)
	if err := saved(t, s, c, 1, big); err != nil {
		t.Fatal(err)
	}
	mark, err := markOf(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	redis.Kill()
	start := time.Now()
	_, err = s.Save(t.Context(), []snapshot.SaveRequest{{Claim: c, Seq: 2, Data: big}})
	if err == nil || time.Since(start) > 5*time.Second {
		t.Errorf("save without a server: %v after %v", err, time.Since(start))
	}
	if res, err := s.Load(t.Context(), []wire.RoomID{"k/a"}); err == nil {
		t.Errorf("load without a server: %+v", res)
	}
	if res, err := s.Claim(t.Context(), []snapshot.ClaimRequest{{Room: "k/b", Holder: "n#1.1", Nonce: 1}}); err == nil {
		t.Errorf("claim without a server: %+v", res)
	}
	if err := s.RenewLease(t.Context(), "n#1.1", time.Minute); err == nil || errors.Is(err, snapshot.ErrLeaseEnded) {
		t.Errorf("renew without a server: %v", err)
	}
	if err := redis.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := saved(t, s, c, 2, append(big, '2')); err != nil {
		t.Errorf("save after the restart: %v", err)
	}
	res, err := s.Load(t.Context(), []wire.RoomID{"k/a"})
	if err != nil || len(res[0].Data) != len(big)+1 {
		t.Errorf("after the restart: %+v, %v", res, err)
	}
	if again, err := markOf(t.Context(), s); again != mark || err != nil {
		t.Errorf("mark %q became %q, %v", mark, again, err)
	}
}

// A server that hangs with its connections open costs a call a second.
func TestStalled(t *testing.T) {
	url, redis := storetest.StartRedis(t)
	s := dialed(t, url)
	c := made(t, s, "k/a", 7)
	if err := redis.Pause(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name       string
		ctx        func() (context.Context, context.CancelFunc)
		from, upTo time.Duration
	}{
		{"no deadline", func() (context.Context, context.CancelFunc) { return context.WithCancel(context.Background()) }, 900 * time.Millisecond, 3 * time.Second},
		{"50 ms", func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), 50*time.Millisecond)
		}, 40 * time.Millisecond, 900 * time.Millisecond},
	} {
		ctx, cancel := tt.ctx()
		start := time.Now()
		errs, err := s.Save(ctx, []snapshot.SaveRequest{{Claim: c, Seq: 1, Data: big}})
		cancel()
		if took := time.Since(start); err == nil || took < tt.from || took > tt.upTo {
			t.Errorf("%s: %v, %v after %v, want %v to %v", tt.name, errs, err, took, tt.from, tt.upTo)
		}
	}
	if err := redis.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := saved(t, s, c, 2, big); err != nil {
		t.Errorf("save afterwards: %v", err)
	}
}

func TestOutOfMemory(t *testing.T) {
	url, _ := storetest.StartRedis(t)
	s := dialed(t, url)
	ctx := t.Context()
	c := made(t, s, "k/a", 7)
	if err := saved(t, s, c, 1, []byte("kept")); err != nil {
		t.Fatal(err)
	}
	maxmemory := func(to string) {
		t.Helper()
		if err := s.client.ConfigSet(ctx, "maxmemory", to).Err(); err != nil {
			t.Fatal(err)
		}
	}
	maxmemory("100kb") // less than an empty server takes
	for _, data := range [][]byte{[]byte("small"), big} {
		if errs, err := s.Save(ctx, []snapshot.SaveRequest{{Claim: c, Seq: 2, Data: data}}); err == nil {
			t.Errorf("save into a full server: %v", errs)
		}
	}
	if res, err := s.Claim(ctx, []snapshot.ClaimRequest{{Room: "k/a", Holder: "n#1.1", Nonce: 8}}); err == nil {
		t.Errorf("claim in a full server: %+v", res)
	}
	res, err := s.Load(ctx, []wire.RoomID{"k/a"})
	if err != nil || string(res[0].Data) != "kept" || res[0].Claim != c {
		t.Errorf("what was there: %+v, %v", res, err)
	}
	maxmemory("0")
	if err := saved(t, s, c, 2, big); err != nil {
		t.Errorf("save with room again: %v", err)
	}
}

func markOf(ctx context.Context, s *Store) (string, error) {
	b, err := s.Beat(ctx, "n#1", 0)
	return b.Mark, err
}

// A server that comes back from an older copy of its data knows an older beat.
func TestLostTailShowsInTheBeat(t *testing.T) {
	url, redis := storetest.StartRedis(t, "--save", "", "--appendonly", "no")
	s := dialed(t, url)
	beat := func(n uint64) snapshot.Beat {
		t.Helper()
		b, err := s.Beat(t.Context(), "n#1", n)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	first := beat(1)
	if err := s.client.Save(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	beat(2)
	beat(3)
	redis.Kill()
	if err := redis.Restart(); err != nil {
		t.Fatal(err)
	}
	if b := beat(4); b.Mark != first.Mark || b.Last != 1 {
		t.Errorf("after the restart: %+v, first %+v", b, first)
	}
}

// Each node of a Cluster that owns a sixteenth of the slots has a mark.
func TestClusterTags(t *testing.T) {
	if slot("123456789") != 0x31c3 { // of the specification
		t.Fatalf("slot %#x", slot("123456789"))
	}
	tags := clusterTags("limpet")
	for i, tag := range tags {
		if at := slot(strings.Trim(tag, "{}")); at < i*1024 || at >= i*1024+64 {
			t.Errorf("%s is at slot %d", tag, at)
		}
	}
}
