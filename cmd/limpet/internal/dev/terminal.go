package dev

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/term"
)

// Terminal is where people read. Safe for concurrent use.
type Terminal struct {
	mu     sync.Mutex
	w      io.Writer // guarded by mu
	colour bool
	now    func() time.Time
}

// NewTerminal writes to w, in colour if it is a terminal and NO_COLOR is unset.
func NewTerminal(w io.Writer) *Terminal {
	f, ok := w.(*os.File)
	colour := ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return &Terminal{w: w, colour: colour, now: time.Now}
}

// Styles, as ANSI codes.
const (
	bold = "1"
	dim  = "2"
	cyan = "36"
)

func (t *Terminal) style(code, s string) string {
	if !t.colour {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// Event writes one line about a node.
func (t *Terminal) Event(node, format string, args ...any) {
	text := printable(fmt.Sprintf(format, args...))
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.w, "%s  %s  %s\n", t.style(dim, t.now().Format("15:04:05")), t.style(cyan, pad(node)), text)
}

// Print writes text as it is.
func (t *Terminal) Print(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	io.WriteString(t.w, text)
}

const nodeWidth = 10

func pad(s string) string { return s + strings.Repeat(" ", max(0, nodeWidth-len(s))) }

// printable keeps what a stranger may have put into a log from moving the
// cursor.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
}
