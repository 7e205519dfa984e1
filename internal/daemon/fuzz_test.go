package daemon

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// FuzzSettings feeds flags and variables: a value is taken within its bounds, or
// refused in one line with status 2.
func FuzzSettings(f *testing.F) {
	f.Add("--number=7\n--wait=3s\n--name=a", "10.0.0.1:80", "5")
	f.Add("--list=a,b\n--list\nc", "x", "-1")
	f.Add("--help", "", "")
	f.Add("--switch=perhaps\nrest", "[::]:99999", "1e9")
	f.Fuzz(func(t *testing.T, args, addr, number string) {
		var out bytes.Buffer
		fl := NewFlags("fuzzed", "")
		fl.Out, fl.Err = &out, &out
		fl.Env = func(name string) string {
			return map[string]string{"LIMPET_ADDR": addr, "LIMPET_NUMBER": number}[name]
		}
		var n int
		var wait time.Duration
		var name, at string
		var list []string
		var on bool
		fl.Int(&n, "number", 5, 1, 10, "")
		fl.Duration(&wait, "wait", time.Second, 0, time.Minute, "")
		fl.String(&name, "name", "me", "NAME", "", NodeName)
		fl.String(&at, "addr", "127.0.0.1:1", "HOST:PORT", "", Addr)
		fl.List(&list, "list", "WORD", "", OneOf("a", "b", "c"))
		fl.Bool(&on, "switch", "")
		status, ok := fl.Parse(strings.Split(args, "\n"))
		switch {
		case ok && (n < 1 || n > 10 || wait < 0 || wait > time.Minute || NodeName(name) != nil || Addr(at) != nil):
			t.Errorf("taken: %d %v %q %q", n, wait, name, at)
		case ok:
			fl.Given()
		case status == ExitUsage && strings.Count(out.String(), "\n") != 1:
			t.Errorf("not one line: %q", out.String())
		case status != ExitUsage && status != 0:
			t.Errorf("status %d", status)
		}
	})
}

// FuzzTokenFile feeds a file of operators' tokens: none that is taken is short,
// and no error shows one.
func FuzzTokenFile(f *testing.F) {
	f.Add([]byte(roleFile))
	f.Add([]byte("an-old-token-alone\n"))
	f.Add([]byte("read\tshort\n\x00"))
	path := filepath.Join(f.TempDir(), "tokens")
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		all, best, err := ReadOpsTokens(path)
		if err == nil && (len(all) == 0 || len(all) > maxOpsTokens || len(best) < minSecret) {
			t.Errorf("%d tokens, the best of %d bytes", len(all), len(best))
		}
		for _, one := range all {
			if one.Role == RoleNone || one.Role > RoleDestroy || one.Name == "" {
				t.Errorf("token %+v", one)
			}
		}
	})
}
