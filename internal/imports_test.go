package internal_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/limpet-games/limpet"

// anything is for packages at the top, which wire the rest together.
const anything = "*"

// outside stands for other modules.
const outside = "other modules"

// allowed says which of the module's packages each package may import, and
// why; "x/..." stands for x and all below it. Tests may import more. It is the
// table of docs/architecture.md.
var allowed = map[string]map[string]string{
	"wire":      {},
	"wire/peer": {"wire": "ids and the codec"},
	"internal/link": {
		"wire": "errors cross a link as wire errors", "internal/certs": "who is at the other end",
		"internal/socket": "reads and writes", "internal/alarm": "beats and waits", outside: "logs and metrics",
	},
	"internal/certs":    {outside: "logs and metrics"},
	"internal/socket":   {},
	"internal/alarm":    {outside: "system calls"},
	"internal/pressure": {outside: "logs and metrics"},
	"internal/isolate":  {outside: "logs and metrics"},
	"snapshot": {
		"wire": "rooms' ids and epochs", "internal/fault": "points where tests kill it",
		outside: "checksums, compression, logs and metrics",
	},
	"snapshot/redisstore": {
		"snapshot": "the contract", "wire": "rooms' ids and epochs", outside: "the Redis client",
	},
	"snapshot/sqlitestore": {
		"snapshot": "the contract", "wire": "rooms' ids and epochs", outside: "the SQLite driver",
	},
	"snapshot/storetest": {
		"snapshot": "the contract", "wire": "rooms' ids and epochs", outside: "property tests",
	},
	"snapshot/handover": {
		"snapshot": "claims and leases", "wire": "rooms' ids and the codec", outside: "checksums",
	},
	"directory": {
		"wire": "rooms' ids and errors", "internal/link": "questions to other nodes", outside: "gossip, logs and metrics",
	},
	"rooms": {},
	"rooms/internal/actor": {
		"rooms": "the API that it puts into effect", "wire": "ids and frames", "wire/peer": "messages to gateways",
		outside: "CBOR",
	},
	"rooms/roomtest": {
		"rooms": "the API under test", "rooms/internal/actor": "the room itself",
		"wire": "ids and frames", "wire/peer": "messages to gateways",
	},
	"rooms/host": {
		"internal/fault": "points where tests kill it",
		"wire":           "ids and errors", "wire/peer": "messages to gateways", "internal/link": "links to gateways and hosts",
		"snapshot/...": "claims and checkpoints", "directory": "it is a directory's host",
		"rooms": "kinds", "rooms/internal/actor": "the rooms it runs",
		"internal/alarm": "what wakes rooms", "internal/isolate": "kinds in processes of their own", "internal/certs": "names of such processes",
		"internal/query": "questions to its rooms", "internal/explain": "what it believes of a room", "internal/daemon": "host.Main is a whole process", "internal/pressure": "what it must refuse", outside: "logs and metrics",
	},
	"gateway": {
		"wire": "the client protocol", "wire/peer": "messages to hosts", "internal/link": "links to hosts",
		"directory": "where rooms are", "internal/pressure": "what it must refuse", "gateway/internal/...": "its own parts",
		"internal/socket": "writes to clients", "internal/alarm": "what is due",
		"internal/daemon": "logs for net/http", outside: "the WebSocket handshake, logs and metrics",
	},
	"gateway/auth": {
		"gateway": "who a token's bearer is", "wire": "bounds", "wire/peer": "bounds", outside: "JSON Web Tokens, logs and metrics",
	},
	"gateway/internal/...": {
		"wire": "frames", "gateway/internal/...": "its siblings", "internal/socket": "reads from clients", outside: "the WebSocket handshake",
	},
	"client":           {"wire": "the client protocol", outside: "the WebSocket dialler"},
	"games/...":        {"rooms": "the API, as any game would", "games/...": "parts of one game"},
	"web":              {},
	"internal/fault":   {},
	"internal/query":   {outside: "CBOR"},
	"internal/explain": {},
	"internal/daemon": {
		"wire": "ids and errors", "internal/query": "the language of POST /v1/query", "internal/explain": "what GET /v1/explain answers", "web": "the operator's page", "internal/link": "the process's links",
		"internal/alarm": "it rings them", "internal/certs": "its certificate", "internal/pressure": "what it has left", "directory": "the process's view", outside: "logs and metrics",
	},
	"internal/gatewayd": {
		"wire": "limits", "internal/link": "errors of links", "internal/daemon": "flags and lifetimes", "directory": "where rooms are",
		"internal/explain": "what it believes of a room", "internal/certs": "what players are shown", "gateway": "the edge itself", "gateway/auth": "players' tokens", "web": "the demo", outside: "logs and metrics",
	},
	"bench/...": {anything: "measures all of it", outside: "reports"},
	"cmd/...":   {anything: "wiring", outside: "logs"},
	"e2e/...":   {anything: "runs all of it", outside: "checks"},
}

// apart are pairs that never import each other, not even in tests.
var apart = map[[2]string]string{
	{"gateway", "rooms/host"}:           "they are two processes that meet on a link; what both need belongs into wire/peer",
	{"gateway", "rooms"}:                "a gateway knows nothing of games",
	{"games/...", "rooms/host"}:         "a game is tested with rooms/roomtest, as its author would",
	{"snapshot/...", "directory"}:       "the store decides, the directory hints: neither may lean on the other",
	{"rooms/internal/...", "directory"}: "a room is a pure state machine",
}

func matches(pattern, pkg string) bool {
	if base, ok := strings.CutSuffix(pattern, "/..."); ok {
		return pkg == base || strings.HasPrefix(pkg, base+"/")
	}
	return pattern == pkg || pattern == anything
}

// rule finds the longest entry of the table that speaks of a package.
func rule(pkg string) (imports map[string]string, ok bool) {
	best := ""
	for pattern := range allowed {
		if matches(pattern, pkg) && len(pattern) > len(best) {
			best = pattern
		}
	}
	return allowed[best], best != ""
}

// wrong says what speaks against an import, "" where nothing does.
func wrong(pkg, imported string, inTest bool) string {
	own := imported == module || strings.HasPrefix(imported, module+"/")
	imported = strings.TrimPrefix(imported, module+"/")
	for pair, reason := range apart {
		if matches(pair[0], pkg) && matches(pair[1], imported) || matches(pair[1], pkg) && matches(pair[0], imported) {
			return reason
		}
	}
	if inTest {
		return ""
	}
	imports, ok := rule(pkg)
	if !ok {
		return "the table of allowed imports says nothing of the package: add it there and to docs/architecture.md"
	}
	if !own {
		first, _, _ := strings.Cut(imported, "/")
		if _, ok := imports[outside]; ok || !strings.Contains(first, ".") {
			return ""
		}
		return "it does without other modules"
	}
	for pattern := range imports {
		if matches(pattern, imported) {
			return ""
		}
	}
	return "not in the table of allowed imports"
}

func TestRulesCatchWhatTheyForbid(t *testing.T) {
	for _, c := range []struct {
		pkg, imported string
		test, bad     bool
	}{
		{"gateway", module + "/rooms/host", true, true},
		{"rooms/host", module + "/gateway", false, true},
		{"rooms", module + "/wire", false, true},
		{"rooms", "github.com/fxamacker/cbor/v2", false, true},
		{"rooms", "math/rand/v2", false, false},
		{"games/arena", module + "/rooms", false, false},
		{"games/arena", module + "/wire", false, true},
		{"games/arena", module + "/rooms/roomtest", true, false},
		{"wire", module + "/internal/link", false, true},
		{"gateway/internal/ws", module + "/directory", false, true},
		{"elsewhere", "fmt", false, true},
		{"cmd/limpet/internal/dev", module + "/internal/daemon", false, false},
	} {
		if got := wrong(c.pkg, c.imported, c.test); (got != "") != c.bad {
			t.Errorf("%s imports %s: %q", c.pkg, c.imported, got)
		}
	}
}

// file is one Go file of the module.
type file struct {
	pkg, name string // package's folder, file's name
	doc       bool
	main      bool
	imports   []string
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func goFiles(t *testing.T) []file {
	t.Helper()
	top := root(t)
	var files []file
	err := filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if n := d.Name(); p != top && (strings.HasPrefix(n, ".") || n == "node_modules" || n == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, p)
		if err != nil {
			return err
		}
		out := file{
			pkg: path.Dir(filepath.ToSlash(rel)), name: d.Name(),
			doc: f.Doc != nil, main: f.Name.Name == "main",
		}
		for _, i := range f.Imports {
			imported, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			out.imports = append(out.imports, imported)
		}
		files = append(files, out)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 {
		t.Fatalf("found only %d Go files below %s", len(files), top)
	}
	return files
}

func TestImportsFollowTheTable(t *testing.T) {
	for _, f := range goFiles(t) {
		for _, imported := range f.imports {
			if why := wrong(f.pkg, imported, strings.HasSuffix(f.name, "_test.go")); why != "" {
				t.Errorf("%s/%s imports %s: %s", f.pkg, f.name, imported, why)
			}
		}
	}
}

func TestEveryPackageHasADoc(t *testing.T) {
	docs := map[string]bool{}
	for _, f := range goFiles(t) {
		if !strings.HasSuffix(f.name, "_test.go") {
			docs[f.pkg] = docs[f.pkg] || f.doc
		}
	}
	for pkg, has := range docs {
		if !has {
			t.Errorf("package %s has no package comment", pkg)
		}
	}
}

// Names that don't say what is inside.
var emptyNames = []string{"util", "utils", "common", "helper", "helpers", "misc", "manager", "shared", "base", "types", "stuff"}

func TestNamesSayWhatIsInside(t *testing.T) {
	for _, f := range goFiles(t) {
		stem := strings.TrimSuffix(strings.TrimSuffix(f.name, ".go"), "_test")
		if slices.Contains(emptyNames, stem) || slices.Contains(emptyNames, path.Base(f.pkg)) {
			t.Errorf("%s/%s: the name says nothing", f.pkg, f.name)
		}
	}
}
