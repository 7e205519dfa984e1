package dev

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// What this test binary is when it runs as something else; the value says how
// it behaves.
const (
	asNode       = "DEV_TEST_NODE"
	asSupervisor = "DEV_TEST_SUPERVISOR"
)

func TestMain(m *testing.M) {
	if os.Getenv(asSupervisor) != "" {
		supervise(os.Getenv(asSupervisor))
	}
	if how := os.Getenv(asNode); how != "" {
		beNode(how, os.Args[1:])
	}
	goleak.VerifyTestMain(m)
}

// beNode is a node as far as the supervisor can tell. It leaves its pid in
// NAME.pid beside the cluster's key, and NAME.ended when it ends as asked.
func beNode(how string, args []string) {
	flags := map[string]string{}
	for i := range args {
		if i+1 < len(args) {
			flags[args[i]] = args[i+1]
		}
	}
	name, dir := flags["--name"], filepath.Dir(flags["--cluster-key-file"])
	if how == "refuses" {
		fmt.Fprintln(os.Stderr, "testd: --kind: no such kind")
		os.Exit(2)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".pid"), fmt.Append(nil, os.Getpid()), 0o600); err != nil {
		panic(err)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	fmt.Fprintf(os.Stderr, `{"level":"info","message":"up","node":%q}`+"\n", name)
	fmt.Fprintf(os.Stderr, `{"level":"warn","message":"looks odd","node":%q}`+"\n", name)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
	go http.ListenAndServe(flags["--ops"], mux)
	if how == "stubborn" {
		select {}
	}
	<-signals
	os.WriteFile(filepath.Join(dir, name+".ended"), nil, 0o600)
	os.Exit(0)
}

// supervise runs a cluster in the directory until it is killed.
func supervise(dir string) {
	os.Unsetenv(asSupervisor)
	c, err := Open(context.Background(), testConfig(dir))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go func() { time.Sleep(time.Minute); os.Exit(1) }()
	c.Run(context.Background())
	os.Exit(0)
}
