package certs

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Name says who a process is: in a certificate it is the URI
//
//	spiffe://limpet/CLUSTER/ROLE/NODE
//
// with each part escaped.
type Name struct {
	Cluster string
	Role    string // gateway or host
	Node    string // without its boot
}

// Part separates a node's name from that of a part of it: a kind that a host runs
// in a process of its own, as NODE~KIND.
const Part = "~"

// Covers reports whether a process with this name in its certificate may call
// itself node: by that name, or, of a host, as a part of it.
func (n Name) Covers(node string) bool {
	whole, _, part := strings.Cut(node, Part)
	return whole == n.Node && (!part || n.Role == "host")
}

const trustDomain = "limpet"

// URI is the name as a certificate has it.
func (n Name) URI() *url.URL {
	parts := []string{n.Cluster, n.Role, n.Node}
	path := ""
	for i := range parts {
		path += "/" + url.PathEscape(parts[i])
	}
	plain, err := url.PathUnescape(path)
	if err != nil {
		plain = path
	}
	return &url.URL{Scheme: "spiffe", Host: trustDomain, Path: plain, RawPath: path}
}

// String is the URI.
func (n Name) String() string { return n.URI().String() }

var errNoName = errors.New("certificate does not name a process of a cluster (a URI like spiffe://limpet/CLUSTER/ROLE/NODE)")

// nameOf is the one name in a certificate.
func nameOf(c *x509.Certificate) (Name, error) {
	if len(c.URIs) != 1 || c.URIs[0].Scheme != "spiffe" || c.URIs[0].Host != trustDomain {
		return Name{}, errNoName
	}
	parts := strings.Split(strings.TrimPrefix(c.URIs[0].EscapedPath(), "/"), "/")
	if len(parts) != 3 {
		return Name{}, errNoName
	}
	for i := range parts {
		var err error
		if parts[i], err = url.PathUnescape(parts[i]); err != nil || parts[i] == "" {
			return Name{}, errNoName
		}
	}
	return Name{parts[0], parts[1], parts[2]}, nil
}

// Check says why the name can't be a certificate's.
func (n Name) Check() error {
	switch {
	case n.Cluster == "" || n.Node == "":
		return fmt.Errorf("name %+v: want a cluster and a node", n)
	case strings.Contains(n.Node, Part):
		return fmt.Errorf("node %q: %q is for parts of nodes, which show the certificate of the whole", n.Node, Part)
	case n.Role != "gateway" && n.Role != "host":
		return fmt.Errorf("role %q: want gateway or host", n.Role)
	}
	return nil
}
