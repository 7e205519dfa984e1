package roomtest_test

import (
	"encoding/json"
	"testing"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/rooms/roomtest"
)

// club lets in whose token says that it has paid.
type club struct{}

func (club) Join(_ rooms.Room, m rooms.Member, _ []byte) error {
	var c struct{ Paid bool }
	if json.Unmarshal(m.Claims(), &c); !c.Paid {
		return rooms.Refuse("members only")
	}
	return nil
}
func (club) Leave(rooms.Room, rooms.Member, rooms.Reason) {}
func (club) Input(rooms.Room, rooms.Member, []byte)       {}

func TestClaimsReachTheJoin(t *testing.T) {
	rt := roomtest.New(t, rooms.Kind{Name: "club", New: func() rooms.Handler { return club{} }})
	if _, err := rt.TryJoinWith("ann", nil, map[string]bool{"paid": true}); err != nil {
		t.Error(err)
	}
	if _, err := rt.TryJoinWith("bob", nil, map[string]bool{"paid": false}); err == nil || err.Error() != "refused: members only" {
		t.Errorf("bob: %v", err)
	}
	if _, err := rt.TryJoin("eve", nil); err == nil {
		t.Error("eve has no claims and is in")
	}
}
