package redisstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/limpet-games/limpet/snapshot"
)

// ErrUnsuitable is wrapped where Inspect refuses a server that it could reach.
var ErrUnsuitable = errors.New("this Redis can't keep rooms")

// Inspect looks at the servers' versions and settings. It refuses, with
// ErrUnsuitable, what loses rooms in ordinary operation: Redis before 6.2, a
// replica, and one that evicts keys unless that is allowed. What threatens data
// in a crash comes back as warnings, one line each with its mend.
func (s *Store) Inspect(ctx context.Context) ([]string, error) {
	ctx, cancel := snapshot.WithDeadline(ctx)
	defer cancel()
	nodes, err := s.masters(ctx)
	if err != nil {
		return nil, fmt.Errorf("inspect redis: %w", err)
	}
	var warnings []string
	for _, addr := range slices.Sorted(maps.Keys(nodes)) {
		w, err := s.inspectNode(ctx, nodes[addr])
		name := "redis"
		if addr != "" {
			name = "redis " + addr
		}
		if err != nil {
			return nil, fmt.Errorf("inspect %s: %w", name, err)
		}
		for _, line := range w {
			warnings = append(warnings, name+" "+line)
		}
	}
	return warnings, nil
}

func (s *Store) inspectNode(ctx context.Context, c redis.Cmdable) ([]string, error) {
	text, err := c.Info(ctx).Result()
	if err != nil && strings.HasPrefix(err.Error(), "NOPERM") {
		if err := c.Ping(ctx).Err(); err != nil {
			return nil, err
		}
		return []string{"does not let this user read INFO: version, eviction and persistence are not checked; mend: ACL SETUSER NAME +info"}, nil
	}
	if err != nil {
		return nil, err
	}
	info := parseInfo(text)
	if err := s.suitable(info); err != nil {
		return nil, err
	}
	return threats(info, s.cfg.WaitReplicas, func(name string) string { return setting(ctx, c, name) }), nil
}

// suitable says why a server is refused.
func (s *Store) suitable(info map[string]string) error {
	if v := info["redis_version"]; v != "" && !atLeast(v, 6, 2) {
		return fmt.Errorf("%w: version %s, want 6.2 or newer", ErrUnsuitable, v)
	}
	if info["role"] == "slave" {
		return fmt.Errorf("%w: it is a replica; name its primary, or Sentinels with master_name", ErrUnsuitable)
	}
	policy := info["maxmemory_policy"]
	if policy != "" && policy != "noeviction" && !s.cfg.AllowEviction {
		return fmt.Errorf("%w: it evicts keys (maxmemory-policy %s), rooms and leases would vanish; mend: CONFIG SET maxmemory-policy noeviction (or say allow_eviction=true)", ErrUnsuitable, policy)
	}
	return nil
}

// threats are the lines on what a crash would cost. conf reads a setting, and
// gives "" where that is not allowed or says nothing.
func threats(info map[string]string, wait int, conf func(name string) string) []string {
	var lines []string
	warn := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	if p := info["maxmemory_policy"]; p != "" && p != "noeviction" {
		warn("evicts keys (maxmemory-policy %s), which was allowed: rooms may vanish; mend: CONFIG SET maxmemory-policy noeviction", p)
	}
	switch {
	case info["aof_enabled"] == "1":
		if conf("appendfsync") == "no" {
			warn("leaves syncing to the kernel (appendfsync no): a power cut loses up to 30 s; mend: CONFIG SET appendfsync everysec")
		}
		if info["aof_last_write_status"] == "err" {
			warn("fails to write its append-only file: look at its log and disk")
		}
	case conf("save") != "":
		warn("keeps snapshots alone: a crash loses minutes of confirmed checkpoints; mend: CONFIG SET appendonly yes")
	default:
		warn("keeps nothing on disk, or does not say so: a restart loses every room; mend: CONFIG SET appendonly yes")
	}
	if have, _ := strconv.Atoi(info["connected_slaves"]); have < wait {
		warn("has %d replicas and wait_replicas is %d: nothing becomes durable until they are there", have, wait)
	}
	if info["rdb_last_bgsave_status"] == "err" {
		warn("fails to write its snapshots: look at its log and disk")
	}
	if info["loading"] == "1" {
		warn("is still loading its data: rooms can't be claimed until it is done")
	}
	return lines
}

func setting(ctx context.Context, c redis.Cmdable, name string) string {
	values, err := c.ConfigGet(ctx, name).Result()
	if err != nil { // CONFIG is often forbidden; INFO has said most
		return ""
	}
	return values[name]
}

func parseInfo(text string) map[string]string {
	info := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	return info
}

func atLeast(version string, major, minor int) bool {
	a, rest, _ := strings.Cut(version, ".")
	b, _, _ := strings.Cut(rest, ".")
	m, err1 := strconv.Atoi(a)
	n, err2 := strconv.Atoi(b)
	return err1 == nil && err2 == nil && (m > major || m == major && n >= minor)
}
