package dev

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestChildLogShowsWarningsWithRestraint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &text{}
		l := newChildLog(filepath.Join(t.TempDir(), "x.log"), "host-1", NewTerminal(out))
		if err := l.open(); err != nil {
			t.Fatal(err)
		}
		defer l.close()
		fmt.Fprint(l, `{"level":"info","message":"quiet"}`+"\n"+`{"level":"warn","area":"gossip","message":"quiet too"}`+"\n"+`{"level":"warn","mess`)
		fmt.Fprint(l, `age":"half and half","member":4054231336594438,"room":"a/b","time":"now"}`+"\n")
		if got := out.String(); !strings.Contains(got, "half and half member=4054231336594438 room=a/b\n") || strings.Contains(got, "quiet") {
			t.Errorf("terminal shows %q", got)
		}
		for i := range 10 {
			fmt.Fprintf(l, `{"level":"error","message":"flood %d"}`+"\n", i)
		}
		if got := strings.Count(out.String(), "flood"); got != maxPerPeriod-1 {
			t.Errorf("%d of the flood shown, want %d", got, maxPerPeriod-1)
		}
		time.Sleep(calmFor + time.Second)
		fmt.Fprintln(l, "panic: \x1b[2Jnot JSON")
		if got := out.String(); !strings.Contains(got, "7 more warnings in ") || !strings.Contains(got, "panic:  [2Jnot JSON") {
			t.Errorf("terminal shows %q", got)
		}
		raw, err := os.ReadFile(l.path)
		if err != nil || strings.Count(string(raw), "\n") != 14 {
			t.Errorf("the file has %d lines, %v", strings.Count(string(raw), "\n"), err)
		}
	})
}

func TestChildLogShowsRefusedOrigins(t *testing.T) {
	out := &text{}
	l := newChildLog(filepath.Join(t.TempDir(), "x.log"), "gateway-1", NewTerminal(out))
	if err := l.open(); err != nil {
		t.Fatal(err)
	}
	defer l.close()
	fmt.Fprintln(l, `{"level":"info","from":"127.0.0.1","why":"origin http://a.example:80 is not allowed","message":"handshake refused"}`)
	if got := out.String(); !strings.Contains(got, "handshake refused from=127.0.0.1 why=origin http://a.example:80 is not allowed\n") {
		t.Errorf("terminal shows %q", got)
	}
}

func TestChildLogIsBounded(t *testing.T) {
	l := newChildLog(filepath.Join(t.TempDir(), "x.log"), "host-1", NewTerminal(&text{}))
	if err := l.open(); err != nil {
		t.Fatal(err)
	}
	defer l.close()
	line := []byte(`{"message":"` + strings.Repeat("x", 1<<20) + `"}` + "\n")
	for range 3 * maxLogBytes >> 20 {
		if _, err := l.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	var total int64
	files, err := filepath.Glob(l.path + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if len(files) != 2 || total > 2*maxLogBytes+2<<20 {
		t.Errorf("%d files with %d bytes", len(files), total)
	}
	if len(l.partial) != 0 || cap(l.partial) > 2*maxLine {
		t.Errorf("%d bytes kept of a line", cap(l.partial))
	}
}
