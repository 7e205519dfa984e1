package snapshot

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func keyring(t testing.TB, o SealOptions, keys ...string) *Keyring {
	t.Helper()
	k, err := ParseKeyring(strings.Join(keys, "\n"), o)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var (
	keyA = strings.Repeat("a1", KeySize)
	keyB = strings.Repeat("b2", KeySize)
)

var ofRoom = sealed{room: "arena/one", incarnation: 7, epoch: 9, number: 3}

func sealBoth(t *testing.T, f func(t *testing.T, k *Keyring)) {
	for name, encrypt := range map[string]bool{"authenticated": false, "encrypted": true} {
		t.Run(name, func(t *testing.T) { f(t, keyring(t, SealOptions{Encrypt: encrypt}, keyA)) })
	}
}

func TestSealRoundTrip(t *testing.T) {
	sealBoth(t, func(t *testing.T, k *Keyring) {
		for _, data := range [][]byte{{}, []byte("x"), bytes.Repeat([]byte("state"), 10_000)} {
			b, err := k.seal(ofRoom, data)
			if err != nil {
				t.Fatal(err)
			}
			if hidden := !bytes.Contains(b, []byte("statestate")); len(data) > 10 && hidden != k.Encrypt {
				t.Errorf("hidden: %t, want %t", hidden, k.Encrypt)
			}
			later := ofRoom
			later.epoch, later.number = 12, 0
			got, err := k.open(later, b)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("opened %d bytes, %v; want %d", len(got), err, len(data))
			}
		}
	})
}

// Every changed byte, every cut and every exchange is noticed.
func TestSealHolds(t *testing.T) {
	sealBoth(t, func(t *testing.T, k *Keyring) {
		b, err := k.seal(ofRoom, []byte("the whole state"))
		if err != nil {
			t.Fatal(err)
		}
		for i := range b {
			for bit := range 8 {
				c := bytes.Clone(b)
				c[i] ^= 1 << bit
				if got, err := k.open(ofRoom, c); err == nil {
					t.Fatalf("byte %d, bit %d: opened %q", i, bit, got)
				}
			}
			if got, err := k.open(ofRoom, b[:i]); err == nil {
				t.Fatalf("cut to %d bytes: opened %q", i, got)
			}
		}
		for name, change := range map[string]func(*sealed){
			"another room":        func(s *sealed) { s.room = "arena/two" },
			"another kind":        func(s *sealed) { s.room = "chat/one" },
			"another incarnation": func(s *sealed) { s.incarnation++ },
			"a later epoch":       func(s *sealed) { s.epoch-- },
			"a journal":           func(s *sealed) { s.entry = true },
		} {
			other := ofRoom
			change(&other)
			if _, err := k.open(other, b); !errors.Is(err, ErrDamaged) {
				t.Errorf("put into %s: %v", name, err)
			}
		}
		entry := ofRoom
		entry.entry = true
		if b, err = k.seal(entry, []byte("event")); err != nil {
			t.Fatal(err)
		}
		entry.number++
		if _, err := k.open(entry, b); !errors.Is(err, ErrDamaged) {
			t.Errorf("put in another entry's place: %v", err)
		}
	})
}

func TestSealKeys(t *testing.T) {
	old := keyring(t, SealOptions{}, keyA)
	rotated := keyring(t, SealOptions{Encrypt: true}, keyB, "# the former one", keyA)
	b, err := old.seal(ofRoom, []byte("state"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := rotated.open(ofRoom, b); err != nil || string(got) != "state" {
		t.Errorf("after a rotation: %q, %v", got, err)
	}
	if b, err = rotated.seal(ofRoom, []byte("state")); err != nil {
		t.Fatal(err)
	}
	if _, err := old.open(ofRoom, b); !errors.Is(err, ErrNoKey) || damage(0, err) != err {
		t.Errorf("without the key: %v, want ErrNoKey, which is no damage", err)
	}
	if _, err := old.open(ofRoom, []byte("LMPT and so on")); !errors.Is(err, ErrUnsealed) {
		t.Errorf("unsealed: %v", err)
	}
	lenient := keyring(t, SealOptions{AcceptUnsealed: true}, keyA)
	if got, err := lenient.open(ofRoom, []byte("plain")); err != nil || string(got) != "plain" {
		t.Errorf("unsealed, accepted: %q, %v", got, err)
	}
	if _, _, err := Decode(b, "arena", 0); !errors.Is(err, ErrNoKey) {
		t.Errorf("sealed checkpoint read by a host without keys: %v", err)
	}
	for _, text := range []string{"", "# nothing", "abc", keyA + "\n" + keyA[1:], strings.Repeat("zz", KeySize)} {
		if _, err := ParseKeyring(text, SealOptions{}); err == nil {
			t.Errorf("took keys %q", text)
		}
	}
}

func FuzzSealOpen(f *testing.F) {
	k := keyring(f, SealOptions{Encrypt: true}, keyA)
	b, err := k.seal(ofRoom, []byte("state"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:20])
	f.Fuzz(func(t *testing.T, c []byte) {
		// Another process's seal of the same may come, under another nonce.
		if got, err := k.open(ofRoom, c); err == nil && string(got) != "state" {
			t.Errorf("opened %q from %q", got, c)
		}
	})
}
