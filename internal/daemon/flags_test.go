package daemon

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"
)

type testSettings struct {
	addr string
	join []string
	n    int
	wait time.Duration
	demo bool
}

func parse(t *testing.T, env map[string]string, args ...string) (s testSettings, f *Flags, out, errOut string, status int, ok bool) {
	t.Helper()
	var o, e bytes.Buffer
	f = NewFlags("testd", "Tests flags.")
	f.Out, f.Err, f.Env = &o, &e, func(k string) string { return env[k] }
	f.String(&s.addr, "listen-at", "127.0.0.1:1", "HOST:PORT", "where to listen", Addr)
	f.List(&s.join, "join", "HOST:PORT", "whom to join", Addr)
	f.Int(&s.n, "count", 3, 1, 9, "how many")
	f.Duration(&s.wait, "wait", time.Second, 0, time.Minute, "how long")
	f.Bool(&s.demo, "demo", "show something")
	status, ok = f.Parse(args)
	return s, f, o.String(), e.String(), status, ok
}

func TestFlagBeforeEnvironmentBeforeDefault(t *testing.T) {
	env := map[string]string{"LIMPET_LISTEN_AT": "127.0.0.1:2", "LIMPET_COUNT": "4", "LIMPET_DEMO": "true", "LIMPET_JOIN": "a:1,b:2", "LIMPET_WAIT": ""}
	s, f, _, errOut, _, ok := parse(t, env, "--count", "5", "-join=c:3", "--join", "d:4, e:5")
	if !ok {
		t.Fatal(errOut)
	}
	if s.addr != "127.0.0.1:2" || s.n != 5 || !s.demo || s.wait != time.Second {
		t.Errorf("got %+v", s)
	}
	if want := []string{"c:3", "d:4", "e:5"}; !slices.Equal(s.join, want) {
		t.Errorf("join is %v, want the flags' alone: %v", s.join, want)
	}
	given := f.Given()
	if len(given) != 4 || given["count"] != "5" {
		t.Errorf("given is %v", given)
	}
	if _, there := given["wait"]; there {
		t.Error("an empty variable counts as given")
	}
}

func TestEnvironmentGivesLists(t *testing.T) {
	s, _, _, errOut, _, ok := parse(t, map[string]string{"LIMPET_JOIN": "a:1, b:2"})
	if !ok || !slices.Equal(s.join, []string{"a:1", "b:2"}) {
		t.Errorf("join is %v (%s)", s.join, errOut)
	}
}

func TestBadValuesAreOneLineAndStatusTwo(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		args []string
		says string
	}{
		{nil, []string{"--count", "x"}, `--count: "x": want a whole number from 1 to 9`},
		{nil, []string{"--count", "10"}, "--count"},
		{nil, []string{"--wait", "soon"}, "--wait"},
		{nil, []string{"--listen-at", "nonsense -port: \n"}, "--listen-at"},
		{nil, []string{"--demo=perhaps"}, "--demo"},
		{nil, []string{"--count"}, "--count needs a value"},
		{nil, []string{"--nope"}, "unknown flag --nope"},
		{nil, []string{"operand"}, `unexpected argument "operand"`},
		{map[string]string{"LIMPET_COUNT": "x"}, nil, `LIMPET_COUNT: "x"`},
		{map[string]string{"LIMPET_DEMO": "x"}, nil, "LIMPET_DEMO"},
	} {
		_, _, out, errOut, status, ok := parse(t, c.env, c.args...)
		if ok || status != ExitUsage {
			t.Errorf("%q %v: ok %v, status %d", c.args, c.env, ok, status)
		}
		if strings.Count(errOut, "\n") != 1 || !strings.HasPrefix(errOut, "testd: ") || !strings.Contains(errOut, c.says) {
			t.Errorf("%q %v: says %q, want a line with %q", c.args, c.env, errOut, c.says)
		}
		if out != "" {
			t.Errorf("%q: standard output has %q", c.args, out)
		}
	}
}

func TestHelpTellsEverySettingWithDefaultAndVariable(t *testing.T) {
	_, f, out, errOut, status, ok := parse(t, nil, "--help")
	if ok || status != 0 || errOut != "" {
		t.Fatalf("ok %v, status %d, errors %q", ok, status, errOut)
	}
	for _, s := range f.order {
		if !strings.Contains(out, "--"+s.name) || !strings.Contains(out, "variable "+EnvName(s.name)) {
			t.Errorf("help says nothing of --%s:\n%s", s.name, out)
		}
	}
	for _, want := range []string{"default 127.0.0.1:1", "default 3", "default 1s", "default false", "Tests flags."} {
		if !strings.Contains(out, want) {
			t.Errorf("help lacks %q:\n%s", want, out)
		}
	}
}

func TestGivenMasksPasswords(t *testing.T) {
	var url string
	f := NewFlags("testd", "")
	f.Env = func(string) string { return "" }
	f.String(&url, "redis", "", "URL", "store")
	if _, ok := f.Parse([]string{"--redis", "redis://u:secret@127.0.0.1:1/0"}); !ok {
		t.Fatal("refused")
	}
	if got := f.Given()["redis"]; strings.Contains(got, "secret") || !strings.Contains(got, "127.0.0.1") {
		t.Errorf("given shows %q", got)
	}
}

// Operands may stand anywhere; behind "--" all are.
func TestOperandsStandAnywhere(t *testing.T) {
	for _, c := range []struct {
		args, want string
		says       string // the one line where they are refused
	}{
		{"a b --rate 7", "a b", ""},
		{"--rate 7 a b", "a b", ""},
		{"a --rate=7 b", "a b", ""},
		{"a --rate 7 -- --b", "a --b", ""},
		{"a --rate 7", "", "want ROOM HOST"},
		{"a b --rate 7 c", "", `unexpected argument "c"`},
		{"a --rat 7 b", "", "unknown flag --rat"},
	} {
		var errOut bytes.Buffer
		rate := 0
		f := NewFlags("prog", "Does.")
		f.Err, f.Env = &errOut, func(string) string { return "" }
		f.Operands("ROOM HOST", 2, 2)
		f.Int(&rate, "rate", 1, 1, 9, "how fast")
		status, ok := f.Parse(strings.Fields(c.args))
		switch {
		case c.says != "":
			if ok || status != ExitUsage || errOut.String() != "prog: "+c.says+" (see prog --help)\n" {
				t.Errorf("%q: status %d, %q", c.args, status, errOut.String())
			}
		case !ok || strings.Join(f.Args(), " ") != c.want || rate != 7:
			t.Errorf("%q: operands %q, rate %d, %s", c.args, f.Args(), rate, errOut.String())
		}
	}
}
