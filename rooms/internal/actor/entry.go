package actor

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// EntryKind tells journal entries apart.
type EntryKind uint8

// What a journal records: the events that reach the handler, as the room
// decided on them, and what time did.
const (
	EntryStart   EntryKind = 1  // u8 why | u64 age | u64 seed | u64 epoch | each: str8 key, str8 value: Start was called
	EntryEpoch   EntryKind = 2  // u64 epoch: a new owner; the connected members were dropped
	EntryJoin    EntryKind = 3  // u64 member | u32 generation | 16B instance | str8 user | bytes16 data | bytes16 claims
	EntryAttach  EntryKind = 4  // u64 member | u32 generation | u32 proved | 16B instance | u8 resync | bytes16 claims
	EntryInput   EntryKind = 5  // u64 member | u64 n | rest payload
	EntrySkip    EntryKind = 6  // u64 member | u64 to: given up, or passed over
	EntryLeave   EntryKind = 7  // u64 member | u64 n | u8 passed over
	EntryDrop    EntryKind = 8  // then for each: u64 member
	EntryReserve EntryKind = 9  // u64 to: ticks up to that one run, whatever comes
	EntryPass    EntryKind = 10 // u64 n: so many ticks are left out
	EntryClock   EntryKind = 11 // timers and ends of graces, in a room without ticks
	EntryDurable EntryKind = 12 // u64 n: the first n functions that waited to be durable ran
	EntryMoved   EntryKind = 13 // u64 epoch: a new owner, who took the room over live; nobody was dropped
	EntryKick    EntryKind = 14 // u64 member | rest reason: by an operator
	EntryClose   EntryKind = 15 // rest reason: by an operator

	// EntryTick is in no journal: traces have it for each tick.
	EntryTick EntryKind = 0
)

var entryNames = [...]string{
	"tick", "start", "epoch", "join", "attach", "input", "skip", "leave", "drop", "reserve", "pass", "clock", "durable",
	"moved", "kick", "close",
}

// String is the kind's name.
func (k EntryKind) String() string {
	if int(k) < len(entryNames) {
		return entryNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Entry is one entry of a room's journal. Every one begins
//
//	u8 kind | u64 room's time, ns since 1970 | u64 ticks run | u64 sequence
//
// where ticks and sequence are those before it. They say where it belongs, and
// find out a replay that went another way.
type Entry struct {
	Kind   EntryKind
	Number uint64 // its place in the journal
	Now    time.Time
	Tick   uint64
	Seq    wire.Seq

	Member     wire.MemberID
	Members    []wire.MemberID // drop
	Generation wire.Generation
	Proved     wire.Generation
	Instance   wire.Instance
	User       string
	Data       []byte // of a join or an input; a reason
	Claims     []byte
	Input      wire.Input
	Count      uint64 // reserve, pass, durable
	Flag       bool   // attach: resync; leave: passed over; start: restored
	Age        time.Duration
	Seed       uint64
	Epoch      wire.Epoch
	Labels     map[string]string // start: of a created room
}

// String names the entry for people.
func (e Entry) String() string {
	s := e.Kind.String()
	switch e.Kind {
	case EntryTick:
		return fmt.Sprintf("tick %d", e.Tick+1)
	case EntryJoin, EntryAttach:
		s = fmt.Sprintf("%s of member %d", s, e.Member)
	case EntryInput, EntryLeave, EntrySkip:
		s = fmt.Sprintf("%s %d of member %d", s, e.Input, e.Member)
	case EntryKick:
		s = fmt.Sprintf("%s of member %d", s, e.Member)
	case EntryDrop:
		s = fmt.Sprintf("%s of members %v", s, e.Members)
	}
	return fmt.Sprintf("entry %d (%s)", e.Number, s)
}

// append encodes the entry onto b.
func (e *Entry) append(b []byte) []byte {
	be := binary.BigEndian
	b = append(b, byte(e.Kind))
	b = be.AppendUint64(b, uint64(e.Now.UnixNano()))
	b = be.AppendUint64(b, e.Tick)
	b = be.AppendUint64(b, uint64(e.Seq))
	switch e.Kind {
	case EntryStart:
		b = append(b, flag(e.Flag))
		b = be.AppendUint64(b, uint64(e.Age))
		b = be.AppendUint64(b, e.Seed)
		b = be.AppendUint64(b, uint64(e.Epoch))
		for _, k := range slices.Sorted(maps.Keys(e.Labels)) {
			b = wire.AppendStr8(wire.AppendStr8(b, k), e.Labels[k])
		}
	case EntryEpoch, EntryMoved:
		b = be.AppendUint64(b, uint64(e.Epoch))
	case EntryReserve, EntryPass, EntryDurable:
		b = be.AppendUint64(b, e.Count)
	case EntryDrop:
		for _, id := range e.Members {
			b = be.AppendUint64(b, uint64(id))
		}
	case EntryKick:
		b = append(be.AppendUint64(b, uint64(e.Member)), e.Data...)
	case EntryClose:
		b = append(b, e.Data...)
	case EntryJoin, EntryAttach, EntryInput, EntrySkip, EntryLeave:
		b = e.appendMember(b)
	}
	return b
}

func (e *Entry) appendMember(b []byte) []byte {
	be := binary.BigEndian
	b = be.AppendUint64(b, uint64(e.Member))
	switch e.Kind {
	case EntryJoin:
		b = append(be.AppendUint32(b, uint32(e.Generation)), e.Instance[:]...)
		return wire.AppendBytes16(wire.AppendBytes16(wire.AppendStr8(b, e.User), e.Data), e.Claims)
	case EntryAttach:
		b = be.AppendUint32(be.AppendUint32(b, uint32(e.Generation)), uint32(e.Proved))
		return wire.AppendBytes16(append(append(b, e.Instance[:]...), flag(e.Flag)), e.Claims)
	}
	b = be.AppendUint64(b, uint64(e.Input))
	if e.Kind == EntryLeave {
		return append(b, flag(e.Flag))
	}
	return append(b, e.Data...)
}

func flag(on bool) byte {
	if on {
		return 1
	}
	return 0
}

// DecodeEntry decodes one entry. Data aliases b.
func DecodeEntry(number uint64, b []byte) (Entry, error) {
	r := wire.NewReader(b)
	e := Entry{Number: number, Kind: EntryKind(r.U8("kind"))}
	e.Now = time.Unix(0, int64(r.U64("time")))
	e.Tick = r.U64("tick")
	e.Seq = wire.Seq(r.U64("seq"))
	switch e.Kind {
	case EntryStart:
		e.Flag = r.U8("why") == 1
		e.Age, e.Seed, e.Epoch = time.Duration(r.U64("age")), r.U64("seed"), wire.Epoch(r.U64("epoch"))
		e.readLabels(&r)
	case EntryEpoch, EntryMoved:
		e.Epoch = wire.Epoch(r.U64("epoch"))
	case EntryReserve, EntryPass, EntryDurable:
		e.Count = r.U64("count")
	case EntryDrop:
		for r.Err() == nil && r.Len() > 0 {
			e.Members = append(e.Members, wire.MemberID(r.U64("member")))
		}
	case EntryKick:
		e.Member = wire.MemberID(r.U64("member"))
		e.Data = r.Rest("reason", wire.MaxReasonLen)
	case EntryClose:
		e.Data = r.Rest("reason", wire.MaxReasonLen)
	case EntryJoin, EntryAttach, EntryInput, EntrySkip, EntryLeave:
		e.readMember(&r)
	case EntryClock:
	default:
		r.Fail(fmt.Errorf("unknown %s", e.Kind))
	}
	if err := r.Err(); err != nil {
		return e, fmt.Errorf("decode journal entry %d: %w", number, err)
	}
	if n := r.Len(); n > 0 {
		return e, fmt.Errorf("decode journal entry %d: %d bytes too many", number, n)
	}
	return e, nil
}

func (e *Entry) readLabels(r *wire.Reader) {
	for r.Err() == nil && r.Len() > 0 && len(e.Labels) < wire.MaxLabels {
		if e.Labels == nil {
			e.Labels = map[string]string{}
		}
		k := r.Str8("label", wire.MaxLabelBytes)
		e.Labels[k] = r.Str8("label", wire.MaxLabelBytes)
	}
}

func (e *Entry) readMember(r *wire.Reader) {
	e.Member = wire.MemberID(r.U64("member"))
	switch e.Kind {
	case EntryJoin:
		e.Generation = wire.Generation(r.U32("generation"))
		copy(e.Instance[:], r.Fixed("instance", len(e.Instance)))
		e.User = r.Str8("user", wire.MaxUserLen)
		e.Data = r.Bytes16("data", wire.MaxJoinData)
		e.Claims = r.Bytes16("claims", peer.MaxClaims)
	case EntryAttach:
		e.Generation, e.Proved = wire.Generation(r.U32("generation")), wire.Generation(r.U32("proved"))
		copy(e.Instance[:], r.Fixed("instance", len(e.Instance)))
		e.Flag = r.U8("resync") == 1
		e.Claims = r.Bytes16("claims", peer.MaxClaims)
	case EntryInput:
		e.Input = wire.Input(r.U64("n"))
		e.Data = r.Rest("payload", wire.MaxInput)
	default:
		e.Input = wire.Input(r.U64("n"))
		if e.Kind == EntryLeave {
			e.Flag = r.U8("passed over") == 1
		}
	}
}
