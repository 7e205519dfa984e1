package daemon

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
)

func TestVersionIsTheProgramsOwn(t *testing.T) {
	limpet := []*debug.Module{{Path: "github.com/limpet-games/limpet", Version: "v1.0.0"}}
	for _, tt := range []struct {
		main     string
		settings []debug.BuildSetting
		want     string
	}{
		{"v2.1.0", nil, "v2.1.0"},
		{"(devel)", nil, "devel"},
		{"", []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef"}}, "0123456789ab"},
		{"(devel)", []debug.BuildSetting{
			{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.modified", Value: "true"},
		}, "0123456789ab+dirty"},
	} {
		info := &debug.BuildInfo{Main: debug.Module{Path: "example.com/tug", Version: tt.main}, Deps: limpet, Settings: tt.settings}
		if got := versionOf(info); got != tt.want {
			t.Errorf("main version %q, settings %v: %q, want %q", tt.main, tt.settings, got, tt.want)
		}
	}
}

// Two programs of unknown sources are told apart, and one is the same each time.
func TestVersionTellsUnknownBuildsApart(t *testing.T) {
	one, other := filepath.Join(t.TempDir(), "one"), filepath.Join(t.TempDir(), "other")
	for file, text := range map[string]string{one: "a build", other: "another"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := digest(one), digest(other); len(a) != 9 || a == b || a != digest(one) {
		t.Errorf("digests %q and %q", a, b)
	}
	if v := Version(); v != Version() || (strings.HasPrefix(v, "devel") && len(v) != len("devel.12345678")) {
		t.Errorf("version of this test: %q", v)
	}
	long := "v1.12.14-0.20261127095400-2e653bad1234+dirty.1a2b3c4d"
	if got := gossiped(long); len(got) > 48 || !strings.HasSuffix(got, ".1a2b3c4d") || !strings.HasPrefix(got, "v1.12.14-0.2026") {
		t.Errorf("gossiped: %q", got)
	}
}
