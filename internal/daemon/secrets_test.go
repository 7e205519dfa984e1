package daemon

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/limpet-games/limpet/directory"
)

// orderStep posts an order to a node.
func orderStep(t *testing.T, n *node, o SecretsOrder) (SecretsAnswer, string) {
	t.Helper()
	raw, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post("http://"+n.ops+"/v1/secrets", "application/json", bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var a struct {
		SecretsAnswer
		Error string
	}
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		t.Fatal(err)
	}
	return a.SecretsAnswer, a.Error
}

// TestSecretIsChangedByCommand takes a cluster whose nodes have files of their own
// from one secret to another, one step after the other, and refuses what would cut
// a node off.
func TestSecretIsChangedByCommand(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string {
		path := filepath.Join(dir, name, "key")
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("# of the cluster\n"+oldSecret), 0o640); err != nil {
			t.Fatal(err)
		}
		return path
	}
	paths := []string{file("one"), file("two"), file("gate")}
	one := startNode(t, "host-1", directory.RoleHost, paths[0])
	two := startNode(t, "host-2", directory.RoleHost, paths[1], one.Members.Addr())
	gate := startNode(t, "gateway-1", directory.RoleGateway, paths[2], one.Members.Addr())
	for _, n := range []*node{one, two, gate} {
		eventually(t, "all see each other", func() error {
			if got := len(n.Members.View().Nodes); got != 3 {
				return fmt.Errorf("%d nodes seen", got)
			}
			return nil
		})
	}
	old := one.Keys.First().ID
	refused := func(n *node, o SecretsOrder, want string) {
		t.Helper()
		if a, e := orderStep(t, n, o); !strings.Contains(e, want) {
			t.Errorf("%+v: %+v, %q, want %q", o, a, e, want)
		}
	}
	refused(gate, SecretsOrder{Do: SecretAdd}, "ask a room host")
	refused(one, SecretsOrder{Do: SecretUse, ID: "12345678"}, "does not take")
	refused(one, SecretsOrder{Do: SecretDrop, ID: old}, "still uses")
	refused(one, SecretsOrder{Do: "burn", ID: old}, "want add, use or drop")

	// The gateway can't write: the step is not taken everywhere, and is taken by
	// doing it again.
	away := filepath.Join(dir, "away")
	if err := os.Rename(filepath.Dir(paths[2]), away); err != nil {
		t.Fatal(err)
	}
	added, e := orderStep(t, one, SecretsOrder{Do: SecretAdd})
	if e != "" || added.Answered != 2 || len(added.Missing) != 1 {
		t.Fatalf("%+v, %q", added, e)
	}
	refused(one, SecretsOrder{Do: SecretUse, ID: added.ID}, "gateway-1 does not take")
	if err := os.Rename(away, filepath.Dir(paths[2])); err != nil {
		t.Fatal(err)
	}
	holds := func(a SecretsAnswer, e string, want ...string) {
		t.Helper()
		if e != "" || a.Answered != 3 || len(a.Missing) > 0 {
			t.Fatalf("%+v, %q", a, e)
		}
		for _, n := range a.Nodes {
			if !slices.Equal(n.Secrets, want) {
				t.Errorf("%s holds %v, want %v", n.Node, n.Secrets, want)
			}
		}
	}
	again, e := orderStep(t, one, SecretsOrder{Do: SecretAdd})
	holds(again, e, old, added.ID)
	used, e := orderStep(t, two, SecretsOrder{Do: SecretUse, ID: added.ID})
	holds(used, e, added.ID, old)
	dropped, e := orderStep(t, one, SecretsOrder{Do: SecretDrop, ID: old})
	holds(dropped, e, added.ID)

	secrets := map[string]bool{}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o640 {
			t.Errorf("%s: %v, %v", path, st.Mode(), err)
		}
		if !strings.HasPrefix(string(raw), "# of the cluster\n") || strings.Contains(string(raw), oldSecret) {
			t.Errorf("%s holds %q", path, raw)
		}
		secrets[string(raw)] = true
	}
	if len(secrets) != 1 {
		t.Errorf("%d different files", len(secrets))
	}
	late := startNode(t, "host-3", directory.RoleHost, paths[0], two.Members.Addr())
	for _, n := range []*node{one, gate, late} {
		eventually(t, "one with the new secret is one of them", func() error {
			if got := len(n.Members.View().Nodes); got != 4 {
				return fmt.Errorf("%d nodes seen", got)
			}
			return nil
		})
	}
}

func TestChangesOfAKeyFile(t *testing.T) {
	id := func(secret string) string {
		s, err := secretID(secret)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	third := strings.Repeat("third", 5)
	for name, c := range map[string]struct {
		was  string
		step secretStep
		want string // "" : refused
	}{
		"add":                     {oldSecret, secretStep{Do: SecretAdd, ID: id(newSecret), Secret: newSecret}, oldSecret + "\n" + newSecret + "\n"},
		"add again":               {oldSecret + "\n" + newSecret, secretStep{Do: SecretAdd, ID: id(newSecret), Secret: newSecret}, oldSecret + "\n" + newSecret},
		"add under another name":  {oldSecret, secretStep{Do: SecretAdd, ID: id(third), Secret: newSecret}, ""},
		"add a short one":         {oldSecret, secretStep{Do: SecretAdd, ID: id("short"), Secret: "short"}, ""},
		"add two lines":           {oldSecret, secretStep{Do: SecretAdd, ID: id(newSecret + "\n" + third), Secret: newSecret + "\n" + third}, ""},
		"add a comment":           {oldSecret, secretStep{Do: SecretAdd, ID: id("# " + third), Secret: "# " + third}, ""},
		"use":                     {"# a\n" + oldSecret + "\n# b\n" + newSecret, secretStep{Do: SecretUse, ID: id(newSecret)}, "# a\n" + newSecret + "\n" + oldSecret + "\n# b\n"},
		"use the first":           {oldSecret + "\n" + newSecret + "\n", secretStep{Do: SecretUse, ID: id(oldSecret)}, oldSecret + "\n" + newSecret + "\n"},
		"use one that is not":     {oldSecret, secretStep{Do: SecretUse, ID: id(newSecret)}, ""},
		"drop":                    {newSecret + "\n" + oldSecret + "\n", secretStep{Do: SecretDrop, ID: id(oldSecret)}, newSecret + "\n"},
		"drop again":              {newSecret + "\n", secretStep{Do: SecretDrop, ID: id(oldSecret)}, newSecret + "\n"},
		"drop the one that is in": {newSecret + "\n" + oldSecret, secretStep{Do: SecretDrop, ID: id(newSecret)}, ""},
	} {
		got, err := changeLines(slices.Collect(strings.Lines(c.was)), c.step)
		if text := strings.Join(got, ""); (err != nil) != (c.want == "") || text != c.want {
			t.Errorf("%s: %q, %v; want %q", name, text, err, c.want)
		}
	}
}
