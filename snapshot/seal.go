package snapshot

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/limpet-games/limpet/wire"
)

// What a store keeps under a key is
//
//	4B magic "LMPS" | u8 version | u8 flags | u32 key | u64 incarnation |
//	u64 epoch | u64 number | 12B nonce | body | 16B tag
//
// with AES-256-GCM (NIST SP 800-38D) under a key of the room's own, derived by
// HKDF (RFC 5869). The tag is over the fields before the nonce, over what it is
// (checkpoint or journal entry), and over the body, which is encrypted where
// flagEncrypted is set. Number is the save's or the entry's.
const (
	sealVersion   = 1
	flagEncrypted = 1 << 0
	sealHeader    = 4 + 1 + 1 + 4 + 8 + 8 + 8
	sealNonce     = 12
	sealTag       = 16
	sealOverhead  = sealHeader + sealNonce + sealTag
)

var sealMagic = [4]byte{'L', 'M', 'P', 'S'}

// ErrNoKey: what the store holds was sealed, and no key at hand opens it. It
// may be good: nothing is done to it.
var ErrNoKey = errors.New("sealed with a key that is not at hand")

// ErrUnsealed: what the store holds carries no seal, and only sealed rooms are
// taken. Nothing is done to it.
var ErrUnsealed = errors.New("not sealed, although this cluster has checkpoint keys")

func isSealed(b []byte) bool { return len(b) >= len(sealMagic) && [4]byte(b[:4]) == sealMagic }

// Keyring seals what a store keeps, and opens it. Safe for concurrent use.
type Keyring struct {
	keys []sealKey // the first one seals
	SealOptions
}

// SealOptions say how a keyring seals.
type SealOptions struct {
	// Encrypt hides what is kept. Without it that is only protected against
	// changes.
	Encrypt bool
	// AcceptUnsealed takes what was never sealed for good, as a store needs
	// whose rooms were saved before it had keys: whoever writes to the store can
	// forge rooms as long as it is set.
	AcceptUnsealed bool
}

type sealKey struct {
	id     uint32
	secret []byte
}

// KeySize is the size of a key, in bytes.
const KeySize = 32

// ParseKeyring reads keys, a line of 64 hex digits each; empty lines and those
// that start with '#' are passed over. The first key seals, all open.
func ParseKeyring(text string, o SealOptions) (*Keyring, error) {
	k := &Keyring{SealOptions: o}
	n := 0
	for line := range strings.Lines(text) {
		n++
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		secret, err := hex.DecodeString(line)
		if err != nil || len(secret) != KeySize {
			return nil, fmt.Errorf("line %d: want a key of %d hex digits", n, 2*KeySize)
		}
		sum := sha256.Sum256(secret)
		k.keys = append(k.keys, sealKey{binary.BigEndian.Uint32(sum[:]), secret})
	}
	if len(k.keys) == 0 {
		return nil, fmt.Errorf("no key: want a line of %d hex digits", 2*KeySize)
	}
	return k, nil
}

// sealed says what a sealed value is.
type sealed struct {
	room        wire.RoomID
	entry       bool // of a journal; else a checkpoint
	incarnation wire.Incarnation
	epoch       wire.Epoch
	number      uint64
}

func (s sealed) what() string {
	if s.entry {
		return "journal entry"
	}
	return "checkpoint"
}

// aead is the cipher for one room under one key.
func (k sealKey) aead(room wire.RoomID) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, k.secret, nil, "limpet store v1 "+string(room), KeySize)
	if err != nil {
		return nil, fmt.Errorf("derive key of room: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("use key of room: %w", err)
	}
	return cipher.NewGCM(block)
}

// seal wraps a value; it keeps none of data.
func (k *Keyring) seal(s sealed, data []byte) ([]byte, error) {
	key := k.keys[0]
	aead, err := key.aead(s.room)
	if err != nil {
		return nil, err
	}
	flags := uint8(0)
	if k.Encrypt {
		flags = flagEncrypted
	}
	b := make([]byte, 0, len(data)+sealOverhead)
	b = append(b, sealMagic[:]...)
	b = append(b, sealVersion, flags)
	b = binary.BigEndian.AppendUint32(b, key.id)
	b = binary.BigEndian.AppendUint64(b, uint64(s.incarnation))
	b = binary.BigEndian.AppendUint64(b, uint64(s.epoch))
	b = binary.BigEndian.AppendUint64(b, s.number)
	bound := bind(b, s)
	b = b[:sealHeader+sealNonce]
	nonce := b[sealHeader:]
	rand.Read(nonce)
	if k.Encrypt {
		return aead.Seal(b, nonce, data, bound), nil
	}
	b = append(b, data...)
	return aead.Seal(b, nonce, nil, append(bound, data...)), nil
}

// bind is what a tag covers beside the body.
func bind(header []byte, s sealed) []byte {
	bound := append([]byte(s.what()), 0)
	bound = append(append(bound, s.room...), 0)
	return append(bound, header...)
}

// open unwraps a value of the room, incarnation and, for an entry, number that s
// says, at no later an epoch. Errors, wrapped: ErrNoKey, ErrUnsealed,
// ErrNewerFormat, ErrDamaged.
func (k *Keyring) open(s sealed, b []byte) ([]byte, error) {
	if !isSealed(b) {
		if k.AcceptUnsealed {
			return b, nil
		}
		return nil, fmt.Errorf("%w: %s", ErrUnsealed, s.what())
	}
	if len(b) < sealOverhead {
		return nil, fmt.Errorf("%w: sealed %s of %d bytes", ErrDamaged, s.what(), len(b))
	}
	if v := b[4]; v != sealVersion {
		return nil, fmt.Errorf("%w: seal of version %d, this build reads %d", ErrNewerFormat, v, sealVersion)
	}
	header, nonce, body := b[:sealHeader], b[sealHeader:sealHeader+sealNonce], b[sealHeader+sealNonce:]
	key, err := k.key(binary.BigEndian.Uint32(header[6:]))
	if err != nil {
		return nil, err
	}
	aead, err := key.aead(s.room)
	if err != nil {
		return nil, err
	}
	data, err := unseal(aead, header, nonce, body, s)
	if err != nil {
		return nil, fmt.Errorf("%w: its seal does not hold for a %s of this room", ErrDamaged, s.what())
	}
	return data, s.matches(header)
}

func unseal(aead cipher.AEAD, header, nonce, body []byte, s sealed) ([]byte, error) {
	bound := bind(header, s)
	if header[5] == flagEncrypted {
		return aead.Open(nil, nonce, body, bound)
	}
	data, tag := body[:len(body)-sealTag], body[len(body)-sealTag:]
	if _, err := aead.Open(nil, nonce, tag, append(bound, data...)); err != nil {
		return nil, err
	}
	return data, nil
}

// matches holds an authentic header against where it was found.
func (s sealed) matches(header []byte) error {
	inc := wire.Incarnation(binary.BigEndian.Uint64(header[10:]))
	epoch := wire.Epoch(binary.BigEndian.Uint64(header[18:]))
	number := binary.BigEndian.Uint64(header[26:])
	switch {
	case inc != s.incarnation:
		return fmt.Errorf("%w: a %s of incarnation %d in the place of one of %d", ErrDamaged, s.what(), inc, s.incarnation)
	case epoch > s.epoch:
		return fmt.Errorf("%w: a %s of epoch %d in a room at epoch %d", ErrDamaged, s.what(), epoch, s.epoch)
	case s.entry && number != s.number:
		return fmt.Errorf("%w: journal entry %d in the place of %d", ErrDamaged, number, s.number)
	}
	return nil
}

func (k *Keyring) key(id uint32) (sealKey, error) {
	for _, key := range k.keys {
		if key.id == id {
			return key, nil
		}
	}
	return sealKey{}, fmt.Errorf("%w: key %08x", ErrNoKey, id)
}
