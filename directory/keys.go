package directory

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

// SetKeys replaces the keys of gossip while it runs: the first encrypts, all
// decrypt. A rotation takes three steps, each on every node before the next:
// both keys, the new one first, the new one alone.
func (m *Members) SetKeys(keys [][]byte) error {
	if m.keys == nil || len(keys) == 0 {
		return errors.New("gossip without keys stays without: restart all nodes with them")
	}
	for i, k := range keys {
		if err := m.keys.AddKey(k); err != nil {
			return fmt.Errorf("gossip key %d: %w", i+1, err)
		}
	}
	if err := m.keys.UseKey(keys[0]); err != nil {
		return fmt.Errorf("use gossip key: %w", err)
	}
	for _, old := range m.keys.GetKeys() {
		if !slices.ContainsFunc(keys, func(k []byte) bool { return bytes.Equal(k, old) }) {
			if err := m.keys.RemoveKey(old); err != nil {
				return fmt.Errorf("remove gossip key: %w", err)
			}
		}
	}
	return nil
}
