package redisstore

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

// List scans. Its cursor is the server's own, with the address of the Cluster
// node ahead of it: nodes are taken in the order of their addresses. A room may
// be listed twice while the server's tables change size, and a room whose slot
// moves during a listing may be missed.
func (s *Store) List(ctx context.Context, cursor string, most int) ([]snapshot.Entry, string, error) {
	page, next, err := s.list(ctx, cursor, most)
	if err != nil {
		return nil, "", fmt.Errorf("list rooms: %w", err)
	}
	return page, next, nil
}

func (s *Store) list(ctx context.Context, cursor string, most int) ([]snapshot.Entry, string, error) {
	ctx, cancel := snapshot.WithDeadline(ctx)
	defer cancel()
	at, pos, err := parseCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	nodes, err := s.masters(ctx)
	if err != nil {
		return nil, "", err
	}
	addrs := slices.Sorted(maps.Keys(nodes))
	if nodes[at] == nil { // the first, or one that has left
		i, _ := slices.BinarySearch(addrs, at)
		if i == len(addrs) {
			return nil, "", nil
		}
		at, pos = addrs[i], 0
	}
	most = min(max(most, 1), 1000)
	keys, pos, err := nodes[at].Scan(ctx, pos, "{"+s.cfg.Prefix+":*}", int64(most)).Result()
	if err != nil {
		return nil, "", fmt.Errorf("scan: %w", err)
	}
	page, err := s.entries(ctx, keys)
	if err != nil {
		return nil, "", err
	}
	if pos != 0 {
		return page, strconv.FormatUint(pos, 10) + "@" + at, nil
	}
	if i := slices.Index(addrs, at) + 1; i < len(addrs) {
		return page, "0@" + addrs[i], nil
	}
	return page, "", nil
}

func parseCursor(cursor string) (addr string, pos uint64, err error) {
	if cursor == "" {
		return "", 0, nil
	}
	n, addr, ok := strings.Cut(cursor, "@")
	pos, err = strconv.ParseUint(n, 10, 64)
	if !ok || err != nil {
		return "", 0, fmt.Errorf("%w: cursor %q", snapshot.ErrBadRequest, cursor)
	}
	return addr, pos, nil
}

// masters are the nodes that hold keys, by address. A single server, behind
// Sentinels or not, goes by no address: it may change during a listing.
func (s *Store) masters(ctx context.Context) (map[string]redis.Cmdable, error) {
	cluster, ok := s.client.(*redis.ClusterClient)
	if !ok {
		return map[string]redis.Cmdable{"": s.client}, nil
	}
	var mu sync.Mutex
	nodes := make(map[string]redis.Cmdable)
	err := cluster.ForEachMaster(ctx, func(_ context.Context, c *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		nodes[c.Options().Addr] = c
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find the cluster's masters: %w", err)
	}
	return nodes, nil
}

func (s *Store) entries(ctx context.Context, keys []string) ([]snapshot.Entry, error) {
	p := s.client.Pipeline()
	var rooms []wire.RoomID
	var cmds []*redis.SliceCmd
	for _, key := range keys {
		if room, ok := s.roomOf(key); ok {
			rooms = append(rooms, room)
			cmds = append(cmds, p.HMGet(ctx, key, "inc", "epoch", "nonce", "holder", "closed", "len"))
		}
	}
	if len(cmds) == 0 {
		return nil, nil
	}
	_, _ = p.Exec(ctx) // each command has its own error
	page := make([]snapshot.Entry, 0, len(rooms))
	for i, cmd := range cmds {
		e, there, err := entry(rooms[i], cmd)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", rooms[i], err)
		}
		if there {
			page = append(page, e)
		}
	}
	return page, nil
}

func entry(room wire.RoomID, cmd *redis.SliceCmd) (e snapshot.Entry, there bool, err error) {
	all, err := cmd.Result()
	if err != nil || len(all) != 6 || all[1] == nil {
		return snapshot.Entry{}, false, err // it went since the scan
	}
	f := &fields{all: all}
	e.Claim.Room = room
	e.Claim.Incarnation = wire.Incarnation(f.number())
	e.Claim.Epoch = wire.Epoch(f.number())
	e.Claim.Nonce = snapshot.Nonce(f.number())
	e.Holder = snapshot.Holder(f.text())
	e.Closed = f.next() != nil
	if f.err == nil && f.all[0] != nil {
		e.Bytes = int64(f.number())
	}
	return e, true, f.err
}
