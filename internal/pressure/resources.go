package pressure

import (
	"bufio"
	"math"
	"os"
	"runtime/metrics"
	"strconv"
	"strings"
	"syscall"
)

// memoryUsed is what the Go runtime holds and could not give back at once.
func memoryUsed() int64 {
	s := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(s)
	for _, v := range s {
		if v.Value.Kind() != metrics.KindUint64 {
			return 0
		}
	}
	return int64(s[0].Value.Uint64() - s[1].Value.Uint64() - s[2].Value.Uint64())
}

// machineMemory is what the machine has, 0 if unknown.
func machineMemory() int64 {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) >= 2 && fields[0] == "MemTotal:" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			if err == nil {
				return kib << 10
			}
		}
	}
	return 0
}

// filesThereAre is how many descriptors the process may open, 0 if unknown.
func filesThereAre() int64 {
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) != nil || r.Cur > math.MaxInt64 {
		return 0
	}
	return int64(r.Cur)
}

// filesOpen is how many descriptors are open, 0 if unknown. Since Linux 6.2 the
// directory's size says so; before, its entries are counted.
func filesOpen() int64 {
	st, err := os.Stat("/proc/self/fd")
	if err != nil {
		return 0
	}
	if st.Size() > 0 {
		return st.Size()
	}
	d, err := os.Open("/proc/self/fd")
	if err != nil {
		return math.MaxInt32 // none is left to look with
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return 0
	}
	return int64(len(names))
}
