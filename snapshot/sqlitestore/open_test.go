package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

func TestOpenErrorsAreOneLine(t *testing.T) {
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	write(file, "x")
	garbage := t.TempDir()
	write(filepath.Join(garbage, FileName), strings.Repeat("this is not a database. ", 100))
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, FileName), 0o700); err != nil {
		t.Fatal(err)
	}
	newer := t.TempDir()
	s := mustOpen(t, newer)
	if _, err := s.write.Exec("PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	if err := s.Shut(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, dir, want string }{
		{"a file in its place", file, "not a directory"},
		{"below a file", filepath.Join(file, "data"), "not a directory"},
		{"garbage", garbage, "limpet.db is not a database"},
		{"a directory in the file's place", folder, "is not a file"},
		{"a newer build's file", newer, "schema version 99"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Open(t.Context(), tt.dir, Config{})
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.dir) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line with %q and the directory", err, tt.want)
			}
		})
	}
}

func TestOpenTogether(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	marks := make([]string, 8)
	for i := range marks {
		wg.Go(func() {
			s, err := Open(context.Background(), dir, Config{})
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Shut()
			if marks[i], err = markOf(context.Background(), s); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, m := range marks {
		if m == "" || m != marks[0] {
			t.Fatalf("marks: %q", marks)
		}
	}
}

func TestReopenKeepsRooms(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	res, err := s.Claim(t.Context(), []snapshot.ClaimRequest{{Room: "k/a", Holder: "n#1.1", Nonce: 1, Mode: wire.ModeCreate}})
	if err != nil || res[0].Err != nil {
		t.Fatal(res, err)
	}
	if errs, err := s.Save(t.Context(), []snapshot.SaveRequest{{Claim: res[0].Claim, Seq: 1, Data: []byte("kept")}}); err != nil || errs[0] != nil {
		t.Fatal(errs, err)
	}
	mark, err := markOf(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Shut(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir)
	defer s.Shut()
	got, err := s.Load(t.Context(), []wire.RoomID{"k/a"})
	if err != nil || string(got[0].Data) != "kept" || got[0].Claim != res[0].Claim {
		t.Errorf("%+v, %v", got, err)
	}
	if again, err := markOf(t.Context(), s); again != mark || err != nil {
		t.Errorf("mark %q became %q, %v", mark, again, err)
	}
}

// A lease that was found to have run out stays over when the clock goes back,
// which a row with a future expiry stands for.
func TestClockSetBack(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	defer s.Shut()
	ctx := t.Context()
	for i, look := range []func(h snapshot.Holder) error{
		func(h snapshot.Holder) error { _, err := s.LeaseAlive(ctx, h); return err },
		func(h snapshot.Holder) error {
			if err := s.RenewLease(ctx, h, time.Minute); !errors.Is(err, snapshot.ErrLeaseEnded) {
				return errors.Join(errors.New("renewed"), err)
			}
			return nil
		},
		func(h snapshot.Holder) error {
			_, err := s.Claim(ctx, []snapshot.ClaimRequest{{Room: "k/a", Holder: "other#1.1", Mode: wire.ModeJoin}})
			return err
		},
	} {
		h := snapshot.Holder([]string{"a#1.1", "b#1.1", "c#1.1"}[i])
		if err := s.TakeLease(ctx, h, time.Minute); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Claim(ctx, []snapshot.ClaimRequest{{Room: "k/a", Holder: h, Mode: wire.ModeJoinOrCreate, Nonce: snapshot.Nonce(i + 10)}}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.write.Exec("UPDATE lease SET expires = ? WHERE holder = ?", nowMS()-1, string(h)); err != nil {
			t.Fatal(err)
		}
		if err := look(h); err != nil {
			t.Fatal(err)
		}
		var expires int64
		if err := s.write.QueryRow("SELECT expires FROM lease WHERE holder = ?", string(h)).Scan(&expires); err != nil || expires != 0 {
			t.Errorf("look %d left the lease open to come back: expires %d, %v", i, expires, err)
		}
	}
}

// One that writes without a break does not lock others out.
func TestBusyWriterLeavesRoom(t *testing.T) {
	dir := t.TempDir()
	s, other := mustOpen(t, dir), mustOpen(t, dir)
	defer s.Shut()
	defer other.Shut()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	holding := make(chan struct{})
	wg.Go(func() {
		for ctx.Err() == nil {
			_ = s.change(ctx, func(*sql.Tx) error { // holds the lock, as a big batch does
				select {
				case holding <- struct{}{}:
				default:
				}
				<-time.After(10 * time.Millisecond)
				return nil
			})
		}
	})
	defer wg.Wait()
	defer cancel()
	for i := range 10 {
		<-holding
		start := time.Now()
		if err := other.EndLease(t.Context(), snapshot.Holder("n#1."+strconv.Itoa(i))); err != nil {
			t.Fatalf("write %d, after %v: %v", i, time.Since(start), err)
		}
	}
}

// A writer that waits for the lock gives up at its deadline, not later.
func TestDeadline(t *testing.T) {
	dir := t.TempDir()
	s, other := mustOpen(t, dir), mustOpen(t, dir)
	defer s.Shut()
	defer other.Shut()
	tx, err := other.write.Begin()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := s.EndLease(ctx, "n#1.1"); err == nil {
		t.Error("wrote past another's lock")
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
	if _, err := markOf(t.Context(), s); err != nil {
		t.Errorf("a reader waits for the writer: %v", err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := s.EndLease(t.Context(), "n#1.1"); err != nil {
		t.Error(err)
	}
}

func TestTombstonesAreSwept(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	defer s.Shut()
	ctx := t.Context()
	var claims []snapshot.Claim
	for _, room := range []wire.RoomID{"k/old", "k/new"} {
		res, err := s.Claim(ctx, []snapshot.ClaimRequest{{Room: room, Holder: "n#1.1", Nonce: 1, Mode: wire.ModeCreate}})
		if err != nil || res[0].Err != nil {
			t.Fatal(res, err)
		}
		claims = append(claims, res[0].Claim)
	}
	if errs, err := s.Close(ctx, []snapshot.CloseRequest{{Claim: claims[0]}}); err != nil || errs[0] != nil {
		t.Fatal(errs, err)
	}
	if _, err := s.write.Exec("UPDATE room SET closed = ? WHERE name = 'k/old'", nowMS()-tombstone.Milliseconds()-1000); err != nil {
		t.Fatal(err)
	}
	if errs, err := s.Close(ctx, []snapshot.CloseRequest{{Claim: claims[1]}}); err != nil || errs[0] != nil {
		t.Fatal(errs, err)
	}
	res, err := s.Load(ctx, []wire.RoomID{"k/old", "k/new"})
	if err != nil || !errors.Is(res[0].Err, snapshot.ErrNoRoom) || !res[1].Closed {
		t.Errorf("%+v, %v", res, err)
	}
}

func markOf(ctx context.Context, s *Store) (string, error) {
	b, err := s.Beat(ctx, "n#1", 0)
	return b.Mark, err
}

func TestReplacedFileIsNoticed(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), dir, Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shut()
	if _, err := s.Beat(t.Context(), "n#1", 1); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, FileName), filepath.Join(dir, "away")); err != nil {
		t.Fatal(err)
	}
	if b, err := s.Beat(t.Context(), "n#1", 2); err == nil {
		t.Errorf("beat in a file that is gone: %+v", b)
	}
}
