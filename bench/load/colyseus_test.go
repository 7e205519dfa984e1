//go:build linux

package load

import (
	"strings"
	"testing"
)

func TestReservation(t *testing.T) {
	const answer = "HTTP/1.1 200 OK\r\nDate: x\r\ncontent-length: 62\r\n\r\n" +
		`{"name":"bench","sessionId":"s_1","roomId":"r","processId":"p"}`
	whole := strings.Replace(answer, "62", "63", 1)
	path, n, err := reservation([]byte(whole + "rest"))
	if path != "/p/r?sessionId=s_1" || n != len(whole) || err != nil {
		t.Errorf("%q, %d, %v", path, n, err)
	}
	for i := range whole {
		if _, n, err := reservation([]byte(whole[:i])); n != 0 || err != nil {
			t.Fatalf("of %d bytes: %d, %v", i, n, err)
		}
	}
	for _, bad := range []string{"HTTP/1.1 500 No\r\n\r\n", answer, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"} {
		if _, _, err := reservation([]byte(bad)); err == nil {
			t.Errorf("taken: %q", bad)
		}
	}
}
