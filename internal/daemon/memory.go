package daemon

import (
	"bufio"
	"bytes"
	"context"
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// limitMemory tells the collector how much memory the container lets the
// process have, less a tenth for what it does not count, unless GOMEMLIMIT says
// it. Near the limit it then collects more often, in place of being killed;
// below, GOGC's default decides: what sessions hold is small, and so is the
// garbage that their traffic makes.
func limitMemory(log zerolog.Logger, root fs.FS) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return // the runtime has read it
	}
	if limit := containerMemory(root); limit > 0 {
		debug.SetMemoryLimit(limit / 10 * 9)
		log.Info().Int64("container_bytes", limit).Int64("limit_bytes", limit/10*9).Msg("memory limit")
	}
}

// containerMemory is the smallest limit that a control group sets to this
// process's memory, 0 where there is none.
func containerMemory(root fs.FS) int64 {
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0
	}
	least := int64(math.MaxInt64)
	lines := bufio.NewScanner(bytes.NewReader(groups))
	for lines.Scan() { // ID:CONTROLLERS:PATH
		f := strings.SplitN(lines.Text(), ":", 3)
		if len(f) != 3 {
			continue
		}
		top, file := "sys/fs/cgroup", "memory.max"
		if f[1] != "" {
			top, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		}
		if f[1] != "" && f[1] != "memory" {
			continue
		}
		// A group is bound by those above it. In a container the path may be that
		// of the machine outside, and the root its own group.
		for at := path.Clean("/" + f[2]); ; at = path.Dir(at) {
			if v := readLimit(root, path.Join(top, at, file)); v > 0 {
				least = min(least, v)
			}
			if at == "/" {
				break
			}
		}
	}
	if least >= 1<<60 { // what "unlimited" looks like in version 1
		return 0
	}
	return least
}

func readLimit(root fs.FS, name string) int64 {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return 0
	}
	v, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil { // "max"
		return 0
	}
	return v
}

const (
	tidyEvery  = 5 * time.Second
	tidyAbove  = 512 << 10 // bytes of garbage that are worth it
	tidyBusily = 4 << 20   // bytes allocated in an interval that are not quiet
)

// tidy collects what a burst has left behind once it is over: the collector
// itself waits until the heap has doubled, or for two minutes, and keeps what
// the burst needed for the next one.
func tidy(ctx context.Context) error {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	var t tidier
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if t.due(readHeap()) {
			debug.FreeOSMemory()
			t.done(readHeap())
		}
	}
}

// heap is what the runtime says of it.
type heap struct {
	cycles    uint64 // of the collector
	live      uint64 // bytes after the last of them
	allocated uint64 // bytes since the start
}

func readHeap() heap {
	s := []metrics.Sample{
		{Name: "/gc/cycles/total:gc-cycles"}, {Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"},
	}
	metrics.Read(s)
	return heap{s[0].Value.Uint64(), s[1].Value.Uint64(), s[2].Value.Uint64()}
}

// tidier decides when to collect.
type tidier struct {
	last  heap
	since uint64 // bytes allocated when the last collection was seen
}

// due reports whether the process is quiet and has garbage: the last interval
// saw no collection and little allocation, what came before did.
func (t *tidier) due(now heap) bool {
	quiet := now.cycles == t.last.cycles && now.allocated-t.last.allocated < tidyBusily
	if now.cycles != t.last.cycles {
		t.since = t.last.allocated
	}
	t.last = now
	return quiet && now.allocated-t.since >= max(tidyAbove, now.live/8)
}

// done says how things stand after a collection that was due.
func (t *tidier) done(now heap) { t.last, t.since = now, now.allocated }
