package certs

import (
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"time"
)

// sessionDay is how long sessions are sealed with one key. They are taken up
// again for as long as their client keeps them, and the day after at the latest.
const sessionDay = 24 * time.Hour

// ShareSessions has TLS sessions that began at one listener go on at any other
// with the same secrets: a returning client's handshake needs no signature, and no
// certificate to be sent. The first secret seals, all open. Call it again when the
// secrets change, and at least once a day: each day has keys of its own. Sessions
// of TLS 1.2 are not sealed at all: whoever learned the secret could read what was
// recorded of them.
func ShareSessions(c *tls.Config, secrets [][]byte, now time.Time) error {
	var keys [][32]byte
	for _, day := range []time.Time{now, now.Add(-sessionDay), now.Add(sessionDay)} {
		for _, s := range secrets {
			k, err := hkdf.Key(sha256.New, s, nil, fmt.Sprintf("limpet v1 tls session %d", day.Unix()/int64(sessionDay.Seconds())), 32)
			if err != nil {
				return fmt.Errorf("derive key of TLS sessions: %w", err)
			}
			keys = append(keys, [32]byte(k))
		}
	}
	if len(keys) > 0 {
		c.SetSessionTicketKeys(keys)
	}
	return nil
}

// sealSession is tls.Config.WrapSession for listeners.
func sealSession(c *tls.Config) func(tls.ConnectionState, *tls.SessionState) ([]byte, error) {
	return func(cs tls.ConnectionState, s *tls.SessionState) ([]byte, error) {
		if cs.Version < tls.VersionTLS13 {
			return nil, nil
		}
		return c.EncryptTicket(cs, s)
	}
}
