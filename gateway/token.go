package gateway

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/limpet-games/limpet/wire"
)

// A resume token is the base64url form of
//
//	u8 version | u32 key | str8 room | u64 incarnation | u64 epoch | u64 member | u32 generation
//	| str8 user | u64 expires, in seconds since 1970 | 16B hash of the join data | 32B signature
//
// The signature is HMAC-SHA256 over the cluster's name and all that stands
// before it. The key's number is drawn from the key itself.
const (
	tokenVersion = 1
	dataHashSize = 16
	tokenContext = "limpet resume token\x00"
)

// token is what a resume token says.
type token struct {
	room        wire.RoomID
	incarnation wire.Incarnation
	epoch       wire.Epoch // at which it was issued: no client has seen a later one
	member      wire.MemberID
	generation  wire.Generation
	user        string
	expires     int64
	data        [dataHashSize]byte
}

var tokenCoding = base64.RawURLEncoding.Strict()

// tokens signs and verifies, also while its keys change.
type tokens struct {
	prefix []byte                     // what every signature begins with: its context, and the cluster
	keys   atomic.Pointer[[]tokenKey] // the first signs
}

type tokenKey struct {
	id   uint32
	macs *sync.Pool // of hash.Hash with the secret
}

const minKey = 16

func newTokens(cluster string, keys [][]byte) (*tokens, error) {
	t := &tokens{prefix: wire.AppendStr8([]byte(tokenContext), cluster)}
	if len(keys) == 0 {
		k := make([]byte, 32)
		rand.Read(k)
		keys = [][]byte{k}
	}
	return t, t.use(keys)
}

// use takes other keys; the first signs, all verify.
func (t *tokens) use(keys [][]byte) error {
	var all []tokenKey
	for i, k := range keys {
		if len(k) < minKey {
			return fmt.Errorf("token key %d has %d bytes: want at least %d", i+1, len(k), minKey)
		}
		sum := sha256.Sum256(append([]byte("limpet token key\x00"), k...))
		macs := &sync.Pool{New: func() any { return hmac.New(sha256.New, k) }}
		all = append(all, tokenKey{id: binary.BigEndian.Uint32(sum[:]), macs: macs})
	}
	if len(all) == 0 {
		return errors.New("no key for tokens")
	}
	t.keys.Store(&all)
	return nil
}

// SetTokenKeys replaces the keys of resume tokens while the gateway runs: the
// first signs, all verify.
func (g *Gateway) SetTokenKeys(keys [][]byte) error { return g.tokens.use(keys) }

func hashData(data []byte) (h [dataHashSize]byte) {
	sum := sha256.Sum256(data)
	copy(h[:], sum[:])
	return h
}

// appendSignature appends the signature of body to b, which may be body.
func (t *tokens) appendSignature(b []byte, k tokenKey, body []byte) []byte {
	m := k.macs.Get().(hash.Hash)
	defer k.macs.Put(m)
	m.Reset()
	m.Write(t.prefix)
	m.Write(body)
	return m.Sum(b)
}

// issue makes a token.
func (t *tokens) issue(v token) []byte {
	be := binary.BigEndian
	b := make([]byte, 0, 256)
	key := (*t.keys.Load())[0]
	b = be.AppendUint32(append(b, tokenVersion), key.id)
	b = wire.AppendStr8(b, string(v.room))
	b = be.AppendUint64(b, uint64(v.incarnation))
	b = be.AppendUint64(b, uint64(v.epoch))
	b = be.AppendUint64(b, uint64(v.member))
	b = be.AppendUint32(b, uint32(v.generation))
	b = wire.AppendStr8(b, v.user)
	b = be.AppendUint64(b, uint64(v.expires))
	b = append(b, v.data[:]...)
	b = t.appendSignature(b, key, b)
	return tokenCoding.AppendEncode(make([]byte, 0, tokenCoding.EncodedLen(len(b))), b)
}

var errBadToken = wire.Refuse(wire.CodeBadToken, "the resume token is not one of this cluster's")

// verify takes a token apart. Errors are *wire.Error; which check failed is
// not told.
func (t *tokens) verify(p []byte, now time.Time) (token, error) {
	if len(p) > wire.MaxToken {
		return token{}, errBadToken
	}
	raw, err := tokenCoding.AppendDecode(nil, p)
	if err != nil || len(raw) < sha256.Size {
		return token{}, errBadToken
	}
	body, sum := raw[:len(raw)-sha256.Size], raw[len(raw)-sha256.Size:]
	v, key, err := readToken(body)
	if err != nil || !t.signed(key, body, sum) {
		return token{}, errBadToken
	}
	if now.Unix() >= v.expires {
		return token{}, wire.Refuse(wire.CodeTokenExpired, "the resume token is too old: join again")
	}
	return v, nil
}

// signed checks a signature in constant time.
func (t *tokens) signed(id uint32, body, sum []byte) bool {
	for _, k := range *t.keys.Load() {
		if k.id == id && hmac.Equal(t.appendSignature(nil, k, body), sum) {
			return true
		}
	}
	return false
}

var errTokenForm = errors.New("token has another form")

func readToken(body []byte) (v token, key uint32, err error) {
	r := wire.NewReader(body)
	if r.U8("version") != tokenVersion {
		return v, 0, errTokenForm
	}
	key = r.U32("key")
	v.room = wire.RoomID(r.Str8("room", wire.MaxKindLen+1+wire.MaxRoomNameLen))
	v.incarnation = wire.Incarnation(r.U64("incarnation"))
	v.epoch = wire.Epoch(r.U64("epoch"))
	v.member = wire.MemberID(r.U64("member"))
	v.generation = wire.Generation(r.U32("generation"))
	v.user = r.Str8("user", wire.MaxUserLen)
	v.expires = int64(r.U64("expires"))
	copy(v.data[:], r.Fixed("data", dataHashSize))
	if r.Err() != nil || r.Len() != 0 {
		return v, 0, errTokenForm
	}
	if _, err := wire.ParseRoom(string(v.room)); err != nil || v.member == 0 || v.member > wire.MaxMemberID {
		return v, 0, errTokenForm
	}
	return v, key, nil
}
