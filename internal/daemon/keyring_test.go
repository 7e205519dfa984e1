package daemon

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

const oldSecret, newSecret = "the old secret of a cluster", "the new secret of a cluster"

// TestSecretsChangeInSteps: the file is first the old secret, then both, then the
// new one ahead, then it alone; what was signed before is taken until the end.
func TestSecretsChangeInSteps(t *testing.T) {
	path := tokenFile(t, oldSecret+"\n")
	k, err := readKeyring(path, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	var told int
	k.OnChange(func(now []Keys) { told = len(now) })
	old := k.First()
	derived, err := DeriveKeys([]byte(newSecret))
	if err != nil {
		t.Fatal(err)
	}
	takes := func(keys [][]byte, key []byte) bool {
		return slices.ContainsFunc(keys, func(k []byte) bool { return bytes.Equal(k, key) })
	}
	for _, step := range []struct {
		file         string
		secrets      int
		first        Keys
		oldOK, newOK bool
	}{
		{oldSecret + "\n" + newSecret + "\n", 2, old, true, true},
		{"# from today on\n" + newSecret + "\n" + oldSecret, 2, derived, true, true},
		{"short\n" + newSecret, 2, derived, true, true}, // not taken: as before
		{newSecret + "\n", 1, derived, false, true},
		{"", 1, derived, false, true},
	} {
		if err := os.WriteFile(path, []byte(step.file), 0o600); err != nil {
			t.Fatal(err)
		}
		k.look()
		if got := k.First(); !bytes.Equal(got.Token, step.first.Token) || !bytes.Equal(k.Links()[0], step.first.Link) || !bytes.Equal(k.Gossip()[0], step.first.Gossip) {
			t.Errorf("%q: the first is another", step.file)
		}
		if a, b := takes(k.Tokens(), old.Token), takes(k.Tokens(), derived.Token); a != step.oldOK || b != step.newOK || told != step.secrets {
			t.Errorf("%q: old %v, new %v, %d secrets told", step.file, a, b, told)
		}
	}
	var none *Keyring
	if none.Links() != nil || none.First().Link != nil {
		t.Error("keys without a file")
	}
	if _, err := readKeyring(tokenFile(t, strings.Repeat(oldSecret+"\n", maxSecrets+1)), zerolog.Nop()); err == nil {
		t.Error("too many secrets are taken")
	}
}
