package daemon

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// Role is what an operator may do. Each holds what those before it do.
type Role uint8

// The roles.
const (
	RoleNone    Role = iota
	RoleRead         // status, rooms, metrics
	RoleDrain        // move rooms, drain and restart hosts: players notice next to nothing
	RoleDestroy      // what ends rooms or memberships, and profiles, which hold memory
)

var roleNames = [...]string{"none", "read", "drain", "destroy"}

// String is the role's name, as token files have it.
func (r Role) String() string { return roleNames[min(int(r), len(roleNames)-1)] }

// OpsToken is one operator's token. Of the token itself only the hash is kept.
type OpsToken struct {
	Role Role
	Name string // for the audit log; the role's name where the file has none

	sum [sha256.Size]byte
}

// maxOpsTokens and maxOpsTokenFile bound a token file.
const (
	maxOpsTokens    = 64
	maxOpsTokenFile = 64 << 10
)

// ReadOpsTokens reads a token file: a line a token, as
//
//	ROLE TOKEN [NAME]
//
// where ROLE is read, drain or destroy, or a token alone, which may everything.
// Empty lines and those that begin with # are passed over. best is the token
// that may most, for those who use the file to ask with.
func ReadOpsTokens(path string) (all []OpsToken, best string, err error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, "", fmt.Errorf("read tokens: %w", err)
	}
	if len(raw) > maxOpsTokenFile {
		return nil, "", fmt.Errorf("tokens in %s: %d bytes, want at most %d", path, len(raw), maxOpsTokenFile)
	}
	top := RoleNone
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		t, text, err := opsToken(fields)
		if err != nil {
			return nil, "", fmt.Errorf("%s line %d: %w", path, n, err)
		}
		if all = append(all, t); len(all) > maxOpsTokens {
			return nil, "", fmt.Errorf("%s has more than %d tokens", path, maxOpsTokens)
		}
		if t.Role > top {
			top, best = t.Role, text
		}
	}
	if err := lines.Err(); err != nil {
		return nil, "", fmt.Errorf("read tokens of %s: %w", path, err)
	}
	if len(all) == 0 {
		return nil, "", fmt.Errorf("%s has no token: want lines like: read TOKEN, of at least %d bytes each", path, minSecret)
	}
	return all, best, nil
}

func opsToken(fields []string) (t OpsToken, text string, err error) {
	if len(fields) == 1 {
		t.Role, text = RoleDestroy, fields[0]
	} else {
		switch fields[0] {
		case "read":
			t.Role = RoleRead
		case "drain":
			t.Role = RoleDrain
		case "destroy":
			t.Role = RoleDestroy
		default: // which may be a token: it is not told
			return t, "", fmt.Errorf("want ROLE TOKEN [NAME] with read, drain or destroy for ROLE, or a token alone")
		}
		text = fields[1]
	}
	t.Name = t.Role.String()
	switch {
	case len(text) < minSecret:
		return t, "", fmt.Errorf("token of %d bytes: want at least %d", len(text), minSecret)
	case len(fields) > 3:
		return t, "", fmt.Errorf("%d words: want ROLE TOKEN [NAME]", len(fields))
	case len(fields) == 3:
		if t.Name = fields[2]; len(t.Name) > 64 {
			return t, "", fmt.Errorf("name of %d bytes: want at most 64", len(t.Name))
		}
	}
	t.sum = sha256.Sum256([]byte(text))
	return t, text, nil
}

// opsTokens are a file's tokens, read again when it has changed.
type opsTokens struct {
	path string
	warn func(error)

	mu      sync.Mutex
	all     []OpsToken  // guarded by mu, as is the rest
	stamp   os.FileInfo // nil: there was none
	checked time.Time
}

// tokensEvery is how often the file is looked at, at most.
const tokensEvery = time.Second

func newOpsTokens(path string, warn func(error)) (*opsTokens, error) {
	t := &opsTokens{path: path, warn: warn, stamp: stampOf(path), checked: time.Now()}
	var err error
	t.all, _, err = ReadOpsTokens(path)
	return t, err
}

// current are the tokens, those known before where the file can't be read.
func (t *opsTokens) current() []OpsToken {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.checked) < tokensEvery {
		return t.all
	}
	t.checked = time.Now()
	stamp := stampOf(t.path)
	if sameFile(stamp, t.stamp) {
		return t.all
	}
	t.stamp = stamp
	all, _, err := ReadOpsTokens(t.path)
	if err != nil {
		t.warn(err)
		return t.all
	}
	t.all = all
	return all
}

// find is the token that a request bears. The time it takes tells nothing of
// where a wrong one differs.
func (t *opsTokens) find(r *http.Request) (found OpsToken, ok bool) {
	given, isBearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	sum := sha256.Sum256([]byte(given))
	for _, one := range t.current() {
		if subtle.ConstantTimeCompare(sum[:], one.sum[:]) == 1 && one.Role > found.Role {
			found = one
		}
	}
	return found, isBearer && found.Role != RoleNone
}

func stampOf(path string) os.FileInfo {
	st, err := os.Stat(path)
	if err != nil {
		return nil
	}
	return st
}

// sameFile reports whether a file seems not to have changed between two looks.
func sameFile(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == b
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
