package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/limpet-games/limpet/internal/daemon"
)

const overview = `{"gateways":[{"node":"gateway-1#01","name":"gateway-1","connections":5}],
"hosts":[{"node":"host-1#01","name":"host-1","room_count":1,"members":3,"up_ms":61000,
 "isolated":[{"kind":"board","state":"ready","pid":77,"memory_bytes":34603008,"deaths":2,"last_death":"crash"}]}],
"rooms":[{"room":"chat/lobby","host":"host-1","epoch":12,"members":3,"max":50,"connected":2}],
"rooms_left_off":4,"asked":3,"answered":2,"missing":[{"node":"host-2#01","role":"host","error":"connection refused"}]}`

func TestPsAsksTheFirstNodeThatAnswers(t *testing.T) {
	const token = "operators-token-for-tests"
	ops := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/cluster" || !daemon.BearerIs(r, []byte(token)) {
			daemon.WriteError(w, http.StatusUnauthorized, "no")
			return
		}
		w.Write([]byte(overview))
	}))
	defer ops.Close()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	urls := "http://127.0.0.1:1," + ops.URL
	status, out, errOut := say("ps", "--ops", urls, "--ops-token-file", file)
	if status != 0 {
		t.Fatal(errOut)
	}
	for _, want := range []string{"gateway-1  5", "host-1  1      3        1m1s", "chat/lobby  host-1  12     3/50     2", "board          host-1  ready  77   33 MiB  2       crash",
		"and 4 more rooms", "2 of 3 nodes answered", "host-2#01", "connection refused"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	status, out, _ = say("ps", "--json", "--ops", urls, "--ops-token-file", file)
	var got, want any
	if err := json.Unmarshal([]byte(out), &got); status != 0 || err != nil {
		t.Fatalf("status %d, %v", status, err)
	}
	var o daemon.Overview
	if err := json.Unmarshal([]byte(overview), &o); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	json.Unmarshal(raw, &want)
	if a, b := jsonText(t, got), jsonText(t, want); a != b {
		t.Errorf("JSON is %s, want %s", a, b)
	}
	if status, _, errOut := say("ps", "--ops", ops.URL); status != 1 || !strings.Contains(errOut, "401") {
		t.Errorf("without a token: status %d, says %s", status, errOut)
	}
}

func jsonText(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
