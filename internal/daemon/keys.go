package daemon

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Keys are the secrets of a cluster, all derived from the one in its key file
// and useless for each other's jobs.
type Keys struct {
	Gossip []byte // encrypts gossip
	Link   []byte // proves who may link
	Token  []byte // signs resume tokens
	ID     string // names the secret, and tells next to nothing of it
	Ticket []byte // seals TLS sessions, which all gateways take up again
}

// DeriveKeys makes the keys from the cluster's secret.
func DeriveKeys(secret []byte) (Keys, error) {
	var k Keys
	for _, d := range []struct {
		key *[]byte
		job string
	}{{&k.Gossip, "gossip"}, {&k.Link, "link"}, {&k.Token, "resume token"}, {&k.Ticket, "tls session"}} {
		out, err := hkdf.Key(sha256.New, secret, nil, "limpet v1 "+d.job, 32)
		if err != nil {
			return Keys{}, fmt.Errorf("derive %s key: %w", d.job, err)
		}
		*d.key = out
	}
	var err error
	k.ID, err = secretID(string(secret))
	return k, err
}

// secretID names a secret in eight hex digits.
func secretID(secret string) (string, error) {
	b, err := hkdf.Key(sha256.New, []byte(secret), nil, "limpet v1 name of the secret", 4)
	if err != nil {
		return "", fmt.Errorf("name secret: %w", err)
	}
	return hex.EncodeToString(b), nil
}
