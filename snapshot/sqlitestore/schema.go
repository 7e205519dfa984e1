package sqlitestore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"os"

	"github.com/limpet-games/limpet/snapshot"
)

// schemaVersion is the file's user_version. An older one is brought up to it.
const schemaVersion = 5

// Nonces are 64-bit numbers kept as SQLite's signed ones. A lease that has
// ended has expiry 0: a clock that is set back does not bring it to life.
const schema = `
CREATE TABLE room (
	name TEXT PRIMARY KEY,
	incarnation INTEGER NOT NULL,
	epoch INTEGER NOT NULL,
	nonce INTEGER NOT NULL,
	created INTEGER NOT NULL,
	holder TEXT NOT NULL,
	seq INTEGER NOT NULL,
	closed INTEGER NOT NULL,
	data BLOB
);
CREATE INDEX room_closed ON room (closed) WHERE closed > 0;
CREATE TABLE lease (
	holder TEXT PRIMARY KEY,
	expires INTEGER NOT NULL,
	seen INTEGER NOT NULL
);
CREATE TABLE mark (one INTEGER PRIMARY KEY CHECK (one = 1), value TEXT NOT NULL);
`

// journalSchema came with version 2. base is the last entry that the room's
// checkpoint covers.
const journalSchema = `
ALTER TABLE room ADD COLUMN base INTEGER NOT NULL DEFAULT 0;
CREATE TABLE journal (
	name TEXT NOT NULL,
	n INTEGER NOT NULL,
	entry BLOB NOT NULL,
	PRIMARY KEY (name, n)
) WITHOUT ROWID;
`

// generationSchema came with version 3: the checkpoint before the one that
// stands, and what could not be read and was set aside, at the time in
// milliseconds; entry 0 is a checkpoint, others are journal entries. mended is
// the epoch of the claim that set a checkpoint aside.
const generationSchema = `
ALTER TABLE room ADD COLUMN prev BLOB;
ALTER TABLE room ADD COLUMN mended INTEGER;
CREATE TABLE aside (
	name TEXT NOT NULL,
	entry INTEGER NOT NULL,
	at INTEGER NOT NULL,
	data BLOB
);
`

// noteSchema came with version 4.
const noteSchema = `
ALTER TABLE room ADD COLUMN noted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE room ADD COLUMN note BLOB;
`

// owedSchema came with version 5: owed is set where a live copy claimed a room
// again that the file had lost. Until it saves, there is a record and no state.
const owedSchema = "ALTER TABLE room ADD COLUMN owed INTEGER NOT NULL DEFAULT 0;"

// migrate makes the tables in a new file and refuses one of a newer build.
func (s *Store) migrate(ctx context.Context) error {
	return s.change(ctx, func(tx *sql.Tx) error {
		var have int
		if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err != nil {
			return err
		}
		switch {
		case have == schemaVersion:
			return nil
		case have > schemaVersion:
			return fmt.Errorf("%s has schema version %d, this build knows up to %d", FileName, have, schemaVersion)
		}
		if have == 0 {
			if _, err := tx.ExecContext(ctx, schema); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "INSERT INTO mark (one, value) VALUES (1, ?)", rand.Text()); err != nil {
				return err
			}
		}
		if have < 2 {
			if _, err := tx.ExecContext(ctx, journalSchema); err != nil {
				return err
			}
		}
		if have < 3 {
			if _, err := tx.ExecContext(ctx, generationSchema); err != nil {
				return err
			}
		}
		if have < 4 {
			if _, err := tx.ExecContext(ctx, noteSchema); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, owedSchema); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", schemaVersion))
		return err
	})
}

// Beat reads the store's generation, which is drawn with the file. While the file
// is there nothing that was committed leaves it, so beats need not be kept. A file
// that was removed or replaced under its processes can't be written any more.
func (s *Store) Beat(ctx context.Context, _ string, n uint64) (snapshot.Beat, error) {
	ctx, cancel := snapshot.WithDeadline(ctx)
	defer cancel()
	b := snapshot.Beat{Last: n}
	if err := s.read.QueryRowContext(ctx, "SELECT value FROM mark").Scan(&b.Mark); err != nil {
		return snapshot.Beat{}, fmt.Errorf("read the store's mark: %w", plain(err))
	}
	if now, err := os.Stat(s.path); err != nil || !os.SameFile(now, s.file) {
		return snapshot.Beat{}, fmt.Errorf("%s was removed or replaced while it is in use: restart its hosts", s.path)
	}
	return b, nil
}
