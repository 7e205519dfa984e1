package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/limpet-games/limpet/snapshot"
)

// errReadOnly answers what would write to a store of OpenReadOnly.
var errReadOnly = errors.New("the store is open to be read only")

// OpenReadOnly opens the database of a directory to read it, also while hosts use
// it or where nothing can be written. The database stays as it is: one with
// another build's schema is refused. What would write fails. SQLite may leave its
// two files beside the database, as a host that was killed does.
func OpenReadOnly(ctx context.Context, dir string, cfg Config) (*Store, error) {
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = snapshot.DefaultMaxBytes
	}
	s, err := openReadOnly(ctx, dir, cfg)
	if err != nil {
		return nil, fmt.Errorf("open store in %s to read it: %w", dir, plain(err))
	}
	return s, nil
}

func openReadOnly(ctx context.Context, dir string, cfg Config) (*Store, error) {
	ctx, cancel := snapshot.WithDeadline(ctx)
	defer cancel()
	path, err := filepath.Abs(filepath.Join(dir, FileName))
	if err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, path: path}
	if s.file, err = os.Stat(path); err != nil {
		return nil, err
	}
	if !s.file.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", FileName)
	}
	err = s.look(ctx, "mode=ro")
	if shut(err) && unused(path) {
		err = s.look(ctx, "mode=ro&immutable=1")
	}
	return s, err
}

// shut reports whether SQLite could not put its files beside the database.
func shut(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	code := e.Code() & 0xff
	return code == sqlite3.SQLITE_CANTOPEN || code == sqlite3.SQLITE_READONLY
}

// unused reports whether no process has the database open, nor died with it.
func unused(path string) bool {
	_, err := os.Stat(path + "-wal")
	return errors.Is(err, fs.ErrNotExist)
}

// look connects and reads which schema the database has.
func (s *Store) look(ctx context.Context, mode string) error {
	var err error
	if s.read, err = dial(s.path, mode+"&_txlock=deferred&_pragma=busy_timeout(5000)", 4); err != nil {
		return err
	}
	var have int
	err = s.read.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have)
	if err == nil && have != schemaVersion {
		err = fmt.Errorf("%s has schema version %d, this build reads %d only: use the build of the hosts that write it, "+
			"or let a host of this build open a copy of the directory first, if it is older", FileName, have, schemaVersion)
	}
	if err != nil {
		return errors.Join(err, s.read.Close())
	}
	return nil
}
