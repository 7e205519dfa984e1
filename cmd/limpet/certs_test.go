package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/limpet-games/limpet/internal/certs"
)

func TestCertsMakesWhatProcessesTake(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, args := range []string{
		"ca --cluster prod", "node host-1 --cluster prod --role host", "node gateway-1 --cluster prod --role gateway",
		"server edge --hosts game.example,127.0.0.1",
	} {
		status, out, errOut := say(append(append([]string{"certs"}, strings.Fields(args)...), "--dir", dir)...)
		if status != 0 || strings.Count(out, "\n") != 2 {
			t.Fatalf("certs %s: %d, %s%s", args, status, out, errOut)
		}
	}
	watch := certs.Watch{Log: zerolog.Nop(), What: "links"}
	take := func(role, node, cluster string) error {
		_, err := certs.FromFiles(certs.Name{Cluster: cluster, Role: role, Node: node}, at("ca.pem"), at(node+".pem"), at(node+"-key.pem"), watch)
		return err
	}
	for _, c := range []struct {
		role, node, cluster string
		ok                  bool
	}{
		{"host", "host-1", "prod", true}, {"gateway", "gateway-1", "prod", true},
		{"gateway", "host-1", "prod", false}, {"host", "host-1", "test", false},
	} {
		if err := take(c.role, c.node, c.cluster); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, err := certs.Server(at("edge.pem"), at("edge-key.pem"), watch); err != nil {
		t.Error(err)
	}
	for _, key := range []string{"ca-key.pem", "host-1-key.pem", "edge-key.pem"} {
		if st, err := os.Stat(at(key)); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", key, st.Mode(), err)
		}
	}
}

func TestCertsLeavesFilesAlone(t *testing.T) {
	dir := t.TempDir()
	if status, _, errOut := say("certs", "node", "host-1", "--dir", dir); status != 1 || !strings.Contains(errOut, "limpet certs ca") {
		t.Errorf("without a CA: %d, %s", status, errOut)
	}
	say("certs", "ca", "--dir", dir)
	before, _ := os.ReadFile(filepath.Join(dir, "ca-key.pem"))
	if status, _, errOut := say("certs", "ca", "--dir", dir); status != 1 || !strings.Contains(errOut, "exists") {
		t.Errorf("over a CA: %d, %s", status, errOut)
	}
	if after, _ := os.ReadFile(filepath.Join(dir, "ca-key.pem")); string(after) != string(before) || len(before) == 0 {
		t.Error("a CA's key was written over")
	}
	for _, bad := range []string{"", "node", "node a/b --role host", "server edge", "node a --role admin", "user bob"} {
		if status, _, _ := say(append([]string{"certs"}, append(strings.Fields(bad), "--dir", dir)...)...); status != 2 {
			t.Errorf("certs %s: status %d", bad, status)
		}
	}
}
