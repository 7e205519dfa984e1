package certs

import (
	"crypto/x509"
	"testing"
	"time"
)

func TestNames(t *testing.T) {
	for _, n := range []Name{{"limpet", "host", "host-1"}, {"a/b %2f", "gateway", "g"}, {"../..", "host", "x y"}} {
		got, err := nameOf(&x509.Certificate{URIs: append(x509.Certificate{}.URIs, n.URI())})
		if err != nil || got != n {
			t.Errorf("%+v as %s comes back as %+v, %v", n, n, got, err)
		}
	}
	for _, bad := range []Name{{"", "host", "h"}, {"c", "admin", "h"}, {"c", "host", ""}} {
		if bad.Check() == nil {
			t.Errorf("%+v passes", bad)
		}
	}
}

// TestWhoIsVerified: only what a CA of the pool has signed, in its time, with a
// name of the cluster.
func TestWhoIsVerified(t *testing.T) {
	ours, err := derived([]byte("ours"))
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := derived([]byte("theirs"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ours.cert)
	certified := func(ca *Authority, n Name) []*x509.Certificate {
		t.Helper()
		pair, err := ca.certify(n)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(pair.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		return []*x509.Certificate{c}
	}
	good := Name{"prod", "host", "h"}
	if n, err := verify(certified(ours, good), roots, sharedAt, "prod"); err != nil || n != good {
		t.Errorf("%+v, %v", n, err)
	}
	for name, c := range map[string]struct {
		chain []*x509.Certificate
		at    time.Time
	}{
		"nobody":          {nil, sharedAt},
		"another key":     {certified(theirs, good), sharedAt},
		"another cluster": {certified(ours, Name{"test", "host", "h"}), sharedAt},
		"another role":    {certified(ours, Name{"prod", "admin", "h"}), sharedAt},
		"the CA itself":   {[]*x509.Certificate{ours.cert}, sharedAt},
		"before its time": {certified(ours, good), sharedFrom.Add(-time.Hour)},
		"a CA in between": {append(certified(theirs, good), theirs.cert), sharedAt},
		"nameless":        {certified(ours, Name{"", "", ""}), sharedAt},
	} {
		if n, err := verify(c.chain, roots, c.at, "prod"); err == nil {
			t.Errorf("%s: taken as %+v", name, n)
		}
	}
	again, err := derived([]byte("ours"))
	if err != nil || !again.cert.Equal(ours.cert) {
		t.Errorf("a key's CA is another each time: %v", err)
	}
}
