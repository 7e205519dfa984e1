package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/limpet-games/limpet/internal/daemon"
)

var update = flag.Bool("update", false, "write what the programs say into docs/configuration.md")

const configurationDoc = "../../docs/configuration.md"

// A marker names a command whose help follows it.
var marked = regexp.MustCompile("(?s)<!-- help: ([a-z]+) -->\n```\n(.*?)```\n")

func helpOf(t *testing.T, name string) string {
	t.Helper()
	for _, c := range commands() {
		if c.name != name {
			continue
		}
		var out, errOut bytes.Buffer
		if status := c.run(context.Background(), []string{"--help"}, streams{strings.NewReader(""), &out, &errOut}); status != 0 || errOut.Len() > 0 {
			t.Fatalf("%s --help: status %d, %s", name, status, &errOut)
		}
		return strings.ReplaceAll(out.String(), "default "+daemon.HostName()+",", "default this machine's,")
	}
	t.Fatalf("no command %s", name)
	return ""
}

func TestConfigurationDocIsWhatTheProgramsSay(t *testing.T) {
	raw, err := os.ReadFile(configurationDoc)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	now := marked.ReplaceAllStringFunc(string(raw), func(block string) string {
		name := marked.FindStringSubmatch(block)[1]
		seen[name] = true
		return "<!-- help: " + name + " -->\n```\n" + helpOf(t, name) + "```\n"
	})
	for _, c := range commands() {
		if c.name != "version" && !seen[c.name] {
			t.Errorf("the document has no marker for %s", c.name)
		}
	}
	if now == string(raw) {
		return
	}
	if !*update {
		t.Fatal("docs/configuration.md is out of date: go test ./cmd/limpet -run Configuration -update")
	}
	if err := os.WriteFile(configurationDoc, []byte(now), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestOperationsTableHasAllEndpoints compares the table with what is registered.
func TestOperationsTableHasAllEndpoints(t *testing.T) {
	raw, err := os.ReadFile(configurationDoc)
	if err != nil {
		t.Fatal(err)
	}
	pattern := regexp.MustCompile(`"((?:GET|POST) /v1/[a-z/]+)"`)
	listed := regexp.MustCompile("`((?:GET|POST) /v1/[a-z/]+)")
	has := map[string]bool{}
	for _, m := range listed.FindAllStringSubmatch(string(raw), -1) {
		has[m[1]] = true
	}
	found := 0
	for _, dir := range []string{"internal/daemon", "internal/gatewayd", "rooms/host"} {
		files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			code, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range pattern.FindAllStringSubmatch(string(code), -1) {
				if found++; !has[m[1]] {
					t.Errorf("%s registers %s, which the table lacks", file, m[1])
				}
			}
		}
	}
	if found < 15 {
		t.Errorf("%d endpoints are registered", found)
	}
}
