package daemon

import (
	"runtime/debug"
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
