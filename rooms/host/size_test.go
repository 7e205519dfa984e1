package host

import (
	"testing"
	"unsafe"
)

// Tens of thousands of rooms may do nothing on a host.
func TestRoomIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(room{}); n > 1536 {
		t.Errorf("a room takes %d bytes, want at most 1536", n)
	}
}
