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

// upgradeState fills the handler's state from one of its kind's version, or has
// the handler do so from an older one.
func (r *Room) upgradeState(b []byte) (err error) {
	from, have := r.cfg.StateVersion, r.cfg.Kind.StateVersion
	if from > have {
		return fmt.Errorf("state version %d is newer than this build's %d", from, have)
	}
	u, ok := r.handler.(rooms.Upgrader)
	if from == have || !ok || r.state == nil || len(b) == 0 {
		return misread(r.restoreState(b), from, have)
	}
	defer catch(&err)
	if err := u.Upgrade(from, func(into any) error { return decMode.Unmarshal(b, into) }); err != nil {
		return fmt.Errorf("upgrade state of version %d to %d: %w", from, have, err)
	}
	return nil
}

// misread says what to do about a state that does not decode.
func misread(err error, from, have uint32) error {
	switch {
	case err == nil:
		return nil
	case from < have:
		return fmt.Errorf("decode state of version %d, which this build, of version %d, has no Upgrade for: %w", from, have, err)
	default:
		return fmt.Errorf("decode state of version %d, which is this build's too; where its form changed, raise StateVersion and write Upgrade: %w", have, err)
	}
}
