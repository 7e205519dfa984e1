package actor

import (
	"strings"
	"testing"
	"time"

	"github.com/limpet-games/limpet/rooms"
)

type plain struct{}

func (plain) Join(rooms.Room, rooms.Member, []byte) error  { return nil }
func (plain) Input(rooms.Room, rooms.Member, []byte)       {}
func (plain) Leave(rooms.Room, rooms.Member, rooms.Reason) {}

type ticksWithoutTime struct{ plain }

func (*ticksWithoutTime) Tick(rooms.Room) {}

type neverBack struct{ plain }

func (*neverBack) Dropped(rooms.Room, rooms.Member) {}

type ticksOnPointer struct{ plain }

func (*ticksOnPointer) Tick(rooms.Room, time.Duration) {}

func TestTickRateWantsTick(t *testing.T) {
	kind := rooms.Kind{Name: "k", TickRate: 20, New: func() rooms.Handler { return plain{} }}
	if err := Check(kind); err == nil || !strings.Contains(err.Error(), "kind k: TickRate is 20, but handler actor.plain has no method Tick") {
		t.Errorf("without Tick: %v", err)
	}
	kind.New = func() rooms.Handler { return &ticksOnPointer{} }
	if err := Check(kind); err != nil {
		t.Errorf("with Tick: %v", err)
	}
	kind.New = func() rooms.Handler { panic("needs what a room has") }
	if err := Check(kind); err != nil {
		t.Errorf("New panics: %v", err)
	}
}

func TestMethodsThatWouldNeverBeCalledAreRefused(t *testing.T) {
	for _, tt := range []struct {
		handler rooms.Handler
		want    string
	}{
		{&ticksWithoutTime{}, "has a method Tick, but is no rooms.Ticker, which wants Tick(rooms.Room, time.Duration)"},
		{&neverBack{}, "is no rooms.Dropper, which wants Dropped(rooms.Room, rooms.Member) and Back(rooms.Room, rooms.Member)"},
		{ticksOnPointer{}, "handler actor.ticksOnPointer has a method Tick, but is no rooms.Ticker"}, // only *ticksOnPointer is
		{&ticksOnPointer{}, ""},
		{plain{}, ""},
	} {
		kind := rooms.Kind{Name: "k", New: func() rooms.Handler { return tt.handler }}
		err := new(game).make(kind)
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%T: %v", tt.handler, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%T: error %v, want %q", tt.handler, err, tt.want)
		}
	}
}
