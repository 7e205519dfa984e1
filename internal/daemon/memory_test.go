package daemon

import (
	"testing"
	"testing/fstest"
)

func TestContainerMemory(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	for name, tt := range map[string]struct {
		fs   fstest.MapFS
		want int64
	}{
		"no control groups": {fstest.MapFS{}, 0},
		"version 2": {fstest.MapFS{
			"proc/self/cgroup":                    file("0::/kube/pod\n"),
			"sys/fs/cgroup/kube/pod/memory.max":   file("1073741824\n"),
			"sys/fs/cgroup/kube/pod/x/memory.max": file("1\n"),
		}, 1 << 30},
		"version 2, bound from above": {fstest.MapFS{
			"proc/self/cgroup":                  file("0::/kube/pod\n"),
			"sys/fs/cgroup/kube/pod/memory.max": file("max\n"),
			"sys/fs/cgroup/kube/memory.max":     file("2147483648\n"),
		}, 2 << 30},
		"version 2, in a namespace": {fstest.MapFS{
			"proc/self/cgroup":         file("0::/\n"),
			"sys/fs/cgroup/memory.max": file("536870912\n"),
		}, 512 << 20},
		"version 1, the path outside": {fstest.MapFS{
			"proc/self/cgroup":                           file("9:name=systemd:/docker/abc\n4:memory:/docker/abc\n0::/\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("268435456\n"),
		}, 256 << 20},
		"version 1, unlimited": {fstest.MapFS{
			"proc/self/cgroup":                           file("4:memory:/\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("9223372036854771712\n"),
		}, 0},
		"unlimited": {fstest.MapFS{
			"proc/self/cgroup":         file("0::/\n"),
			"sys/fs/cgroup/memory.max": file("max\n"),
		}, 0},
		"nonsense": {fstest.MapFS{
			"proc/self/cgroup":         file("\nwhat\n0::../../etc\n"),
			"sys/fs/cgroup/memory.max": file("-5"),
		}, 0},
	} {
		if got := containerMemory(tt.fs); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

func TestTidyWaitsForQuietAndGarbage(t *testing.T) {
	const mib = 1 << 20
	var td tidier
	for i, step := range []struct {
		h    heap
		want bool
	}{
		{heap{1, 2 * mib, 3 * mib}, false},    // starting
		{heap{1, 2 * mib, 60 * mib}, false},   // busy
		{heap{1, 2 * mib, 60 * mib}, true},    // quiet, with garbage
		{heap{2, 30 * mib, 63 * mib}, false},  // quiet, with little garbage beside what lives
		{heap{2, 30 * mib, 64 * mib}, true},   // with more
		{heap{9, 30 * mib, 400 * mib}, false}, // busy, and collected meanwhile
		{heap{9, 30 * mib, 400 * mib}, true},
		{heap{10, 2 * mib, 401 * mib}, true}, // every interval
		{heap{11, 2 * mib, 401*mib + mib/4}, false},
	} {
		if got := td.due(step.h); got != step.want {
			t.Errorf("step %d, %+v: %v", i, step.h, got)
		}
		if step.want {
			td.done(heap{step.h.cycles + 1, step.h.live, step.h.allocated})
		}
	}
}
