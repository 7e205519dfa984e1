package redisstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"time"

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
	s.beats.mu.Lock()
	defer s.beats.mu.Unlock()
	b := &s.beats
	b.are(process, s)
	b.calls = b.calls[:0]
	for i := range b.draws {
		c := newCall(beatScript, b.keys[2*i], b.keys[2*i+1])
		c.args = append(c.args, &b.draws[i])
		c.number(n)
		c.number(uint64(beatKept.Milliseconds()))
		b.calls = append(b.calls, c)
	}
	s.pipeline(ctx, b.calls)
	var got snapshot.Beat
	for i, c := range b.calls {
		mark, last, err := b.answer(i, c)
		if err != nil {
			return snapshot.Beat{}, fmt.Errorf("read the store's mark: %w", err)
		}
		if i == 0 || last < got.Last {
			got.Last = last
		}
		if i == 0 {
			got.Mark = mark
		} else {
			got.Mark += " " + mark
		}
	}
	for _, c := range b.calls {
		c.free()
	}
	return got, nil
}

// beats is what a process's beats need, one at a time.
type beats struct {
	mu      sync.Mutex
	process string
	keys    []string // of the mark and the beat, for each part of the store
	draws   []string // marks to set where there are none
	calls   []*call
}

// are makes them those of a process.
func (b *beats) are(process string, s *Store) {
	if b.process == process {
		return
	}
	tags := []string{"{" + s.cfg.Prefix + "}"}
	if s.cluster {
		tags = clusterTags(s.cfg.Prefix)
	}
	b.process, b.keys, b.draws = process, nil, nil
	for _, tag := range tags {
		b.keys = append(b.keys, tag+":mark", tag+":beat:"+process)
		b.draws = append(b.draws, rand.Text())
	}
}

// answer is a part's mark and last beat. A mark that was or may have been set is
// never offered again: it would not tell that it was lost.
func (b *beats) answer(i int, c *call) (mark string, last uint64, err error) {
	text, err := c.cmd.Text()
	if err != nil {
		b.process = "" // all is drawn anew
		return "", 0, err
	}
	mark, number, ok := strings.Cut(text, " ")
	if !ok {
		return "", 0, fmt.Errorf("%w: %q", errScriptAnswer, text)
	}
	if mark == b.draws[i] {
		b.draws[i] = rand.Text()
	}
	last, err = parse(number)
	return mark, last, err
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
