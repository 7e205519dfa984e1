package snapshot

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var someHeader = Header{Kind: "arena", StateVersion: 3, Incarnation: 1700000000000, Epoch: 1700000000123, Seq: 42}

func encoded(t testing.TB, h Header, state []byte) []byte {
	t.Helper()
	b, err := Encode(h, state)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// noise does not compress.
func noise(n int) []byte {
	b := make([]byte, n)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// The layout is what stores hold: it does not change under a version.
func TestFrozenLayout(t *testing.T) {
	const want = "4c4d5054" + "01" + "00" + "00000003" + "0000018bcfe56800" + "0000018bcfe5687b" +
		"000000000000002a" + "05" + "6172656e61" + "00000005" + "00000005" + "26ef9a1586c4b566" + "68656c6c6f"
	got := hex.EncodeToString(encoded(t, someHeader, []byte("hello")))
	if got != want {
		t.Errorf("layout\n got %s\nwant %s", got, want)
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := Header{
			Kind:         rapid.StringMatching(`[a-z0-9._-]{1,32}`).Draw(t, "kind"),
			StateVersion: rapid.Uint32().Draw(t, "state version"),
			Seq:          rapid.Uint64().Draw(t, "seq"),
		}
		state := bytes.Repeat(rapid.SliceOf(rapid.Byte()).Draw(t, "part"), rapid.IntRange(0, 200).Draw(t, "times"))
		b, err := Encode(h, state)
		if err != nil {
			t.Fatal(err)
		}
		got, back, err := Decode(b, h.Kind, len(state))
		if err != nil || got != h || !bytes.Equal(back, state) {
			t.Fatalf("got %+v, %d bytes, %v; want %+v, %d bytes", got, len(back), err, h, len(state))
		}
		if head, err := ReadHeader(b); err != nil || head != h {
			t.Fatalf("header: %+v, %v", head, err)
		}
	})
}

func TestCompressionWhereItPays(t *testing.T) {
	for _, tt := range []struct {
		name       string
		state      []byte
		compressed bool
	}{
		{"empty", nil, false},
		{"below the threshold", bytes.Repeat([]byte("a"), compressFrom-1), false},
		{"at the threshold", bytes.Repeat([]byte("a"), compressFrom), true},
		{"noise", noise(10_000), false},
		{"noise with a tail that pays", append(noise(8500), make([]byte, 1500)...), true},
		{"noise with a tail that does not", append(noise(9500), make([]byte, 500)...), false},
	} {
		b := encoded(t, someHeader, tt.state)
		if got := b[5]&flagCompressed != 0; got != tt.compressed {
			t.Errorf("%s: compressed %t, want %t", tt.name, got, tt.compressed)
		}
		if tt.compressed && len(b) > len(tt.state)*9/10+fixedHeader+len(someHeader.Kind) {
			t.Errorf("%s: %d bytes became %d", tt.name, len(tt.state), len(b))
		}
	}
}

func TestEveryFlippedByteIsNoticed(t *testing.T) {
	for name, state := range map[string][]byte{"plain": noise(700), "compressed": bytes.Repeat([]byte("limpet "), 300)} {
		good := encoded(t, someHeader, state)
		for i := range good {
			for _, flip := range []byte{0x01, 0x80, 0xff} {
				bad := bytes.Clone(good)
				bad[i] ^= flip
				if h, s, err := Decode(bad, someHeader.Kind, 0); err == nil {
					t.Errorf("%s: byte %d of %d ^ %#x: decoded as %+v, %d bytes", name, i, len(good), flip, h, len(s))
				}
			}
		}
		for n := range good {
			if _, _, err := Decode(good[:n], someHeader.Kind, 0); !errors.Is(err, ErrTruncated) {
				t.Errorf("%s: cut at %d: %v, want ErrTruncated", name, n, err)
			}
		}
		if _, _, err := Decode(append(bytes.Clone(good), 0), someHeader.Kind, 0); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: a byte too many: %v", name, err)
		}
	}
}

func TestDecodeErrors(t *testing.T) {
	good := encoded(t, someHeader, bytes.Repeat([]byte("limpet "), 300))
	change := func(at int, to byte) []byte {
		b := bytes.Clone(good)
		b[at] = to
		return b
	}
	for _, tt := range []struct {
		name  string
		data  []byte
		kind  string
		limit int
		want  error
		says  string
	}{
		{"something else", []byte("hello, world"), "arena", 0, ErrNotCheckpoint, "68656c6c"},
		{"nothing", nil, "arena", 0, ErrTruncated, "0 bytes"},
		{"a newer format", change(4, 2), "arena", 0, ErrNewerFormat, "version 2"},
		{"no version", change(4, 0), "arena", 0, ErrDamaged, "version 0"},
		{"a changed body", change(len(good)-1, good[len(good)-1]+1), "arena", 0, ErrDamaged, "checksum"},
		{"another kind", good, "chat", 0, ErrOtherKind, `"chat"`},
		{"above the limit", good, "arena", 2099, ErrStateTooBig, "2100 bytes"},
	} {
		_, _, err := Decode(tt.data, tt.kind, tt.limit)
		if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %v with %q", tt.name, err, tt.want, tt.says)
		}
	}
	if _, _, err := Decode(good, "arena", 2100); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	if _, err := Encode(Header{Kind: "no kind"}, nil); err == nil {
		t.Error("encoded a bad kind")
	}
	if _, err := Encode(someHeader, make([]byte, MaxState+1)); !errors.Is(err, ErrStateTooBig) {
		t.Errorf("encoded a state above the bound: %v", err)
	}
}

// reseal gives a changed envelope its checksum, as somebody who writes to the
// store can.
func reseal(b []byte) []byte {
	kind := int(b[34])
	at := 35 + kind + 8
	body := b[at+8:]
	binary.BigEndian.PutUint64(b[at:], checksum(b[:at], body))
	return b
}

func TestDecompressionIsBounded(t *testing.T) {
	bomb := encoded(t, someHeader, make([]byte, 32<<20))
	size := 35 + len(someHeader.Kind)
	if len(bomb) > 64<<10 {
		t.Fatalf("the bomb has %d bytes", len(bomb))
	}
	if _, _, err := Decode(reseal(bytes.Clone(bomb)), someHeader.Kind, 0); err != nil {
		t.Fatalf("resealed as it was: %v", err)
	}
	for _, claimed := range []uint32{0, 100, 32<<20 - 1, 32<<20 + 1} {
		b := bytes.Clone(bomb)
		binary.BigEndian.PutUint32(b[size:], claimed)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err := Decode(reseal(b), someHeader.Kind, 1<<20)
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("a size of %d was believed", claimed)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 4<<20 {
			t.Errorf("a size of %d: %d bytes allocated under a limit of 1 MiB", claimed, grown)
		}
	}
	huge := bytes.Clone(bomb)
	binary.BigEndian.PutUint32(huge[size:], 1<<32-1)
	if _, _, err := Decode(reseal(huge), someHeader.Kind, 0); !errors.Is(err, ErrDamaged) {
		t.Errorf("a size above all bounds: %v", err)
	}
	unknown := bytes.Clone(bomb)
	unknown[5] |= 0x40
	if _, _, err := Decode(reseal(unknown), someHeader.Kind, 0); !errors.Is(err, ErrDamaged) {
		t.Errorf("an unknown flag: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, state := range [][]byte{nil, []byte("x"), noise(600), bytes.Repeat([]byte("ab"), 2000)} {
		f.Add(encoded(f, someHeader, state))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 1 << 16
		h, state, err := Decode(data, "arena", limit)
		if err == nil {
			if len(state) > limit || h.Kind != "arena" {
				t.Errorf("%+v, %d bytes", h, len(state))
			}
			again, back, err := Decode(encoded(t, h, state), "arena", limit)
			if err != nil || again != h || !bytes.Equal(back, state) {
				t.Errorf("again: %+v, %d bytes, %v", again, len(back), err)
			}
		}
		// The same bytes with their checksum right get past it.
		if len(data) > 35 && len(data) >= 35+int(data[34])+16 {
			if _, state, err := Decode(reseal(bytes.Clone(data)), "arena", limit); err == nil && len(state) > limit {
				t.Errorf("%d bytes under a limit of %d", len(state), limit)
			}
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	state := bytes.Repeat([]byte(`{"id":123,"x":4.5,"y":-7.25,"score":17},`), 400)
	b.SetBytes(int64(len(state)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Encode(someHeader, state); err != nil {
			b.Fatal(err)
		}
	}
}
