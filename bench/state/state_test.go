package state

import "testing"

func TestStateTellsOfInputs(t *testing.T) {
	r := NewRoom(256)
	seen := map[uint32]int{}
	for tick := range 50 {
		for slot := range uint32(50) {
			var p [InputSize]byte
			PutInput(p[:], Echo{Slot: slot, Number: uint32(tick), Sent: int64(1000*tick) + int64(slot)})
			r.Input(p[:])
		}
		p := r.Next(int64(tick))
		began, seq, echoes, ok := Head(p)
		if !ok || len(p) != 256 || began != int64(tick) || seq != uint64(tick+1) || echoes != MaxEchoes {
			t.Fatalf("tick %d: %d bytes, began %d, seq %d, %d echoes, %v", tick, len(p), began, seq, echoes, ok)
		}
		for i := range echoes {
			e := EchoAt(p, i)
			if e.Number != uint32(tick) || e.Sent != int64(1000*tick)+int64(e.Slot) {
				t.Fatalf("echo %+v at tick %d", e, tick)
			}
			seen[e.Slot]++
		}
	}
	for slot := range uint32(50) {
		if seen[slot] < 7 {
			t.Errorf("slot %d was told of %d times in 50 ticks", slot, seen[slot])
		}
	}
}

func TestMalformedStates(t *testing.T) {
	r := NewRoom(64)
	r.Input(make([]byte, InputSize))
	p := r.Next(1)
	for n := range MinSize {
		if _, _, _, ok := Head(p[:n]); ok {
			t.Errorf("a state of %d bytes was taken", n)
		}
	}
	if _, _, _, ok := Head(p[:MinSize+echoSize-1]); ok {
		t.Error("a state without room for its echoes was taken")
	}
	if _, ok := Input(p[:echoSize-1]); ok {
		t.Error("a short input was taken")
	}
}
