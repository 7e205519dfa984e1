package dev

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Bounds of a child's log.
const (
	maxLogBytes  = 32 << 20 // then it becomes NAME.log.1, in place of the last one
	maxLine      = 16 << 10 // a longer line is cut for the terminal, not in the file
	calmFor      = 10 * time.Second
	maxPerPeriod = 4 // warnings of one child shown in calmFor; the rest are counted
)

// childLog is where a child's output goes: all of it to a file, and its
// warnings, with restraint, to the terminal.
type childLog struct {
	path, name string
	out        *Terminal

	mu      sync.Mutex
	file    *os.File // guarded by mu, as all below
	size    int64
	partial []byte // a line whose end has not come
	last    string // the last whole line
	period  time.Time
	shown   int
	hidden  int
}

func newChildLog(path, name string, out *Terminal) *childLog {
	return &childLog{path: path, name: name, out: out}
}

func (l *childLog) open() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reopen()
}

func (l *childLog) reopen() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return setup("log of %s: %v", l.name, cause(err))
	}
	l.file, l.size = f, 0
	return nil
}

func (l *childLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		l.file.Close()
		l.file = nil
	}
}

// Write takes output as it comes. A full disk costs the log, not the child.
func (l *childLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		n, _ := l.file.Write(p)
		if l.size += int64(n); l.size > maxLogBytes {
			l.file.Close()
			l.file = nil
			os.Rename(l.path, l.path+".1")
			if err := l.reopen(); err != nil {
				l.out.Event(l.name, "%v", err)
			}
		}
	}
	for rest := p; len(rest) > 0; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		rest = after
		if len(l.partial) < maxLine {
			l.partial = append(l.partial, line[:min(len(line), maxLine-len(l.partial))]...)
		}
		if whole {
			l.line(l.partial)
			l.partial = l.partial[:0]
		}
	}
	return len(p), nil
}

// line looks at one whole line; mu is held.
func (l *childLog) line(raw []byte) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return
	}
	l.last = string(raw)
	text, ok := warning(raw)
	if !ok {
		return
	}
	now := time.Now()
	if now.Sub(l.period) > calmFor {
		if l.hidden > 0 {
			l.out.Event(l.name, "%d more warnings in %s", l.hidden, l.path)
		}
		l.period, l.shown, l.hidden = now, 0, 0
	}
	if l.shown++; l.shown > maxPerPeriod {
		l.hidden++
		return
	}
	l.out.Event(l.name, "%s", text)
}

// lastLine is the last line of output, as a person would read it.
func (l *childLog) lastLine() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if text, ok := readable([]byte(l.last)); ok {
		return text
	}
	return l.last
}

// warning is the text of a log line of level warn or above, or of a line that
// is no log line at all: a panic, say; and that of a handshake that was refused,
// which a page of another origin wonders about. What gossip thinks of neighbours that
// died on purpose is left to the file.
func warning(raw []byte) (string, bool) {
	var head struct{ Level, Area, Message string }
	if json.Unmarshal(raw, &head) != nil {
		return string(raw), true
	}
	if head.Area == "gossip" {
		return "", false
	}
	switch {
	case slices.Contains([]string{"warn", "error", "fatal", "panic"}, head.Level), head.Message == "handshake refused":
		return readable(raw)
	}
	return "", false
}

// readable is a JSON log line as text: message, then what belongs to it.
func readable(raw []byte) (string, bool) {
	var fields map[string]any
	numbers := json.NewDecoder(bytes.NewReader(raw))
	numbers.UseNumber() // epochs and members' IDs as they are
	if numbers.Decode(&fields) != nil {
		return "", false
	}
	var b strings.Builder
	fmt.Fprint(&b, fields["message"])
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		switch k {
		case "message", "level", "time", "program", "self", "stack":
		default:
			fmt.Fprintf(&b, " %s=%v", k, fields[k])
		}
	}
	return b.String(), true
}
