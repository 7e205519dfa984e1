package daemon

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/limpet-games/limpet/directory"
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

// Gossip follows the key file: nodes change over while they run, and one that
// has the new secret alone finds them afterwards.
func TestGossipFollowsTheKeyFile(t *testing.T) {
	path := tokenFile(t, oldSecret+"\n")
	one := startNode(t, "host-1", directory.RoleHost, path)
	two := startNode(t, "host-2", directory.RoleHost, path, one.Members.Addr())
	sees := func(n *node, want int) func() error {
		return func() error {
			if got := len(n.Members.View().Nodes); got != want {
				return fmt.Errorf("%d nodes seen, want %d", got, want)
			}
			return nil
		}
	}
	eventually(t, "host-1 sees both", sees(one, 2))
	for _, text := range []string{oldSecret + "\n" + newSecret, newSecret + "\n" + oldSecret, newSecret} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		want, err := readSecrets(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []*node{one, two} {
			eventually(t, "the file is followed", func() error {
				if k := n.Keys.Gossip(); len(k) != len(want) || !bytes.Equal(k[0], want[0].Gossip) {
					return fmt.Errorf("%d keys", len(k))
				}
				return nil
			})
		}
	}
	three := startNode(t, "host-3", directory.RoleHost, tokenFile(t, newSecret), two.Members.Addr())
	for _, n := range []*node{one, two, three} {
		eventually(t, "all see each other", sees(n, 3))
	}
}
