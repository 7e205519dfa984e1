package arena

import (
	"math/rand/v2"

	"github.com/limpet-games/limpet/rooms"
)

// State is what a checkpoint holds of a pool.
type State struct {
	Clock     uint64 // ticks since the pool was made
	Players   []Player
	Shells    []Shell
	NextShell uint32
}

// Player is one limpet. Lengths are in world units, speeds in units a step.
type Player struct {
	ID     rooms.MemberID
	Slot   uint8 // short name in the state broadcast
	Name   string
	Hue    uint16 // colour, in degrees
	X, Y   float64
	VX, VY float64
	Step   uint16  // number of the last step taken, as its client counts
	Budget float64 // steps it may take at once
	Cool   uint8   // steps until it may dash again
	Grip   uint8   // ticks it has been still on a rock
	Score  uint32
	String uint8  // shells it trails and could lose or bank
	Synced uint64 // tick at which it last asked for the full state
}

// Shell lies about to be gathered.
type Shell struct {
	ID    uint32
	X, Y  float64
	Pearl bool // worth more
}

// player finds a member's player, or nil.
func (s *State) player(id rooms.MemberID) *Player {
	for i := range s.Players {
		if s.Players[i].ID == id {
			return &s.Players[i]
		}
	}
	return nil
}

func (s *State) remove(id rooms.MemberID) {
	for i := range s.Players {
		if s.Players[i].ID == id {
			s.Players = append(s.Players[:i], s.Players[i+1:]...)
			return
		}
	}
}

// freeSlot is the lowest slot without a player.
func (s *State) freeSlot() uint8 {
	var taken [MaxPlayers + 1]bool
	for i := range s.Players {
		taken[s.Players[i].Slot] = true
	}
	for slot, t := range taken {
		if !t {
			return uint8(slot)
		}
	}
	return MaxPlayers
}

// leader is the player with the highest score, or nil.
func (s *State) leader() *Player {
	var best *Player
	for i := range s.Players {
		if p := &s.Players[i]; best == nil || p.Score > best.Score {
			best = p
		}
	}
	return best
}

// takeShell removes the shell at i; the order of shells means nothing.
func (s *State) takeShell(i int) Shell {
	last := len(s.Shells) - 1
	sh := s.Shells[i]
	s.Shells[i] = s.Shells[last]
	s.Shells = s.Shells[:last]
	return sh
}

// addShell puts a shell at a place kept inside the pool.
func (s *State) addShell(x, y float64, pearl bool) Shell {
	s.NextShell++
	sh := Shell{ID: s.NextShell, X: clamp(x, shellRadius, Width-shellRadius),
		Y: clamp(y, shellRadius, Height-shellRadius), Pearl: pearl}
	s.Shells = append(s.Shells, sh)
	return sh
}

// openWater draws a place that is on no rock.
func openWater(rnd *rand.Rand) (x, y float64) {
	for range 16 {
		x = 40 + rnd.Float64()*(Width-80)
		y = 40 + rnd.Float64()*(Height-80)
		if rockAt(x, y) < 0 {
			break
		}
	}
	return x, y
}
