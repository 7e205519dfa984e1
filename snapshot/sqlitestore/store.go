// Package sqlitestore keeps rooms' claims and checkpoints in one SQLite file,
// shared by the processes of one machine. docs/store.md says what it survives.
package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/limpet-games/limpet/snapshot"
)

// FileName is the database's name in its directory. SQLite keeps two more
// files beside it, with -wal and -shm at their ends.
const FileName = "limpet.db"

const (
	// leaseMark is how long an ended lease's row stays, so that its name is
	// refused.
	leaseMark = 7 * 24 * time.Hour
	// tombstone is how long a closed room's row stays.
	tombstone = 7 * 24 * time.Hour
	// batch bounds a transaction, and so how long others wait for it.
	batch = 128
)

// Config sets up a Store. Zero fields take the defaults.
type Config struct {
	MaxBytes int // of a checkpoint; default snapshot.DefaultMaxBytes
}

// Store is a snapshot.Store. Several processes may open one directory; it has
// to be on a local disk.
type Store struct {
	cfg   Config
	write *sql.DB // one connection: SQLite has one writer at a time; nil: read only
	read  *sql.DB
	pace  pace
	path  string
	file  os.FileInfo // as it was opened
}

var _ snapshot.Store = (*Store)(nil)

// Open makes the directory and the database where they are missing. An error
// is one line that names the directory.
func Open(ctx context.Context, dir string, cfg Config) (*Store, error) {
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = snapshot.DefaultMaxBytes
	}
	s, err := open(ctx, dir, cfg)
	if err != nil {
		return nil, fmt.Errorf("open store in %s: %w", dir, plain(err))
	}
	return s, nil
}

func open(ctx context.Context, dir string, cfg Config) (*Store, error) {
	ctx, cancel := snapshot.WithDeadline(ctx)
	defer cancel()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path, err := filepath.Abs(filepath.Join(dir, FileName))
	if err != nil {
		return nil, err
	}
	if err := usable(dir, path); err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, path: path}
	if s.write, err = connect(path, "immediate", 1); err != nil {
		return nil, err
	}
	if s.read, err = connect(path, "deferred", 4); err != nil {
		return nil, errors.Join(err, s.write.Close())
	}
	if err := s.migrate(ctx); err != nil {
		return nil, errors.Join(err, s.Shut())
	}
	if s.file, err = os.Stat(path); err != nil {
		return nil, errors.Join(err, s.Shut())
	}
	return s, nil
}

// usable finds what SQLite's own words would not explain: a directory that
// can't be written, something else in the file's place. It must not open the
// database: closing it would drop the locks that this process may hold on it
// through another Store.
func usable(dir, path string) error {
	probe, err := os.CreateTemp(dir, "probe-*")
	if err != nil {
		return err
	}
	if err := errors.Join(probe.Close(), os.Remove(probe.Name())); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file", FileName)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// connect prepares a pool. The write-ahead log lets readers go on beside the
// writer; with synchronous=NORMAL a commit outlives its process at once, and a
// power cut from the log's next sync on, without ever damaging the file.
func connect(path, lock string, conns int) (*sql.DB, error) {
	q := url.Values{
		"_txlock": {lock},
		"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(NORMAL)"},
	}
	return dial(path, q.Encode(), conns)
}

func dial(path, query string, conns int) (*sql.DB, error) {
	u := url.URL{Scheme: "file", Path: path, RawQuery: query}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

// plain says in people's words what SQLite has a number for.
func plain(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("%s is not a database: %w", FileName, err)
	case sqlite3.SQLITE_CORRUPT:
		return fmt.Errorf("%s is damaged: %w", FileName, err)
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		return fmt.Errorf("%s can't be read and written (whose is it?): %w", FileName, err)
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("the disk is full: %w", err)
	}
	return err
}

// Shut closes the database's connections.
func (s *Store) Shut() error {
	err := s.read.Close()
	if s.write != nil {
		err = errors.Join(err, s.write.Close())
	}
	if err != nil {
		return fmt.Errorf("close database: %w", err)
	}
	return nil
}

// change runs f in a transaction that holds the write lock from its start, so
// that what it reads can't change before it writes.
func (s *Store) change(ctx context.Context, f func(tx *sql.Tx) error) error {
	if s.write == nil {
		return errReadOnly
	}
	ctx, cancel := snapshot.WithDeadline(ctx)
	defer cancel()
	if err := s.pace.wait(ctx); err != nil {
		return err
	}
	tx, err := s.begin(ctx)
	if err != nil {
		return plain(err)
	}
	defer s.pace.held(time.Now())
	if err := f(tx); err != nil {
		_ = tx.Rollback() // f's error says what is wrong
		return plain(err)
	}
	return plain(tx.Commit())
}

// begin waits for the write lock as long as ctx lasts. SQLite waits by itself,
// except where two connections would wait for each other, as they may while a
// file is being made or recovered.
func (s *Store) begin(ctx context.Context) (*sql.Tx, error) {
	for {
		tx, err := s.write.BeginTx(ctx, nil)
		var e *sqlite.Error
		if err == nil || !errors.As(err, &e) || e.Code()&0xff != sqlite3.SQLITE_BUSY {
			return tx, err
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the write lock: %w", ctx.Err())
		}
	}
}

func nowMS() int64 { return time.Now().UnixMilli() }
