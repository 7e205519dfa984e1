package actor

import (
	"testing"
	"unsafe"
)

// There may be hundreds of thousands of members on a host.
func TestMemberIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(member{}); n > 112 {
		t.Errorf("a member takes %d bytes, want at most 112", n)
	}
}

// Tens of thousands of rooms may do nothing on a host.
func TestRoomIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(Room{}); n > 1792 {
		t.Errorf("a room takes %d bytes, want at most 1792", n)
	}
}
