package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/limpet-games/limpet/snapshot"
)

func alive(t testing.TB, s snapshot.Store, h snapshot.Holder) bool {
	t.Helper()
	ok, err := s.LeaseAlive(timeout(t), h)
	if err != nil {
		t.Fatalf("lease alive: %v", err)
	}
	return ok
}

func wantEnded(t testing.TB, what string, err error) {
	t.Helper()
	if !errors.Is(err, snapshot.ErrLeaseEnded) {
		t.Errorf("%s: %v, want ErrLeaseEnded", what, err)
	}
}

func testLeases(t *testing.T, f *fixture) {
	ctx := timeout(t)
	if alive(t, f.a, "never#1.1") {
		t.Error("a lease that was never taken is alive")
	}
	wantEnded(t, "renew a lease never taken", f.a.RenewLease(ctx, "never#1.1", ttl))
	if alive(t, f.b, "never#1.1") {
		t.Error("a renewal made a lease")
	}

	h := lease(t, f.a, "n1")
	if !alive(t, f.a, h) || !alive(t, f.b, h) {
		t.Error("a lease that was taken is not alive")
	}
	if err := f.a.RenewLease(ctx, h, ttl); err != nil {
		t.Errorf("renew: %v", err)
	}
	wantEnded(t, "take it again", f.b.TakeLease(ctx, h, ttl))
	if !alive(t, f.b, h) {
		t.Error("taking a running lease again ended it")
	}

	if err := f.b.EndLease(ctx, h); err != nil { // another process ends it, on proof
		t.Fatalf("end: %v", err)
	}
	if alive(t, f.a, h) {
		t.Error("a lease that was ended is alive")
	}
	wantEnded(t, "renew an ended lease", f.a.RenewLease(ctx, h, ttl))
	wantEnded(t, "take an ended lease", f.a.TakeLease(ctx, h, ttl))
	if alive(t, f.a, h) {
		t.Error("an ended lease came back")
	}
	if err := f.a.EndLease(ctx, h); err != nil {
		t.Errorf("end an ended lease: %v", err)
	}

	if err := f.a.EndLease(ctx, "early#1.1"); err != nil {
		t.Errorf("end a lease never taken: %v", err)
	}
	wantEnded(t, "take a lease that was ended first", f.b.TakeLease(ctx, "early#1.1", ttl))
}

func testLeaseExpires(t *testing.T, f *fixture) {
	ctx := timeout(t)
	h := snapshot.Holder("short#1.1")
	start := time.Now()
	if err := f.a.TakeLease(ctx, h, 150*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if err := f.a.RenewLease(ctx, h, 400*time.Millisecond); err != nil {
		t.Fatalf("renew: %v", err)
	}
	eventually(t, "expiry", func() bool { return !alive(t, f.b, h) })
	if took := time.Since(start); took < 350*time.Millisecond {
		t.Errorf("the lease ended after %v: the renewal to 400 ms did not count", took)
	}
	wantEnded(t, "renew an expired lease", f.a.RenewLease(ctx, h, ttl))
	wantEnded(t, "take an expired lease", f.a.TakeLease(ctx, h, ttl))
	if alive(t, f.a, h) {
		t.Error("an expired lease came back")
	}
}

func testLeaseBadRequests(t *testing.T, f *fixture) {
	ctx := timeout(t)
	for _, h := range []snapshot.Holder{"", "a b", "a{b}", "a\n", snapshot.Holder(make([]byte, 300))} {
		if err := f.a.TakeLease(ctx, h, ttl); !errors.Is(err, snapshot.ErrBadRequest) {
			t.Errorf("take lease as %q: %v, want ErrBadRequest", h, err)
		}
	}
	if err := f.a.TakeLease(ctx, "n#1.1", 0); !errors.Is(err, snapshot.ErrBadRequest) {
		t.Errorf("lease of no time: %v, want ErrBadRequest", err)
	}
}
