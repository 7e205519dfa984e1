package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/limpet-games/limpet/internal/certs"
	"github.com/limpet-games/limpet/internal/daemon"
)

// certsFlags are the settings of limpet certs.
type certsFlags struct {
	dir, cluster, role string
	hosts              []string
	good               time.Duration
}

const (
	caCert = "ca.pem"
	caKey  = "ca-key.pem"
)

// runCerts makes a private CA and signs certificates with it.
func runCerts(_ context.Context, args []string, std streams) int {
	s := certsFlags{}
	f := daemon.NewFlags("limpet certs", `Makes the certificates of a cluster.

  limpet certs ca                a CA: ca.pem, and ca-key.pem to be kept offline
  limpet certs node NAME         NAME.pem and NAME-key.pem, for links between
                                 processes (--role says which kind of process)
  limpet certs server NAME       NAME.pem and NAME-key.pem, for a listener that
                                 is reached under --hosts

Files that are there already are left alone, and said so.`)
	f.Out, f.Err = std.out, std.err
	f.String(&s.dir, "dir", ".", "DIR", "where the files are")
	f.String(&s.cluster, "cluster", "limpet", "LABEL", "the cluster's label, as its processes are given it")
	f.String(&s.role, "role", "host", "ROLE", "what the node is: gateway or host", daemon.OneOf("gateway", "host"))
	f.List(&s.hosts, "hosts", "NAME", "names and IP addresses of a server's certificate")
	f.Duration(&s.good, "good-for", 365*24*time.Hour, time.Minute, 50*365*24*time.Hour, "how long the certificate is good; a CA ten times as long")
	f.Operands("ca | node NAME | server NAME", 1, 2)
	if status, ok := f.Parse(args); !ok {
		return status
	}
	made, err := s.make(f.Args())
	var use usageError
	switch {
	case errors.As(err, &use):
		return f.Bad(err)
	case err != nil:
		fmt.Fprintf(std.err, "limpet certs: %v\n", err)
		return 1
	}
	for _, path := range made {
		fmt.Fprintln(std.out, path)
	}
	return 0
}

type usageError struct{ error }

// make makes what is asked for and returns the files' paths.
func (s *certsFlags) make(ops []string) ([]string, error) {
	what, name := ops[0], ""
	if len(ops) > 1 {
		name = ops[1]
	}
	path := func(file string) string { return filepath.Join(s.dir, file) }
	cert, key := path(name+".pem"), path(name+"-key.pem")
	switch {
	case what == "ca" && name == "":
		ca, err := certs.NewAuthority(s.cluster, time.Now(), min(10*s.good, 50*365*24*time.Hour))
		if err != nil {
			return nil, err
		}
		if err := os.MkdirAll(s.dir, 0o700); err != nil {
			return nil, fmt.Errorf("make directory: %w", err)
		}
		return []string{path(caCert), path(caKey)}, ca.Write(path(caCert), path(caKey))
	case (what != "node" && what != "server") || name == "":
		return nil, usageError{errors.New("want ca, node NAME or server NAME")}
	case daemon.NodeName(name) != nil:
		return nil, usageError{daemon.NodeName(name)}
	case what == "server" && len(s.hosts) == 0:
		return nil, usageError{errors.New("a server's certificate needs --hosts")}
	}
	ca, err := certs.ReadAuthority(path(caCert), path(caKey))
	if err != nil {
		return nil, fmt.Errorf("%w (limpet certs ca makes a CA)", err)
	}
	if what == "server" {
		err = ca.IssueServer(s.hosts, time.Now(), s.good, cert, key)
	} else {
		err = ca.IssueNode(certs.Name{Cluster: s.cluster, Role: s.role, Node: name}, time.Now(), s.good, cert, key)
	}
	return []string{cert, key}, err
}
