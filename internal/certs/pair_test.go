package certs

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// TestFilesAreReadWhenTheyChange: and only then, since every handshake asks.
func TestFilesAreReadWhenTheyChange(t *testing.T) {
	dir := t.TempDir()
	path, at := filepath.Join(dir, "cert"), time.Now().Add(-time.Hour)
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path+".new", at, at); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	put("one")
	loads := 0
	f, err := newWatched(Watch{Log: zerolog.Nop(), What: "players"}, []string{path, path + "-that-is-not-there"}, func() (time.Time, error) {
		loads++
		return time.Now().Add(1000 * time.Hour), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	look := func(what string, want int) {
		t.Helper()
		now = now.Add(lookEvery)
		if f.look(now); loads != want {
			t.Errorf("%s: read %d times, want %d", what, loads, want)
		}
	}
	look("unchanged", 1)
	look("still unchanged", 1)
	put("two") // of the same length and time
	look("another file in its place", 2)
	look("unchanged since", 2)
	f.look(now) // within the second
	put("three")
	f.look(now)
	look("later", 3)
}
