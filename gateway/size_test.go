package gateway

import (
	"testing"
	"unsafe"
)

// There may be hundreds of thousands of them.
func TestRecordsAreSmall(t *testing.T) {
	for _, tc := range []struct {
		what       string
		size, most uintptr
	}{
		{"connection", unsafe.Sizeof(conn{}), 256},
		{"session", unsafe.Sizeof(session{}), 112},
	} {
		if tc.size > tc.most {
			t.Errorf("a %s takes %d bytes, want at most %d", tc.what, tc.size, tc.most)
		}
	}
}
