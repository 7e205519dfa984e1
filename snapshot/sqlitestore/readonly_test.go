package sqlitestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

// keptRoom saves a room in a store.
func keptRoom(t *testing.T, s *Store) {
	t.Helper()
	res, err := s.Claim(t.Context(), []snapshot.ClaimRequest{{Room: "k/a", Holder: "n#1.1", Nonce: 1, Mode: wire.ModeCreate}})
	if err != nil || res[0].Err != nil {
		t.Fatal(res, err)
	}
	if errs, err := s.Save(t.Context(), []snapshot.SaveRequest{{Claim: res[0].Claim, Seq: 1, Data: []byte("kept")}}); err != nil || errs[0] != nil {
		t.Fatal(errs, err)
	}
}

// readKept reads that room, and nothing else can be done.
func readKept(ctx context.Context, dir string) error {
	s, err := OpenReadOnly(ctx, dir, Config{})
	if err != nil {
		return err
	}
	defer s.Shut()
	if got, err := s.Load(ctx, []wire.RoomID{"k/a"}); err != nil || string(got[0].Data) != "kept" {
		return fmt.Errorf("loaded %+v, %w", got, err)
	}
	if page, _, err := s.List(ctx, "", 10); err != nil || len(page) != 1 {
		return fmt.Errorf("listed %+v, %w", page, err)
	}
	if err := s.TakeLease(ctx, "n#2.1", time.Minute); !errors.Is(err, errReadOnly) {
		return fmt.Errorf("took a lease: %w", err)
	}
	return nil
}

// contents is what a directory's files hold, without SQLite's index of its log,
// in which readers have their marks.
func contents(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for _, e := range names {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(e.Name(), "-shm") && len(b) > 0 {
			all[e.Name()] = b
		}
	}
	return all
}

func wantSame(t *testing.T, before, after map[string][]byte) {
	t.Helper()
	for name, b := range after {
		if !bytes.Equal(b, before[name]) {
			t.Errorf("%s was changed", name)
		}
	}
	if len(after) != len(before) {
		t.Errorf("%d files with contents became %d", len(before), len(after))
	}
}

func TestReadOnlyBesideAHost(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	defer s.Shut()
	keptRoom(t, s)
	if err := readKept(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if err := s.TakeLease(t.Context(), "n#3.1", time.Minute); err != nil {
		t.Errorf("the host can't write any more: %v", err)
	}
}

// What a host that was killed left is read from its log, which stays.
func TestReadOnlyLeavesTheStoreAsItIs(t *testing.T) {
	living, dir := t.TempDir(), t.TempDir()
	s := mustOpen(t, living)
	defer s.Shut()
	keptRoom(t, s)
	if err := os.CopyFS(dir, os.DirFS(living)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, FileName+"-shm")); err != nil {
		t.Fatal(err)
	}
	before := contents(t, dir)
	if len(before) != 2 {
		t.Fatalf("%d files, want the database and its log", len(before))
	}
	if err := readKept(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	wantSame(t, before, contents(t, dir))
}

func TestReadOnlyRefusesAnotherSchema(t *testing.T) {
	for _, version := range []int{0, schemaVersion - 1, schemaVersion + 1} {
		dir := t.TempDir()
		s := mustOpen(t, dir)
		if _, err := s.write.Exec(fmt.Sprintf("PRAGMA user_version = %d", version)); err != nil {
			t.Fatal(err)
		}
		if err := s.Shut(); err != nil {
			t.Fatal(err)
		}
		before := contents(t, dir)
		_, err := OpenReadOnly(t.Context(), dir, Config{})
		want := fmt.Sprintf("schema version %d, this build reads %d", version, schemaVersion)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want one line with %q", err, want)
		}
		wantSame(t, before, contents(t, dir))
	}
}

func TestReadOnlyMakesNothing(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenReadOnly(t.Context(), filepath.Join(dir, "none"), Config{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if _, err := OpenReadOnly(t.Context(), dir, Config{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	wantSame(t, map[string][]byte{}, contents(t, dir))
}

const lockedDir = "LIMPET_SQLITESTORE_TEST_LOCKED"

// readLocked is another process, which can't write to the directory.
func readLocked(dir string) int {
	if f, err := os.Create(filepath.Join(dir, "probe")); err == nil {
		_ = f.Close()
		fmt.Println("the directory can be written")
		return 1
	}
	if err := readKept(context.Background(), dir); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}
