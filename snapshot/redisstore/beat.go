package redisstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/limpet-games/limpet/snapshot"
)

// beatKept is how long a process's last beat is remembered after it.
const beatKept = 24 * time.Hour

// Beat counts a beat on every node of a Cluster, in one round trip: its mark is
// all of theirs, and the last beat the oldest that one of them knows. While a
// node does not answer there is no answer.
func (s *Store) Beat(ctx context.Context, process string, n uint64) (snapshot.Beat, error) {
	ctx, cancel := snapshot.WithDeadline(ctx)
	defer cancel()
	tags := []string{"{" + s.cfg.Prefix + "}"}
	if _, ok := s.client.(*redis.ClusterClient); ok {
		tags = clusterTags(s.cfg.Prefix)
	}
	calls := make([]*call, len(tags))
	for i, tag := range tags {
		calls[i] = &call{
			script: beatScript, keys: []string{tag + ":mark", tag + ":beat:" + process},
			args: []any{rand.Text(), format(n), beatKept.Milliseconds()},
		}
	}
	s.pipeline(ctx, calls)
	marks := make([]string, len(calls))
	var b snapshot.Beat
	for i, c := range calls {
		f := c.fields()
		marks[i] = f.text()
		last := f.number()
		if f.err != nil {
			return snapshot.Beat{}, fmt.Errorf("read the store's mark: %w", f.err)
		}
		if i == 0 || last < b.Last {
			b.Last = last
		}
	}
	b.Mark = strings.Join(marks, " ")
	return b, nil
}

// regions is how many marks a Cluster has. They lie evenly over its slotCount, so
// that each node which owns a little more than a 16th of them in one piece has
// one at least.
const regions = 16

// clusterTags are hash tags whose slotCount lie near the beginning of each region.
func clusterTags(prefix string) []string {
	tagsMu.Lock()
	defer tagsMu.Unlock()
	if tags[prefix] != nil {
		return tags[prefix]
	}
	const size = slotCount / regions
	found := make([]string, regions)
	for i, left := 0, regions; left > 0; i++ {
		tag := fmt.Sprintf("%s.%d", prefix, i)
		if at := slot(tag); at%size < size/16 && found[at/size] == "" {
			found[at/size] = "{" + tag + "}"
			left--
		}
	}
	tags[prefix] = found
	return found
}

var (
	tagsMu sync.Mutex
	tags   = map[string][]string{} // by prefix: a process has one; guarded by tagsMu
)

const slotCount = 16384

// slot is where a Cluster keeps the keys with a hash tag: CRC16/XMODEM.
func slot(tag string) int {
	crc := uint16(0)
	for i := range len(tag) {
		crc ^= uint16(tag[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc % slotCount)
}
