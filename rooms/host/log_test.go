package host

import (
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

func TestLogLinesNameTheirRoom(t *testing.T) {
	var b strings.Builder
	r := &room{host: &Host{log: zerolog.New(&b)}, id: "tally/one"}
	r.claim.Epoch = 7
	r.log().Info().Msg("hello")
	if got, want := b.String(), `{"level":"info","room":"tally/one","epoch":7,"message":"hello"}`+"\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
