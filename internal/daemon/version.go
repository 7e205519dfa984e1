package daemon

import "runtime/debug"

const module = "github.com/limpet-games/limpet"

// Version is the module's version in this build: a tag, or the revision it was
// built from, with "+dirty" for uncommitted changes. "devel" where neither is
// known, as under go run.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	if info.Main.Path != module { // a game's own program
		for _, d := range info.Deps {
			if d.Path == module {
				return d.Version
			}
		}
		return "devel"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	return revision(info.Settings)
}

func revision(settings []debug.BuildSetting) string {
	rev, dirty := "devel", ""
	for _, s := range settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 12:
			rev = s.Value[:12]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+dirty"
		}
	}
	return rev + dirty
}
