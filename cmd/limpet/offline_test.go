package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOfflineRunsTheProgramThatIsNamed(t *testing.T) {
	roomd := filepath.Join(t.TempDir(), "roomd")
	if err := os.WriteFile(roomd, []byte("#!/bin/sh\necho \"said $*\"\necho oops >&2\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"replay", "--roomd", roomd, "--to", "3", "arena/7"},
		{"replay", "--to", "3", "--roomd=" + roomd, "arena/7"},
	} {
		status, out, errOut := say(args...)
		if status != 3 || out != "said replay --to 3 arena/7\n" || errOut != "oops\n" {
			t.Errorf("%v: status %d, %q, %q", args, status, out, errOut)
		}
	}
}

func TestOfflineErrors(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	for _, tt := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"rehearse", "--roomd"}, 2, "PACKAGE-OR-BINARY is missing"},
		{[]string{"rehearse", "--roomd", none}, 1, "build " + none},
		{[]string{"rehearse", "--data", none}, 2, "no store in " + none},
		{[]string{"replay", "--data", none, "arena/7"}, 2, "no store in " + none},
		{[]string{"replay", "--data", none, "--to", "x", "arena/7"}, 2, "--to"},
		{[]string{"replay", "--data", none, "other/7"}, 2, "not served by this program, which serves arena, board, chat; --roomd"},
	} {
		status, out, errOut := say(tt.args...)
		if status != tt.status || out != "" || !strings.Contains(errOut, tt.says) {
			t.Errorf("%v: status %d, %q, %q", tt.args, status, out, errOut)
		}
	}
	if _, err := os.Stat(none); err == nil {
		t.Error("made a store")
	}
}
