package directory

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/limpet-games/limpet/wire"
)

// A node's metadata travels in every alive message of its gossip, which allows
// 512 bytes. The layout:
//
//	u8 version | u8 role | u8 flags (1: draining) | u16 rooms | u32 members |
//	u8 cpu % | u64 started ms | str8 link | str8 ops | str8 build |
//	u8 kinds | that many str8 |
//	u8 memory % | u8 1: full | u8 placements | each: u8 which kind, str8 how |
//	u8 labels | each: str8 key, str8 value
//
// What follows the kinds may be missing. Bytes after the last field are
// ignored, so that a later build can add some.
const (
	metaVersion = 1
	maxMeta     = 480
	maxAddr     = 128
	maxBuild    = 48
	maxKinds    = 64

	flagDraining = 1
)

func appendMeta(b []byte, n *Node) []byte {
	var flags byte
	if n.Draining {
		flags |= flagDraining
	}
	b = append(b, metaVersion, byte(n.Role), flags)
	b = binary.BigEndian.AppendUint16(b, n.Load.Rooms)
	b = binary.BigEndian.AppendUint32(b, n.Load.Members)
	b = append(b, n.Load.CPU)
	b = binary.BigEndian.AppendUint64(b, n.started)
	b = wire.AppendStr8(b, n.Link)
	b = wire.AppendStr8(b, n.Ops)
	b = wire.AppendStr8(b, n.Build)
	b = append(b, byte(len(n.Kinds)))
	for _, k := range n.Kinds {
		b = wire.AppendStr8(b, k)
	}
	return appendPlacing(b, n)
}

var errMetaVersion = errors.New("metadata version")

// checkMeta says what of a node does not fit its metadata.
func checkMeta(n *Node) error {
	switch {
	case len(n.Link) > maxAddr:
		return fmt.Errorf("link address of %d bytes: want at most %d", len(n.Link), maxAddr)
	case len(n.Ops) > maxAddr:
		return fmt.Errorf("operations address of %d bytes: want at most %d", len(n.Ops), maxAddr)
	case len(n.Build) > maxBuild:
		return fmt.Errorf("build %q: want at most %d bytes", n.Build, maxBuild)
	case len(n.Kinds) > maxKinds:
		return fmt.Errorf("%d kinds: a host serves at most %d", len(n.Kinds), maxKinds)
	}
	if err := CheckLabels(n.Labels); err != nil {
		return err
	}
	if size := len(appendMeta(nil, n)); size > maxMeta {
		return fmt.Errorf("%d kinds, labels and the addresses take %d bytes of gossip metadata: "+
			"want at most %d; use shorter names or serve fewer kinds", len(n.Kinds), size, maxMeta)
	}
	return nil
}

// decodeMeta fills in a node's metadata.
func decodeMeta(p []byte, n *Node) error {
	if len(p) > maxMeta {
		return fmt.Errorf("metadata of %d bytes: want at most %d", len(p), maxMeta)
	}
	r := wire.NewReader(p)
	if v := r.U8("version"); r.Err() == nil && v != metaVersion {
		return fmt.Errorf("%w %d: this build reads %d", errMetaVersion, v, metaVersion)
	}
	n.Role = Role(r.U8("role"))
	n.Draining = r.U8("flags")&flagDraining != 0
	n.Load = Load{Rooms: r.U16("rooms"), Members: r.U32("members"), CPU: r.U8("cpu")}
	n.started = r.U64("started")
	n.Link = r.Str8("link", maxAddr)
	n.Ops = r.Str8("ops", maxAddr)
	n.Build = r.Str8("build", maxBuild)
	if n.Role != RoleGateway && n.Role != RoleHost {
		r.Fail(fmt.Errorf("role %d is not known", n.Role))
	}
	n.Kinds = decodeKinds(&r)
	readPlacing(&r, n)
	if err := r.Err(); err != nil {
		return fmt.Errorf("node metadata: %w", err)
	}
	return nil
}

func decodeKinds(r *wire.Reader) []string {
	count := int(r.U8("kinds"))
	if count > maxKinds {
		r.Fail(fmt.Errorf("%d kinds: want at most %d", count, maxKinds))
		return nil
	}
	var kinds []string
	for range count {
		k := r.Str8("kind", wire.MaxKindLen)
		if r.Err() == nil {
			r.Fail(wire.CheckKind(k))
		}
		kinds = append(kinds, k)
	}
	slices.Sort(kinds)
	return slices.Compact(kinds)
}
