package host

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/limpet-games/limpet/internal/daemon"
	"github.com/limpet-games/limpet/snapshot/storetest"
)

// lines is what a process writes, from several goroutines.
type lines struct {
	mu   sync.Mutex
	text []byte
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b...)
	return len(b), nil
}

func (l *lines) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := strings.Split(strings.TrimSpace(string(l.text)), "\n")
	return all[len(all)-1]
}

func TestEvictingRedisEndsTheHost(t *testing.T) {
	url, _ := storetest.StartRedis(t, "--maxmemory-policy", "allkeys-lru")
	var out lines
	ended := make(chan int, 1)
	go func() {
		ended <- Command([]string{"--redis", url, "--gossip", "127.0.0.1:0", "--link", "127.0.0.1:0", "--ops", "127.0.0.1:0",
			"--shared-memory", ""}, &out, &out, tallyKind())
	}()
	select {
	case status := <-ended:
		last := out.last()
		for _, want := range []string{"roomd: ", "allkeys-lru", "mend: CONFIG SET maxmemory-policy noeviction", "allow_eviction"} {
			if !strings.Contains(last, want) {
				t.Errorf("the last line lacks %q: %s", want, last)
			}
		}
		if status != daemon.ExitUsage {
			t.Errorf("status %d", status)
		}
	case <-time.After(time.Minute):
		t.Fatal("the host runs with a Redis that evicts")
	}
}

// wired is a process of which only the store's part runs.
func wired(t *testing.T, s storeFlags) (w *daemon.Wiring, readyz func() (status int, reasons map[string]string)) {
	t.Helper()
	metrics := daemon.NewRegistry("roomd")
	ops, err := daemon.NewOps(daemon.OpsFlags{Addr: "127.0.0.1:0"}, zerolog.Nop(), metrics)
	if err != nil {
		t.Fatal(err)
	}
	w = &daemon.Wiring{Log: zerolog.Nop(), Metrics: metrics, Ops: ops}
	store, err := s.open(w)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- ops.Run(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := store.Shut(); err != nil {
			t.Error(err)
		}
	})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return w, func() (int, map[string]string) {
		resp, err := client.Get("http://" + ln.Addr().String() + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var answer struct{ Reasons map[string]string }
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, answer.Reasons
	}
}

func TestReadyOnceTheStoreIsInspected(t *testing.T) {
	t.Parallel()
	evicts, _ := storetest.StartRedis(t, "--maxmemory-policy", "allkeys-lru")
	fine, _ := storetest.StartRedis(t)
	for name, tt := range map[string]struct {
		flags storeFlags
		takes bool
	}{
		"suitable":                    {storeFlags{redis: fine}, true},
		"evicts":                      {storeFlags{redis: evicts}, false},
		"evicts, allowed by the flag": {storeFlags{redis: evicts, allowEviction: true}, true},
		"evicts, allowed in the URL":  {storeFlags{redis: evicts + "?allow_eviction=true"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			w, readyz := wired(t, tt.flags)
			if status, why := readyz(); status != http.StatusServiceUnavailable || why["store"] != "store not inspected" {
				t.Errorf("before the inspection: %d %v", status, why)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			go func() { ended <- w.Parts.Run(ctx) }()
			if tt.takes {
				until(t, "the process is ready", func() bool { status, _ := readyz(); return status == http.StatusOK })
				cancel()
			}
			if err := <-ended; (err == nil) != tt.takes {
				t.Errorf("ended with %v", err)
			}
			if status, why := readyz(); !tt.takes && (status != http.StatusServiceUnavailable || why["store"] == "") {
				t.Errorf("ready with a store that was refused: %d %v", status, why)
			}
		})
	}
}
