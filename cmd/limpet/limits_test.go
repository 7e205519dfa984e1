package main

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/gateway"
	"github.com/limpet-games/limpet/gateway/auth"
	"github.com/limpet-games/limpet/internal/certs"
	"github.com/limpet-games/limpet/internal/daemon"
	"github.com/limpet-games/limpet/internal/isolate"
	"github.com/limpet-games/limpet/internal/link"
	"github.com/limpet-games/limpet/internal/pressure"
	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/rooms/host"
	"github.com/limpet-games/limpet/snapshot"
)

const root = "../.."

// bound is a row of docs/limits.md.
type bound struct {
	what, def, flag, when string
	metrics               []string
	code                  string
}

var quoted = regexp.MustCompile("`([^`]*)`")

func bounds(t *testing.T) (all []bound) {
	t.Helper()
	raw, err := os.ReadFile(root + "/docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 6 || strings.HasPrefix(line, "| ---") || strings.HasPrefix(line, "| what") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		b := bound{what: cells[0], def: cells[1], when: cells[3], flag: strings.TrimPrefix(strings.Trim(cells[2], "`"), "--"), code: strings.Trim(cells[5], "`")}
		for _, m := range quoted.FindAllStringSubmatch(cells[4], -1) {
			b.metrics = append(b.metrics, m[1])
		}
		all = append(all, b)
	}
	return all
}

// source evaluates constants and defaults of the module's packages.
type source struct{ packages map[string][]*ast.File }

func (s *source) files(t *testing.T, dir string) []*ast.File {
	t.Helper()
	if s.packages[dir] == nil {
		paths, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
		if err != nil || len(paths) == 0 {
			t.Fatalf("no package %s", dir)
		}
		for _, p := range paths {
			if strings.HasSuffix(p, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			s.packages[dir] = append(s.packages[dir], f)
		}
	}
	return s.packages[dir]
}

var units = map[string]time.Duration{"Millisecond": time.Millisecond, "Second": time.Second, "Minute": time.Minute, "Hour": time.Hour}

// eval is the value of a constant expression, unknown for anything else.
func (s *source) eval(t *testing.T, dir string, e ast.Expr) constant.Value {
	switch e := e.(type) {
	case *ast.BasicLit:
		return constant.MakeFromLiteral(e.Value, e.Kind, 0)
	case *ast.ParenExpr:
		return s.eval(t, dir, e.X)
	case *ast.Ident:
		return s.find(t, dir, "", e.Name)
	case *ast.SelectorExpr:
		switch x, ok := e.X.(*ast.Ident); {
		case !ok:
		case x.Name == "time" && units[e.Sel.Name] > 0:
			return constant.MakeInt64(int64(units[e.Sel.Name]))
		case x.Name == "wire" || x.Name == "snapshot":
			return s.find(t, x.Name, "", e.Sel.Name)
		}
	case *ast.BinaryExpr:
		a, b := s.eval(t, dir, e.X), s.eval(t, dir, e.Y)
		if a.Kind() != constant.Int || b.Kind() != constant.Int {
			break
		}
		if e.Op == token.SHL {
			n, _ := constant.Uint64Val(b)
			return constant.Shift(a, token.SHL, uint(n))
		}
		return constant.BinaryOp(a, e.Op, b)
	}
	return constant.MakeUnknown()
}

// find is the value of a constant of a package, or the default of an option:
// of type owner's, where a package has options of one name in several.
func (s *source) find(t *testing.T, dir, owner, name string) (found constant.Value) {
	t.Helper()
	found = constant.MakeUnknown()
	option := func(e ast.Expr) bool {
		if u, ok := e.(*ast.UnaryExpr); ok && u.Op == token.AND {
			e = u.X
		}
		sel, ok := e.(*ast.SelectorExpr)
		return ok && sel.Sel.Name == name
	}
	take := func(e ast.Expr) {
		if v := s.eval(t, dir, e); found.Kind() == constant.Unknown {
			found = v
		}
	}
	for _, f := range s.files(t, dir) {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && owner != "" && !touches(fn, owner) {
				continue
			}
			ast.Inspect(d, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.ValueSpec: // const name = value
					for i, id := range n.Names {
						if id.Name == name && i < len(n.Values) {
							take(n.Values[i])
						}
					}
				case *ast.CompositeLit: // {&c.name, value}, {"name", &c.name, value, ...}
					for i, e := range n.Elts {
						if u, ok := e.(*ast.UnaryExpr); ok && option(u) && i+1 < len(n.Elts) {
							take(n.Elts[i+1])
						}
					}
				case *ast.CallExpr: // cmp.Or(c.name, value), setDefault(&c.name, value)
					if len(n.Args) == 2 && option(n.Args[0]) {
						take(n.Args[1])
					}
				case *ast.AssignStmt: // c.name = value
					if len(n.Lhs) == 1 && n.Tok == token.ASSIGN && option(n.Lhs[0]) {
						take(n.Rhs[0])
					}
				}
				return true
			})
		}
	}
	return found
}

// touches reports whether a function has to do with a type.
func touches(fn *ast.FuncDecl, typ string) (found bool) {
	ast.Inspect(&ast.FuncDecl{Recv: fn.Recv, Name: fn.Name, Type: fn.Type}, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		found = found || ok && id.Name == typ
		return true
	})
	return found
}

var amount = regexp.MustCompile(`([0-9][0-9,]*) ?(KiB|MiB|bytes|ms|s|h)?(?: |$)`)

// value is the last amount that a cell names: "4 MiB", "one in 10 s".
func value(cell string) (n int64, ok bool) {
	all := amount.FindAllStringSubmatch(cell, -1)
	if len(all) == 0 {
		return 0, false
	}
	m := all[len(all)-1]
	n, err := strconv.ParseInt(strings.ReplaceAll(m[1], ",", ""), 10, 64)
	scale := map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "ms": int64(time.Millisecond), "s": int64(time.Second), "h": int64(time.Hour)}[m[2]]
	return n * max(scale, 1), err == nil
}

// helpDefaults are the programs' flags with their defaults, as --help tells.
func helpDefaults(t *testing.T) map[string]string {
	defs := map[string]string{}
	entry := regexp.MustCompile(`(?s)\n  --([a-z-]+)[^\n]*\n(?:      [^\n]*\n)*?      default ([^,\n]*),`)
	for _, program := range []string{"gatewayd", "roomd"} {
		for _, m := range entry.FindAllStringSubmatch(helpOf(t, program), -1) {
			defs[m[1]] = m[2]
		}
	}
	return defs
}

func sameValue(text string, want int64) bool {
	if d, err := time.ParseDuration(text); err == nil && strings.ContainsAny(text, "hms") {
		return int64(d) == want
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return err == nil && n == want
}

// metricNames are all that the processes register.
func metricNames(t *testing.T) map[string]bool {
	t.Helper()
	r := prometheus.NewRegistry()
	log := zerolog.Nop()
	mesh := link.New(link.Config{Self: "a#1", Cluster: "c", Metrics: r})
	members, err := directory.NewMembers(directory.MembersConfig{Name: "a", Boot: 1, BindAddr: "127.0.0.1", LinkAddr: "127.0.0.1:1",
		Role: directory.RoleHost, Kinds: []string{"k"}, Cluster: "c", Log: log, Metrics: r})
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.New(host.Config{Node: "a#1", Addr: "127.0.0.1:1", Mesh: mesh, Metrics: r, Log: log,
		Store: struct{ snapshot.Store }{}, Kinds: []rooms.Kind{{Name: "k", New: func() rooms.Handler { return nil }}}})
	if err != nil {
		t.Fatal(err)
	}
	coroner := directory.NewCoroner(directory.CoronerConfig{Members: members, Mesh: mesh, Log: log, Metrics: r})
	directory.NewService(directory.ServiceConfig{Members: members, Mesh: mesh, Host: h, Coroner: coroner, Log: log, Metrics: r})
	// A gateway is another process: it has a mesh of its own.
	gwMesh := link.New(link.Config{Self: "g#1", Cluster: "c"})
	directory.NewResolver(directory.ResolverConfig{Members: members, Mesh: gwMesh, Log: log, Metrics: r})
	if _, err := gateway.New(gateway.Config{Mesh: gwMesh, Directory: where{}, Log: log, Metrics: r}); err != nil {
		t.Fatal(err)
	}
	if _, err := auth.New(auth.Config{JWKS: "https://example.org/keys", Log: log, Metrics: r}); err != nil {
		t.Fatal(err)
	}
	isolate.NewMetrics(r)
	pressure.New(pressure.Config{Log: log, Metrics: r})
	pair := certFiles(t)
	if _, err := certs.Server(pair+".pem", pair+"-key.pem", certs.Watch{Log: log, Metrics: r, What: "players"}); err != nil {
		t.Fatal(err)
	}
	if _, err := daemon.NewOps(daemon.OpsFlags{Addr: "127.0.0.1:0"}, log, r); err != nil {
		t.Fatal(err)
	}
	daemon.NewQueryMetrics(r)
	names := map[string]bool{}
	descs := make(chan *prometheus.Desc)
	go func() { r.Describe(descs); close(descs) }()
	for d := range descs {
		name, _, _ := strings.Cut(strings.TrimPrefix(d.String(), `Desc{fqName: "`), `"`)
		names[name] = true
	}
	return names
}

// certFiles makes a certificate and its key at NAME.pem and NAME-key.pem.
func certFiles(t *testing.T) (name string) {
	t.Helper()
	ca, err := certs.NewAuthority("c", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	name = filepath.Join(t.TempDir(), "edge")
	if err := ca.IssueServer([]string{"localhost"}, time.Now(), time.Hour, name+".pem", name+"-key.pem"); err != nil {
		t.Fatal(err)
	}
	return name
}

// where is a directory that is never asked.
type where struct{ gateway.Directory }

func TestLimitsDocIsWhatTheCodeSays(t *testing.T) {
	all, flags, metrics := bounds(t), helpDefaults(t), metricNames(t)
	if len(all) < 80 {
		t.Fatalf("the document has %d rows", len(all))
	}
	src := &source{packages: map[string][]*ast.File{}}
	seen := map[string]bool{}
	for _, b := range all {
		name := fmt.Sprintf("%q (%s)", b.what, b.code)
		seen[b.code] = true
		want, ok := value(b.def)
		if !ok || b.when == "" {
			t.Errorf("%s: no default, or nothing happens: %q, %q", name, b.def, b.when)
			continue
		}
		at := strings.LastIndex(b.code, "/") + 1
		dir, path, _ := strings.Cut(b.code[at:], ".")
		owner, last, ok := strings.Cut(path, ".")
		if !ok {
			owner, last = "", path
		}
		switch v := src.find(t, b.code[:at]+dir, owner, last); {
		case last == "stuckAfter": // so many looks, 250 ms apart
		case v.Kind() != constant.Int:
			t.Errorf("%s: the code says nothing", name)
		default:
			if got, _ := constant.Int64Val(v); got != want {
				t.Errorf("%s: default %s is %d, the code says %d", name, b.def, want, got)
			}
		}
		if def, ok := flags[b.flag]; b.flag != "" && (!ok || !sameValue(def, want)) {
			t.Errorf("%s: --%s has default %q, want %d", name, b.flag, def, want)
		}
		for _, m := range b.metrics {
			if !metrics[m] {
				t.Errorf("%s: no metric %s", name, m)
			}
		}
	}
	for _, field := range limitsFields(t, src) {
		if !seen["gateway."+field] {
			t.Errorf("gateway.Limits.%s has no row", field)
		}
	}
}

// limitsFields are the gateway's bounds, each of which the document must list.
func limitsFields(t *testing.T, src *source) (names []string) {
	t.Helper()
	for _, f := range src.files(t, "gateway") {
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || spec.Name.Name != "Limits" {
				return true
			}
			for _, field := range spec.Type.(*ast.StructType).Fields.List {
				for _, id := range field.Names {
					names = append(names, id.Name)
				}
			}
			return false
		})
	}
	if len(names) == 0 {
		t.Fatal("no type Limits")
	}
	return names
}
