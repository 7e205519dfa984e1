package daemon

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/limpet-games/limpet/wire"
)

// Addr checks HOST:PORT, where the host may be empty for all interfaces.
func Addr(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("%q: want HOST:PORT", s)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%q: want a port from 0 to 65535", s)
	}
	return nil
}

// OptionalAddr checks an Addr that may also be empty.
func OptionalAddr(s string) error {
	if s == "" {
		return nil
	}
	return Addr(s)
}

// NodeName checks a node's name, which follows the rules of a room's.
func NodeName(s string) error { return wire.CheckName(s) }

// IP checks an IP address, which may be empty.
func IP(s string) error {
	if s == "" {
		return nil
	}
	if _, err := netip.ParseAddr(s); err != nil {
		return fmt.Errorf("%q: want an IP address", s)
	}
	return nil
}

// HTTPURL checks an http or https URL with a host.
func HTTPURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return fmt.Errorf("%q: want http://HOST:PORT or https://HOST:PORT", s)
	}
	return nil
}

// OneOf checks that a value is one of a few words.
func OneOf(words ...string) func(string) error {
	return func(s string) error {
		for _, w := range words {
			if s == w {
				return nil
			}
		}
		return fmt.Errorf("%q: want %s", s, strings.Join(words, " or "))
	}
}

// Loopback reports whether an address can be reached from this machine alone.
func Loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	return loopbackHost(host)
}

func loopbackHost(host string) bool {
	host = strings.ToLower(strings.Trim(host, "[]"))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// minSecret is the fewest bytes that a secret in a file may have.
const minSecret = 16

// ReadSecret reads a secret from a file, without the white space around it.
func ReadSecret(path string) ([]byte, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read secret: %w", err)
	}
	secret := strings.TrimSpace(string(raw))
	if len(secret) < minSecret {
		return nil, fmt.Errorf("secret in %s has %d bytes: want at least %d", path, len(secret), minSecret)
	}
	return []byte(secret), nil
}

// HostName is the machine's name as a node's name, for defaults.
func HostName() string {
	name, err := os.Hostname()
	if err == nil {
		name, _, _ = strings.Cut(name, ".")
		err = NodeName(name)
	}
	if err != nil {
		return "limpet"
	}
	return name
}

// Advertised is the address under which others reach a bound listener: the
// bound port at host, where that is set; else the bound address, or for a
// wildcard this machine's first address off loopback.
func Advertised(bound net.Addr, host string) (string, error) {
	at, err := netip.ParseAddrPort(bound.String())
	if err != nil {
		return "", fmt.Errorf("advertise %s: %w", bound, err)
	}
	port := strconv.Itoa(int(at.Port()))
	switch {
	case host != "":
		return net.JoinHostPort(host, port), nil
	case !at.Addr().IsUnspecified():
		return bound.String(), nil
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "", fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() {
			return net.JoinHostPort(ip.IP.String(), port), nil
		}
	}
	return "", errors.New("this machine has no address off loopback: set --advertise")
}

func masked(s string) string {
	if u, err := url.Parse(s); err == nil && u.User != nil {
		return u.Redacted()
	}
	return s
}
