package gatewayd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/limpet-games/limpet/internal/certs"
	"github.com/limpet-games/limpet/internal/daemon"
)

// tlsFlags say how players' connections are kept from being read on the way.
type tlsFlags struct {
	cert, key string
	none      bool
}

func (t *tlsFlags) register(f *daemon.Flags) {
	f.String(&t.cert, "tls-cert", "", "FILE", "certificate that players are shown, in PEM, with those between it and its CA; looked at again when it changes")
	f.String(&t.key, "tls-key", "", "FILE", "the certificate's key")
	f.Bool(&t.none, "insecure-no-tls", "let players on other machines connect in the clear: for behind a proxy that ends TLS, on a network that nobody else reads")
}

// check refuses to let what players send, their tokens too, be read on the way.
func (t *tlsFlags) check(listen string) error {
	switch given := t.cert != "" || t.key != ""; {
	case given && (t.cert == "" || t.key == ""):
		return errors.New("--tls-cert and --tls-key go together")
	case given && t.none:
		return errors.New("--insecure-no-tls and --tls-cert exclude each other: drop one")
	case !given && !t.none && !daemon.Loopback(listen):
		return fmt.Errorf("--listen %s is reachable from other machines: it needs --tls-cert and --tls-key (or --insecure-no-tls, behind a proxy that ends TLS)", listen)
	}
	return nil
}

// open reads the certificate; nil where players speak in the clear.
func (t *tlsFlags) open(listen string, p *daemon.Wiring) (*tls.Config, error) {
	if t.cert == "" {
		if !daemon.Loopback(listen) {
			p.Log.Warn().Msg("--insecure-no-tls: what players send can be read on the way, their tokens too, unless a proxy in front ends TLS")
		}
		return nil, nil
	}
	c, err := certs.Server(t.cert, t.key, certs.Watch{Log: p.Log, Metrics: p.Metrics, What: "players"})
	if err != nil {
		return nil, fmt.Errorf("--tls-cert: %w", err)
	}
	return c, nil
}

// sessionsEvery is how often the keys of TLS sessions are looked at: they change
// with the day, and with the cluster's secrets.
const sessionsEvery = time.Minute

// shareSessions lets players' TLS sessions go on at every gateway of the cluster,
// until ctx is done.
func shareSessions(ctx context.Context, c *tls.Config, keys *daemon.Keyring, log zerolog.Logger) error {
	t := time.NewTicker(sessionsEvery)
	defer t.Stop()
	for {
		if err := certs.ShareSessions(c, keys.Tickets(), time.Now()); err != nil {
			log.Error().Err(err).Msg("keys of TLS sessions not changed")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}
