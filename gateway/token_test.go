package gateway

import (
	"bytes"
	"testing"
	"time"

	"github.com/limpet-games/limpet/wire"
)

func sampleToken() token {
	return token{room: room, incarnation: 7, epoch: 10, member: 1234, generation: 3, user: "ann",
		expires: 2_000_000_000, data: hashData([]byte("hi"))}
}

var tokenTime = time.Unix(1_999_999_999, 0)

func mustTokens(t testing.TB, cluster string, keys ...string) *tokens {
	t.Helper()
	var ks [][]byte
	for _, k := range keys {
		ks = append(ks, []byte(k))
	}
	ts, err := newTokens(cluster, ks)
	if err != nil {
		t.Fatal(err)
	}
	return ts
}

const keyA, keyB = "first key, of enough bytes", "second key, of enough bytes"

func TestTokens(t *testing.T) {
	now, next := mustTokens(t, "c", keyA), mustTokens(t, "c", keyB, keyA)
	p := now.issue(sampleToken())
	for name, ts := range map[string]*tokens{"own": now, "after a change of keys": next} {
		if got, err := ts.verify(p, tokenTime); err != nil || got != sampleToken() {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for name, tc := range map[string]struct {
		ts   *tokens
		at   time.Time
		want wire.Code
	}{
		"other cluster": {mustTokens(t, "d", keyA), tokenTime, wire.CodeBadToken},
		"other key":     {mustTokens(t, "c", keyB), tokenTime, wire.CodeBadToken},
		"drawn key":     {mustTokens(t, "c"), tokenTime, wire.CodeBadToken},
		"too old":       {now, tokenTime.Add(time.Second), wire.CodeTokenExpired},
	} {
		if _, err := tc.ts.verify(p, tc.at); wire.CodeOf(err) == nil || wire.CodeOf(err).Code != tc.want {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	longest := sampleToken()
	longest.room = wire.Room(string(bytes.Repeat([]byte("k"), wire.MaxKindLen)), string(bytes.Repeat([]byte("n"), wire.MaxRoomNameLen)))
	longest.user = string(bytes.Repeat([]byte("u"), wire.MaxUserLen))
	if got, err := now.verify(now.issue(longest), tokenTime); err != nil || got != longest {
		t.Errorf("longest: %v", err)
	}
}

// Every bit of a token counts: no change of any byte, no cut and no addition
// passes.
func TestTokenTampering(t *testing.T) {
	ts := mustTokens(t, "c", keyA)
	p := ts.issue(sampleToken())
	refused := func(what string, at int, q []byte) {
		if _, err := ts.verify(q, tokenTime); wire.CodeOf(err) == nil || wire.CodeOf(err).Code != wire.CodeBadToken {
			t.Fatalf("%s at byte %d: %v", what, at, err)
		}
	}
	for i := range p {
		for bit := range 8 {
			q := bytes.Clone(p)
			q[i] ^= 1 << bit
			refused("flip", i, q)
		}
		refused("cut", i, p[:i])
		refused("added", i, append(bytes.Clone(p[:i]), append([]byte{'A'}, p[i:]...)...))
	}
	raw, _ := tokenCoding.AppendDecode(nil, p)
	for i := range raw {
		for _, v := range []byte{0, 0xff, raw[i] + 1} {
			if q := bytes.Clone(raw); v != raw[i] {
				q[i] = v
				refused("decoded flip", i, tokenCoding.AppendEncode(nil, q))
			}
		}
	}
}

func FuzzToken(f *testing.F) {
	ts := mustTokens(f, "c", keyA)
	f.Add(ts.issue(sampleToken()))
	f.Add([]byte("AAAA"))
	f.Fuzz(func(t *testing.T, p []byte) {
		v, err := ts.verify(p, tokenTime)
		if err == nil && !bytes.Equal(ts.issue(v), p) {
			t.Fatalf("%q passes, and is not what was issued for it", p)
		}
		if raw, err := tokenCoding.AppendDecode(nil, p); err == nil {
			readToken(raw)
		}
	})
}

// TestTokenKeysChangeWithoutLoggingOut takes gateways from one key to another,
// one after the other: tokens of either are good at both until the old key goes.
func TestTokenKeysChangeWithoutLoggingOut(t *testing.T) {
	first, second := []byte(keyA), []byte(keyB)
	a, b := mustTokens(t, "test", keyA), mustTokens(t, "test", keyA)
	held := a.issue(sampleToken())
	now := time.Unix(sampleToken().expires-1, 0)
	for i, step := range []struct {
		of   *tokens
		keys [][]byte
	}{
		{a, [][]byte{first, second}}, {b, [][]byte{first, second}}, {a, [][]byte{second, first}}, {b, [][]byte{second, first}},
	} {
		if err := step.of.use(step.keys); err != nil {
			t.Fatal(err)
		}
		for _, at := range []*tokens{a, b} {
			for _, from := range [][]byte{held, a.issue(sampleToken()), b.issue(sampleToken())} {
				if _, err := at.verify(from, now); err != nil {
					t.Errorf("step %d: %v", i+1, err)
				}
			}
		}
	}
	held = b.issue(sampleToken())
	for _, at := range []*tokens{a, b} {
		if err := at.use([][]byte{second}); err != nil {
			t.Fatal(err)
		}
		if _, err := at.verify(held, now); err != nil {
			t.Errorf("a token of the new key: %v", err)
		}
	}
	if _, err := a.verify(mustTokens(t, "test", keyA).issue(sampleToken()), now); err == nil {
		t.Error("the old key still signs")
	}
	if a.use(nil) == nil || a.use([][]byte{[]byte("short")}) == nil {
		t.Error("no key, or a short one, is taken")
	}
}
