package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// What is confirmed stands for all hosts, so all must run one build, also those
// that are not named.
func TestRolloutConfirmsOnlyWhenAllHostsRunOneBuild(t *testing.T) {
	for second, refused := range map[string]bool{"v1": true, "v2": false} {
		var confirms atomic.Int32
		ops := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/v1/cluster":
				w.Write([]byte(`{"hosts":[{"name":"host-1","build":"v2"},{"name":"host-2","build":"` + second + `"}]}`))
			case "/v1/confirm":
				confirms.Add(1)
				w.Write([]byte(`{"confirmed":["ledger"]}`))
			}
		}))
		defer ops.Close()
		for _, args := range [][]string{{"rollout", "--confirm", "host-1"}, {"rollout", "--confirm"}} {
			confirms.Store(0)
			status, out, errOut := say(append(args, "--ops", ops.URL)...)
			if refused && (status != 1 || confirms.Load() != 0 || !strings.Contains(errOut, "host-2 build v1: finish the rollout first")) {
				t.Errorf("%q: status %d after %d confirmations: %s", args, status, confirms.Load(), errOut)
			}
			if !refused && (status != 0 || confirms.Load() == 0 || !strings.Contains(out, "confirmed: ledger")) {
				t.Errorf("%q: status %d after %d confirmations: %s%s", args, status, confirms.Load(), out, errOut)
			}
		}
	}
}
