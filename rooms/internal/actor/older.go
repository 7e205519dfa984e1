package actor

import (
	"fmt"

	"github.com/limpet-games/limpet/rooms"
)

// encodeOlder is the state in the form of an older version of its kind.
func (r *Room) encodeOlder(version uint32) (b []byte, err error) {
	d, can := r.handler.(rooms.Downgrader)
	if !can || r.state == nil {
		return nil, fmt.Errorf("handler of kind %s does not give its state in version %d", r.cfg.Kind.Name, version)
	}
	defer catch(&err)
	old, err := d.Downgrade(version)
	if err != nil {
		return nil, fmt.Errorf("give state in version %d: %w", version, err)
	}
	return encMode.Marshal(old)
}

// Downgrades says whether the handlers of a kind give their state in the version
// before the kind's.
func Downgrades(k rooms.Kind) (can bool) {
	defer func() { can = recover() == nil && can }() // a New that panics is found out elsewhere
	if k.StateVersion == 0 {
		return false
	}
	_, can = k.New().(rooms.Downgrader)
	return can
}

// CheckOlder says why the room's state would not survive being written in the
// version before its kind's and read by this build again, or nil; also nil where
// the kind does not do that.
func (r *Room) CheckOlder() error {
	k := r.cfg.Kind
	if _, can := r.handler.(rooms.Downgrader); !can || k.StateVersion == 0 || r.state == nil {
		return nil
	}
	b, err := r.encodeOlder(k.StateVersion - 1)
	if err != nil {
		return err
	}
	var again Room
	if err := again.game.make(k); err != nil {
		return err
	}
	again.cfg.Kind, again.cfg.StateVersion = k, k.StateVersion-1
	if err := again.upgradeState(b); err != nil {
		return fmt.Errorf("read state that was given in version %d: %w", k.StateVersion-1, err)
	}
	return nil
}
