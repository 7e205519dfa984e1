package redisstore

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/snapshot/storetest"
)

func TestInspect(t *testing.T) {
	primary, _ := storetest.StartRedis(t)
	host, port, _ := strings.Cut(strings.TrimPrefix(primary, "redis://"), ":")
	for _, tt := range []struct {
		name    string
		args    []string
		query   string
		refused string
		warned  []string
	}{
		{name: "nothing on disk", warned: []string{"CONFIG SET appendonly yes"}},
		{name: "append-only", args: []string{"--appendonly", "yes"}},
		{name: "append-only without sync", args: []string{"--appendonly", "yes", "--appendfsync", "no"}, warned: []string{"appendfsync everysec"}},
		{name: "snapshots alone", args: []string{"--save", "60 1"}, warned: []string{"loses minutes"}},
		{name: "evicting", args: []string{"--maxmemory-policy", "allkeys-lru"}, refused: "CONFIG SET maxmemory-policy noeviction"},
		{name: "evicting what expires", args: []string{"--maxmemory-policy", "volatile-ttl"}, refused: "volatile-ttl"},
		{name: "evicting, allowed", args: []string{"--maxmemory-policy", "allkeys-lru"}, query: "?allow_eviction=true",
			warned: []string{"rooms may vanish", "appendonly yes"}},
		{name: "without CONFIG", args: []string{"--rename-command", "CONFIG", "", "--appendonly", "yes"}},
		{name: "without CONFIG, evicting", args: []string{"--rename-command", "CONFIG", "", "--maxmemory-policy", "allkeys-random"}, refused: "allkeys-random"},
		{name: "without INFO", args: []string{"--user", "default", "on", "nopass", "~*", "&*", "+@all", "-info"}, warned: []string{"ACL SETUSER"}},
		{name: "a replica", args: []string{"--replicaof", host, port}, refused: "replica"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url, _ := storetest.StartRedis(t, tt.args...)
			s, warnings, err := Open(t.Context(), url+tt.query, Config{})
			if err == nil {
				defer s.Shut()
			}
			if tt.refused != "" {
				if !errors.Is(err, ErrUnsuitable) || !strings.Contains(err.Error(), tt.refused) || strings.Contains(err.Error(), "\n") {
					t.Errorf("got %v, want a refusal with %q", err, tt.refused)
				}
				return
			}
			if err != nil || len(warnings) != len(tt.warned) {
				t.Fatalf("%q, %v; want %d warnings", warnings, err, len(tt.warned))
			}
			for i, w := range warnings {
				if !strings.Contains(w, tt.warned[i]) || strings.Contains(w, "\n") {
					t.Errorf("warning %q, want one line with %q", w, tt.warned[i])
				}
			}
		})
	}
}

func TestOpenUnreachable(t *testing.T) {
	url, redis := storetest.StartRedis(t)
	redis.Kill()
	if _, _, err := Open(t.Context(), url, Config{}); err == nil || errors.Is(err, ErrUnsuitable) {
		t.Errorf("got %v", err)
	}
	if _, err := New(url+"?prefix=a b", Config{}); err == nil {
		t.Error("took a bad prefix")
	}
}

func TestOldVersions(t *testing.T) {
	s := &Store{}
	for version, ok := range map[string]bool{"6.0.16": false, "5.0.3": false, "6.2.0": true, "7.0.15": true, "10.1": true, "odd": false, "": true} {
		err := s.suitable(map[string]string{"redis_version": version})
		if (err == nil) != ok {
			t.Errorf("version %q: %v", version, err)
		}
	}
}

// The rights that docs/store.md asks for are enough.
func TestRights(t *testing.T) {
	url, _ := storetest.StartRedis(t, "--appendonly", "yes", "--user", "limpet", "on", ">secret", "~{limpet*", "resetchannels",
		"+@read", "+@write", "+@scripting", "+@connection", "+cluster", "+command", "+time", "+info", "+config|get")
	s, warnings, err := Open(t.Context(), strings.Replace(url, "//", "//limpet:secret@", 1), Config{})
	if err != nil || len(warnings) > 0 {
		t.Fatalf("%q, %v", warnings, err)
	}
	defer s.Shut()
	ctx := t.Context()
	if err := s.TakeLease(ctx, "n#1.1", time.Minute); err != nil {
		t.Error(err)
	}
	if err := s.RenewLease(ctx, "n#1.1", time.Minute); err != nil {
		t.Error(err)
	}
	c := made(t, s, "k/a", 7)
	if err := saved(t, s, c, 1, big); err != nil {
		t.Error(err)
	}
	if page, _, err := s.List(ctx, "", 1000); err != nil || len(page) != 1 {
		t.Error(page, err)
	}
	if _, err := s.Beat(ctx, "n#1", 1); err != nil {
		t.Error(err)
	}
	if errs, err := s.Close(ctx, []snapshot.CloseRequest{{Claim: c}}); err != nil || errs[0] != nil {
		t.Error(errs, err)
	}
	if err := s.EndLease(ctx, "n#1.1"); err != nil {
		t.Error(err)
	}
}
