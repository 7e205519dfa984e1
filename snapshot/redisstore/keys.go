package redisstore

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

// All keys of a room hash by {PREFIX:KIND/NAME} to one slot, those of a lease
// by {PREFIX:lease:HOLDER}. A kind holds no colon, so the two can't meet.
func (s *Store) roomKey(r wire.RoomID) string { return "{" + s.cfg.Prefix + ":" + string(r) + "}" }

func (s *Store) blobKey(req snapshot.SaveRequest) string {
	return s.roomKey(req.Claim.Room) + ":blob:" + formatNonce(req.Claim.Nonce) + ":" + format(req.Seq)
}

func (s *Store) journalKey(r wire.RoomID) string {
	return "{" + s.cfg.Prefix + ":" + string(r) + "}" + journalOf
}

const journalOf = ":journal"

// ofJournal is the key of the room that a journal's key is of.
func ofJournal(key string) string { return key[:len(key)-len(journalOf)] }

func (s *Store) leaseKeys(h snapshot.Holder) []string {
	key := "{" + s.cfg.Prefix + ":lease:" + string(h) + "}"
	return []string{key, key + ":taken"}
}

// roomOf is the room that a key found by a scan belongs to.
func (s *Store) roomOf(key string) (wire.RoomID, bool) {
	name, ok := strings.CutPrefix(key, "{"+s.cfg.Prefix+":")
	if !ok {
		return "", false
	}
	if name, ok = strings.CutSuffix(name, "}"); !ok {
		return "", false
	}
	room, err := wire.ParseRoom(name)
	return room, err == nil
}

func format(n uint64) string              { return strconv.FormatUint(n, 10) }
func formatNonce(n snapshot.Nonce) string { return format(uint64(n)) }
func formatEpoch(e wire.Epoch) string     { return format(uint64(e)) }

func parse(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("number %q in the store: %w", s, err)
	}
	return n, nil
}

// checkPrefix keeps glob and hash-tag characters out of keys.
func checkPrefix(p string) error {
	if len(p) == 0 || len(p) > 64 {
		return fmt.Errorf("prefix of %d bytes: want 1 to 64", len(p))
	}
	for i := range len(p) {
		c := p[i]
		if c < '-' || c > 'z' || strings.IndexByte("/:;<=>?@[\\]^`", c) >= 0 {
			return fmt.Errorf("prefix %q: want letters, digits, '-', '_' and '.'", p)
		}
	}
	return nil
}
