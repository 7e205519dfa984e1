package arena

import (
	"encoding/binary"
	"math"
)

// snapshotKey is the key under which the state broadcast is sent.
const snapshotKey = 1

// Flags of a player in a snapshot.
const (
	isAway     = 1 // its connection is lost: a ghost
	isClinging = 2
	isSwept    = 4
)

const (
	placeScale = 40  // a place in a snapshot is in 40ths of a unit
	speedScale = 256 // a speed in 256ths of a unit a step
)

// appendSnapshot encodes what everybody sees:
//
//	u8 1 | u32 tick | u8 tide | u8 current | u8 n | n x player
//
// with a player as
//
//	u8 slot | u8 flags | u16 x | u16 y | i16 vx | i16 vy | u16 step | u8 cool | u8 string | u32 score
func appendSnapshot(b []byte, s *State, away *[MaxPlayers + 1]bool) []byte {
	be := binary.BigEndian
	b = be.AppendUint32(append(b, 1), uint32(s.Clock))
	b = append(b, byte(math.Round(tide(s.Clock)*255)), currentAngle(s.Clock), byte(len(s.Players)))
	for i := range s.Players {
		p := &s.Players[i]
		b = append(b, p.Slot, p.flags(s.Clock, away[p.Slot]))
		b = be.AppendUint16(b, uint16(math.Round(p.X*placeScale)))
		b = be.AppendUint16(b, uint16(math.Round(p.Y*placeScale)))
		b = be.AppendUint16(b, uint16(int16(math.Round(p.VX*speedScale))))
		b = be.AppendUint16(b, uint16(int16(math.Round(p.VY*speedScale))))
		b = be.AppendUint16(b, p.Step)
		b = append(b, p.Cool, p.String)
		b = be.AppendUint32(b, p.Score)
	}
	return b
}

func (p *Player) flags(clock uint64, away bool) (f byte) {
	if away {
		f |= isAway
	}
	if p.clinging() {
		f |= isClinging
	} else if sweeping(clock) && !away {
		f |= isSwept
	}
	return f
}
