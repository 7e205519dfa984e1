package directory

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/limpet-games/limpet/wire"
)

// MakeNodeID joins a node's name and its boot.
func MakeNodeID(name string, boot uint64) NodeID {
	return NodeID(fmt.Sprintf("%s#%016x", name, boot))
}

const maxNodeID = wire.MaxRoomNameLen + 1 + 16

// ParseNodeID checks s and returns it as a node's id.
func ParseNodeID(s string) (NodeID, error) {
	name, boot, ok := strings.Cut(s, "#")
	if !ok || len(boot) != 16 {
		return "", fmt.Errorf("node %q: want NAME#BOOT with 16 hex digits", s)
	}
	if _, err := strconv.ParseUint(boot, 16, 64); err != nil || strings.ToLower(boot) != boot {
		return "", fmt.Errorf("node %q: boot is not lower-case hex", s)
	}
	if err := checkNodeName(name); err != nil {
		return "", err
	}
	return NodeID(s), nil
}

func checkNodeName(name string) error {
	if err := wire.CheckName(name); err != nil {
		return fmt.Errorf("node name: %w", err)
	}
	return nil
}

// Name is the part that a restart keeps.
func (id NodeID) Name() string { name, _, _ := strings.Cut(string(id), "#"); return name }

// String is the role's name in logs and metrics.
func (r Role) String() string {
	switch r {
	case RoleGateway:
		return "gateway"
	case RoleHost:
		return "host"
	}
	return "unknown"
}

// Load is how busy a node said it was in its last report. Reports are seconds
// old; Rooms stops counting at 65535.
type Load struct {
	Rooms   uint16
	Members uint32
	CPU     uint8 // percent of what the process may use
	Memory  uint8 // percent of what the process may use
	Full    bool  // takes no more rooms
}

// Node is one live process as gossip describes it. Nodes are shared between
// goroutines and never changed.
type Node struct {
	ID       NodeID
	Role     Role
	Draining bool // takes no new rooms
	Load     Load
	Gossip   string   // its gossip address, host:port
	Link     string   // its link address
	Ops      string   // its operations address
	Build    string   // its program's version
	Kinds    []string // kinds that it serves, sorted; hosts only

	Placements map[string]string // how rooms of its kinds are placed, where not by load
	Labels     map[string]string // hosts only

	Reports uint64 // metadata updates seen by this process; dates the load

	started uint64    // ms since 1970; orders the boots of one name
	since   time.Time // when it joined this process's view
}

// Serves reports whether the node is a host that serves a kind.
func (n *Node) Serves(kind string) bool {
	if n.Role != RoleHost {
		return false
	}
	_, ok := slices.BinarySearch(n.Kinds, kind)
	return ok
}
