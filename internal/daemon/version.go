package daemon

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"sync"
)

// Version is the version of the program that this is, so of a game's own where a
// game has one: a tag, or the revision it was built from. A program of uncommitted
// or unknown sources is told from others of its kind by what it consists of:
// "4f0c12ab34de+dirty.1a2b3c4d", "devel.1a2b3c4d". It does not change while the
// process runs, also when its file is replaced.
var Version = sync.OnceValue(func() string {
	v := "devel"
	if info, ok := debug.ReadBuildInfo(); ok {
		v = versionOf(info)
	}
	if v == "devel" || strings.HasSuffix(v, "+dirty") {
		v += digest("/proc/self/exe")
	}
	return v
})

// gossiped is a version as gossip carries it, in at most 48 bytes: from a longer one
// the middle is left out, for its end tells builds apart.
func gossiped(version string) string {
	if len(version) <= 48 {
		return version
	}
	return version[:39] + version[len(version)-9:]
}

// digest is a dot and the first bytes of the hash of a file, nothing where there
// is none.
func digest(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return "." + hex.EncodeToString(h.Sum(nil)[:4])
}

func versionOf(info *debug.BuildInfo) string {
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
