package redisstore

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/snapshot/storetest"
)

// shared is a server that the package's tests use side by side, each with its
// own prefix. Tests that harm their server start one of their own.
var shared *storetest.Redis

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	LogClient(zerolog.Nop())
	dir, err := os.MkdirTemp("", "redisstore")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if shared, err = storetest.LaunchRedis(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	shared.Kill()
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

var (
	prefixes    sync.Map // of tests that run
	prefixCount atomic.Int64
)

// prefixOf is a prefix that belongs to a run of a test: with -count it finds
// nothing of the one before.
func prefixOf(t testing.TB) string {
	p, had := prefixes.LoadOrStore(t, fmt.Sprint("t", prefixCount.Add(1)))
	if !had {
		t.Cleanup(func() { prefixes.Delete(t) })
	}
	return p.(string)
}

func dial(t testing.TB, url string) *Store {
	t.Helper()
	s, err := New(url, Config{Prefix: prefixOf(t)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// dialed is dial with an end.
func dialed(t testing.TB, url string) *Store {
	t.Helper()
	s := dial(t, url)
	t.Cleanup(func() {
		if err := s.Shut(); err != nil {
			t.Errorf("shut: %v", err)
		}
	})
	return s
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) snapshot.Store { return dial(t, shared.URL()) })
}

// counted is how many round trips f takes.
func counted(t *testing.T, s *Store, f func()) int {
	t.Helper()
	h := &trips{}
	s.client.AddHook(h)
	f()
	return h.n
}

type trips struct{ n int }

func (h *trips) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *trips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		h.n++
		return next(ctx, cmd)
	}
}

func (h *trips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		h.n++
		return next(ctx, cmds)
	}
}
