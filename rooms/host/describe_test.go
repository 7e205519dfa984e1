package host

import (
	"slices"
	"testing"
)

// limpet roomd runs itself again with its word first, whatever flags it has.
func TestProgramIsRunAgainWithItsWords(t *testing.T) {
	for _, c := range []struct{ args, want []string }{
		{[]string{"--name", "h"}, nil},
		{[]string{"roomd", "--name", "h"}, []string{"roomd"}},
		{[]string{"roomd"}, []string{"roomd"}},
		{nil, nil},
	} {
		if got := words(c.args); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.args, got, c.want)
		}
	}
}
