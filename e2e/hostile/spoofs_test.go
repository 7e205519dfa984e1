package hostile

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/limpet-games/limpet/e2e/ledger"
	"github.com/limpet-games/limpet/wire"
)

// join makes the attacker a member.
func (a *attacker) join(t testing.TB, room string) wire.Joined {
	t.Helper()
	a.send(wire.Join{Ref: 1, Mode: wire.ModeJoinOrCreate, Kind: "ledger", Name: room}.Append(nil))
	j, err := wire.DecodeJoined(a.answer(t, wire.TypeJoined))
	if err != nil {
		t.Fatal(err)
	}
	j.Token = slices.Clone(j.Token)
	return j
}

func guessedTokens(t *testing.T, x *target) {
	token := x.in(t).join(t, "guesses").Token
	each(8, func(int) {
		a := x.in(t)
		began := time.Now()
		for range 12 {
			raw, err := base64.RawURLEncoding.DecodeString(string(token))
			if err != nil {
				t.Error(err)
				return
			}
			raw[rand.IntN(len(raw))] ^= 1 << rand.IntN(8)
			guess := base64.RawURLEncoding.AppendEncode(nil, raw)
			a.send(wire.Resume{Ref: 1, Token: guess}.Append(nil))
		}
		a.nc.SetReadDeadline(time.Now().Add(patience))
		for {
			p, code, err := a.read()
			if wire.TypeOf(p) == wire.TypeJoined {
				t.Error("a guessed token is good")
			}
			if code != 0 || err != nil {
				if code != int(wire.CloseFlood) || time.Since(began) > cutWithin {
					t.Errorf("cut with %d after %v, %v", code, time.Since(began), err)
				}
				return
			}
		}
	})
}

// replayedToken: of two that come with one token, one holds the membership in
// the end.
func replayedToken(t *testing.T, x *target) {
	a := x.in(t)
	j := a.join(t, "replays")
	var thieves [4]*attacker
	each(len(thieves), func(i int) {
		thieves[i] = x.in(t)
		thieves[i].send(wire.Resume{Ref: 1, Token: j.Token}.Append(nil))
	})
	held := 0
	each(len(thieves), func(i int) {
		b := thieves[i]
		b.nc.SetReadDeadline(time.Now().Add(2 * time.Second))
		joined, lost := false, wire.CodeNone
		for {
			p, code, err := b.read()
			if err != nil || code != 0 {
				break
			}
			switch wire.TypeOf(p) {
			case wire.TypeJoined:
				joined = true
			case wire.TypeLeft:
				f, err := wire.DecodeLeft(p)
				lost = f.Code
				if err != nil {
					t.Error(err)
				}
			case wire.TypeError:
				f, err := wire.DecodeError(p)
				lost = f.Code
				if err != nil {
					t.Error(err)
				}
			}
		}
		switch {
		case joined && lost == wire.CodeNone:
			x.mu.Lock()
			held++
			x.mu.Unlock()
		case lost != wire.CodeReplaced:
			t.Errorf("lost the membership with %v (joined %v), want %v", lost, joined, wire.CodeReplaced)
		}
		b.nc.Close()
	})
	a.nc.Close()
	if held != 1 {
		t.Errorf("%d connections hold one membership", held)
	}
}

func enumeration(t *testing.T, x *target) {
	each(4, func(i int) {
		a := x.in(t)
		defer a.nc.Close()
		const tries = 150
		for k := range tries {
			a.send(wire.Join{Ref: uint32(k + 1), Mode: wire.ModeJoin, Kind: "ledger", Name: fmt.Sprintf("secret-%d-%d", i, k)}.Append(nil))
		}
		limited := 0
		for range tries {
			e, err := wire.DecodeError(a.answer(t, wire.TypeError))
			switch {
			case err != nil:
				t.Error(err)
				return
			case e.Code == wire.CodeRateLimited || e.Code == wire.CodeTooManyRooms:
				limited++
				if e.Code == wire.CodeRateLimited && e.RetryMS == 0 {
					t.Error("turned away without advice")
				}
			case e.Code != wire.CodeNoRoom:
				t.Errorf("answer %v", e.Code)
			}
		}
		if limited < tries/3 {
			t.Errorf("%d of %d guesses turned away", limited, tries)
		}
	})
}

// othersHandles sends inputs, skips and leaves under handles that belong to
// others; aftermath finds none of them in the players' books.
func othersHandles(t *testing.T, x *target) {
	each(4, func(int) {
		a := x.in(t)
		defer a.nc.Close()
		own := a.join(t, "spoofs").Handle
		for h := wire.Handle(0); h < 60; h++ {
			if h == own {
				continue
			}
			in, _ := json.Marshal(ledger.Input{Client: "spoof", N: 1})
			for n := wire.Input(1); n <= 3; n++ {
				a.send(wire.InputFrame{Handle: h, N: n, Payload: in}.Append(nil))
			}
			a.send(wire.Skip{Handle: h, From: 1, To: 1 << 20}.Append(nil))
			a.send(wire.Leave{Handle: h, N: 1}.Append(nil))
		}
		a.refused(t, 0, wire.CodeNotMember)
	})
}

// othersRooms shows the resume token of another's membership with another's data,
// position or room in it, and asks for rooms by names that are none.
func othersRooms(t *testing.T, x *target) {
	victim := x.in(t)
	defer victim.nc.Close()
	token := victim.join(t, "victims").Token
	each(4, func(int) {
		a := x.in(t)
		defer a.nc.Close()
		for i, c := range []struct {
			f    wire.Resume
			code wire.Code
		}{
			{wire.Resume{Token: token, Data: []byte("another's data")}, wire.CodeBadToken},
			{wire.Resume{Token: token, At: wire.Position{Epoch: 1 << 62, Seq: 1 << 62}}, wire.CodeBadRequest},
			{wire.Resume{Token: token[:len(token)-1]}, wire.CodeBadToken},
			{wire.Resume{Token: append(slices.Clone(token), 'A')}, wire.CodeBadToken},
			{wire.Resume{}, wire.CodeBadToken},
		} {
			c.f.Ref = uint32(i + 1)
			a.send(c.f.Append(nil))
			a.refused(t, c.f.Ref, c.code)
		}
		for i, name := range []string{"", "../victims", "victims\x00", "{victims}", strings.Repeat("v", 300)} {
			ref := uint32(100 + i)
			a.send(wire.Join{Ref: ref, Mode: wire.ModeJoin, Kind: "ledger", Name: name}.Append(nil))
			a.refused(t, ref, wire.CodeBadRequest)
		}
	})
}
