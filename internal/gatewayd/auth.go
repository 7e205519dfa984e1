package gatewayd

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"time"

	"github.com/limpet-games/limpet/gateway/auth"
	"github.com/limpet-games/limpet/internal/daemon"
)

// authFlags say who may play.
type authFlags struct {
	keys             []string
	jwks             string
	issuer, audience string
	leeway, refresh  time.Duration
	anonymous        bool
	proxies          []string
}

func (a *authFlags) register(f *daemon.Flags) {
	f.List(&a.keys, "auth-keys", "ALGORITHM:FILE", "keys of the game's tokens (JWT): HS256 with a secret of 32 bytes or more, "+
		"RS256, ES256 or EdDSA with public keys in PEM; looked at again every --auth-refresh", func(s string) error {
		_, err := auth.ParseKeyFile(s)
		return err
	})
	f.String(&a.jwks, "auth-jwks", "", "URL", "JSON Web Key Set with the keys of the game's tokens; https, or http on loopback", keySetURL)
	f.String(&a.issuer, "auth-issuer", "", "TEXT", "issuer that the game's tokens must name (iss); empty: any")
	f.String(&a.audience, "auth-audience", "", "TEXT", "audience that the game's tokens must name (aud); empty: tokens that name one are refused")
	f.Duration(&a.leeway, "auth-leeway", 5*time.Second, 0, 5*time.Minute, "by how much the clock of who issues tokens may differ")
	f.Duration(&a.refresh, "auth-refresh", 5*time.Minute, time.Second, 24*time.Hour, "between looks for new keys")
	f.Bool(&a.anonymous, "insecure-anonymous", "let players in without a token; without it, and without keys, a gateway listens on loopback only")
	f.List(&a.proxies, "trusted-proxies", "CIDR", "proxies whose X-Forwarded-For tells players' addresses", func(s string) error {
		_, err := proxyPrefix(s)
		return err
	})
}

func keySetURL(s string) error {
	u, err := url.Parse(s)
	if s == "" || err == nil && u.Host != "" && u.User == nil && (u.Scheme == "https" || u.Scheme == "http" && daemon.HostIsLoopback(u.Host)) {
		return nil
	}
	return fmt.Errorf("%q: want https://HOST/PATH: keys that come in the clear are anybody's", s)
}

// proxyPrefix reads a CIDR or a single address. Everybody is no proxy.
func proxyPrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return p, fmt.Errorf("%q: want an address or CIDR, like 10.0.0.0/8", s)
	case p.Bits() == 0:
		return p, fmt.Errorf("%q: everybody could then claim any address: name the proxies", s)
	}
	return p.Masked(), nil
}

func (a *authFlags) prefixes() (all []netip.Prefix) {
	for _, s := range a.proxies {
		if p, err := proxyPrefix(s); err == nil {
			all = append(all, p)
		}
	}
	return all
}

func (a *authFlags) keyed() bool { return len(a.keys) > 0 || a.jwks != "" }

// check refuses to be open to everybody without having been told so. A gateway
// behind a proxy is reachable although it listens on loopback.
func (a *authFlags) check(listen string) error {
	switch {
	case a.anonymous && a.keyed():
		return errors.New("--insecure-anonymous and keys for tokens exclude each other: drop one")
	case a.anonymous || a.keyed():
		return nil
	case a.issuer != "" || a.audience != "":
		return errors.New("--auth-issuer and --auth-audience need --auth-keys or --auth-jwks")
	case !daemon.Loopback(listen):
		return fmt.Errorf("--listen %s is reachable from other machines: it needs --auth-keys or --auth-jwks (or --insecure-anonymous)", listen)
	case len(a.proxies) > 0:
		return errors.New("--trusted-proxies makes this gateway reachable from other machines: it needs --auth-keys or --auth-jwks (or --insecure-anonymous)")
	}
	return nil
}

// open reads the keys; nil where everybody may come.
func (a *authFlags) open(p *daemon.Wiring) (*auth.Verifier, error) {
	if !a.keyed() {
		if a.anonymous {
			p.Log.Warn().Msg("--insecure-anonymous: whoever reaches this gateway plays; --auth-keys or --auth-jwks would ask for the game's tokens")
		} else {
			p.Log.Warn().Msg("no --auth-keys or --auth-jwks: players on this machine are let in without a token")
		}
		return nil, nil
	}
	cfg := auth.Config{
		JWKS: a.jwks, Issuer: a.issuer, Audience: a.audience, Leeway: a.leeway, Refresh: a.refresh,
		Log: p.Log, Metrics: p.Metrics,
	}
	if a.leeway == 0 {
		cfg.Leeway = -1
	}
	for _, s := range a.keys {
		f, err := auth.ParseKeyFile(s)
		if err != nil {
			return nil, err
		}
		cfg.Files = append(cfg.Files, f)
	}
	v, err := auth.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("--auth-keys: %w", err)
	}
	if a.issuer == "" || a.audience == "" {
		p.Log.Warn().Msg("without --auth-issuer and --auth-audience, tokens made with the same keys for something else are good here too")
	}
	return v, nil
}
