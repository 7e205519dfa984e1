package client

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

// TestEachConnectionGetsAToken: the first may have run out when the client comes
// back. Where none is to be had, it tries again.
func TestEachConnectionGetsAToken(t *testing.T) {
	f, asked := newFake(t), 0
	c := dial(t, Config{URLs: []string{f.url}, Token: []byte("not this one"), NewToken: func(context.Context) ([]byte, error) {
		if asked++; asked == 2 {
			return nil, errors.New("the login service is down")
		}
		return fmt.Appendf(nil, "token %d", asked), nil
	}})
	for _, want := range []string{"token 1", "token 3"} {
		if got := string(f.accept().hello.Token); got != want {
			t.Errorf("hello with %q, want %q", got, want)
		}
		c.Drop()
	}
}
