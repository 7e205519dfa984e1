package host

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/limpet-games/limpet/directory"
)

// cpuClock measures how much of its processors this process uses.
type cpuClock struct {
	at   time.Time
	used time.Duration
}

// cpuUsed is this process's time on processors so far, 0 if unknown.
func cpuUsed() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// percent is the use since the last call, 0 at the first.
func (c *cpuClock) percent(now time.Time, used time.Duration) uint8 {
	spent, over := used-c.used, now.Sub(c.at)*time.Duration(runtime.GOMAXPROCS(0))
	first := c.at.IsZero()
	c.at, c.used = now, used
	if first || over <= 0 {
		return 0
	}
	return uint8(min(100, 100*spent/over))
}

// memoryUsed is this process's memory in percent of what it may use, 0 if
// unknown.
func memoryUsed() uint8 {
	statm, err := os.ReadFile("/proc/self/statm")
	fields := bytes.Fields(statm)
	if err != nil || len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseUint(string(fields[1]), 10, 64)
	if most := memoryMost(); err == nil && most > 0 {
		return uint8(min(100, 100*pages*uint64(os.Getpagesize())/most))
	}
	return 0
}

// memoryMost is the least of the machine's memory, the control group's limit
// and the runtime's (GOMEMLIMIT), in bytes; 0 if unknown.
var memoryMost = sync.OnceValue(func() uint64 {
	most := uint64(math.MaxUint64)
	for line := range strings.Lines(read("/proc/meminfo")) {
		var kib uint64
		if _, err := fmt.Sscanf(line, "MemTotal: %d kB", &kib); err == nil {
			most = kib << 10
		}
	}
	if limit, err := strconv.ParseUint(strings.TrimSpace(read("/sys/fs/cgroup/memory.max")), 10, 64); err == nil {
		most = min(most, limit)
	}
	if limit := debug.SetMemoryLimit(-1); limit > 0 {
		most = min(most, uint64(limit))
	}
	if most >= math.MaxInt64 {
		return 0
	}
	return most
})

// read is a small file's text, "" where there is none.
func read(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(b)
}

// fullness says whether the host takes no more rooms. It is given up later than
// it is reached, so that the host does not flicker in others' eyes.
type fullness struct {
	maxRooms int
	full     bool
}

func (f *fullness) now(rooms int, memory uint8) bool {
	if f.full {
		f.full = rooms > f.maxRooms*95/100 || memory >= 90
	} else {
		f.full = rooms >= f.maxRooms || memory >= 95
	}
	return f.full
}

func checkLabel(s string) error {
	_, err := parseLabels([]string{s})
	return err
}

// parseLabels reads KEY=VALUE texts.
func parseLabels(all []string) (map[string]string, error) {
	labels := map[string]string{}
	for _, s := range all {
		k, v, ok := strings.Cut(s, "=")
		if !ok {
			return nil, fmt.Errorf("label %q: want KEY=VALUE", s)
		}
		labels[k] = v
	}
	return labels, directory.CheckLabels(labels)
}
