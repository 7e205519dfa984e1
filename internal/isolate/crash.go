package isolate

import (
	"bytes"
	"regexp"
	"runtime"
	"strconv"
	"strings"
)

// crash is what the Go runtime says of the end of a process that it gave up.
type crash struct {
	reason    string // its first line
	goroutine uint64 // that was at fault
	creator   uint64 // the goroutine that started it; 0: not known
}

var (
	atFault   = regexp.MustCompile(`(?m)^goroutine (\d+)[^\[\n]*\[running`)
	createdBy = regexp.MustCompile(`(?m)^created by .* in goroutine (\d+)$`)
	because   = regexp.MustCompile(`(?m)^(panic|fatal error|runtime): .*$`)
)

// known tells fatal errors apart by a function that is on the stack: what the
// runtime says first is not in its report.
var known = []struct{ frame, reason string }{
	{"internal/runtime/maps.fatal(", "concurrent use of a map"},
	{"runtime.morestack(", "stack overflow"},
	{"runtime.mallocgc(", "out of memory"},
	{"runtime.", "see the process's output"},
}

// readCrash reads the runtime's report. False: it wrote none.
func readCrash(report []byte) (c crash, ok bool) {
	if len(report) == 0 {
		return c, false
	}
	first := because.Find(report)
	c.reason = strings.ToValidUTF8(string(first[:min(len(first), maxReason)]), "?")
	for _, k := range known {
		if c.reason == "" && bytes.Contains(report, []byte(k.frame)) {
			c.reason = "fatal error: " + k.reason
		}
	}
	m := atFault.FindSubmatchIndex(report)
	if m == nil {
		return c, true
	}
	c.goroutine = number(report[m[2]:m[3]])
	trace, _, _ := bytes.Cut(report[m[0]:], []byte("\n\n"))
	if by := createdBy.FindSubmatch(trace); by != nil {
		c.creator = number(by[1])
	}
	return c, true
}

func number(digits []byte) uint64 {
	n, err := strconv.ParseUint(string(digits), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// goroutine is the number of the one that calls, as the runtime's reports have
// it.
func goroutine() uint64 {
	var b [64]byte
	text := bytes.TrimPrefix(b[:runtime.Stack(b[:], false)], []byte("goroutine "))
	digits, _, _ := bytes.Cut(text, []byte(" "))
	return number(digits)
}
