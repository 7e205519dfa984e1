package daemon

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// maxSecrets bounds the secrets in a key file: one, and another while it takes
// over from the first.
const maxSecrets = 4

// keyEvery is how often the key file is looked at.
const keyEvery = time.Second

// Keyring holds the keys of a cluster's secrets: those of the first are used,
// those of all are taken. It follows the key file, so that a secret can be
// changed while nobody stops. A nil Keyring holds none.
type Keyring struct {
	path    string
	log     zerolog.Logger
	writing sync.Mutex // one change of the file at a time

	mu       sync.Mutex
	stamp    os.FileInfo // guarded by mu, as is the rest
	sets     []Keys      // never empty
	onChange []func(now []Keys)
}

// readKeyring reads a key file: a line a secret.
func readKeyring(path string, log zerolog.Logger) (*Keyring, error) {
	k := &Keyring{path: path, log: log, stamp: stampOf(path)}
	var err error
	k.sets, err = readSecrets(path)
	return k, err
}

func readSecrets(path string) (sets []Keys, err error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read secret: %w", err)
	}
	for line := range strings.Lines(string(raw)) {
		secret := secretOf(line)
		if secret == "" {
			continue
		}
		if len(secret) < minSecret {
			return nil, fmt.Errorf("secret in %s has %d bytes: want at least %d", path, len(secret), minSecret)
		}
		keys, err := DeriveKeys([]byte(secret))
		if err != nil {
			return nil, err
		}
		sets = append(sets, keys)
	}
	if len(sets) == 0 || len(sets) > maxSecrets {
		return nil, fmt.Errorf("%s has %d secrets: want 1 to %d, a line each and of at least %d bytes", path, len(sets), maxSecrets, minSecret)
	}
	return sets, nil
}

// secretOf is the secret in a line, "" where it has none.
func secretOf(line string) string {
	if line = strings.TrimSpace(line); strings.HasPrefix(line, "#") {
		return ""
	}
	return line
}

// IDs are the secrets' names, that of the first one first.
func (k *Keyring) IDs() []string {
	var ids []string
	for _, id := range k.each(func(s Keys) []byte { return []byte(s.ID) }) {
		ids = append(ids, string(id))
	}
	return ids
}

// First are the keys that are used; empty where there is no secret.
func (k *Keyring) First() Keys {
	if k == nil {
		return Keys{}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.sets[0]
}

// each picks one key of every secret's, that of the first one first.
func (k *Keyring) each(pick func(Keys) []byte) (all [][]byte) {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.sets {
		all = append(all, pick(s))
	}
	return all
}

// Links are the keys of links.
func (k *Keyring) Links() [][]byte { return k.each(func(s Keys) []byte { return s.Link }) }

// Tokens are the keys of resume tokens.
func (k *Keyring) Tokens() [][]byte { return k.each(func(s Keys) []byte { return s.Token }) }

// Tickets are the keys of TLS sessions.
func (k *Keyring) Tickets() [][]byte { return k.each(func(s Keys) []byte { return s.Ticket }) }

// Gossip are the keys of gossip.
func (k *Keyring) Gossip() [][]byte { return k.each(func(s Keys) []byte { return s.Gossip }) }

// OnChange has f called with other keys than before. Call it before Run.
func (k *Keyring) OnChange(f func(now []Keys)) {
	if k != nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.onChange = append(k.onChange, f)
	}
}

// Run follows the file until ctx is done.
func (k *Keyring) Run(ctx context.Context) error {
	t := time.NewTicker(keyEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			k.look()
		}
	}
}

// look reads the file again if it has changed. One that can't be read leaves
// the keys as they are.
func (k *Keyring) look() {
	k.mu.Lock()
	stamp := stampOf(k.path)
	if sameFile(stamp, k.stamp) {
		k.mu.Unlock()
		return
	}
	k.stamp = stamp
	sets, err := readSecrets(k.path)
	if err == nil {
		k.sets = sets
	}
	tell := k.onChange
	k.mu.Unlock()
	if err != nil {
		k.log.Warn().Err(err).Msg("changed --cluster-key-file not taken: the secrets known before stay")
		return
	}
	k.log.Info().Int("secrets", len(sets)).Msg("changed --cluster-key-file taken")
	for _, f := range tell {
		f(sets)
	}
}
