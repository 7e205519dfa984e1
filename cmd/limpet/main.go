// Command limpet is what people type: it runs a cluster for development, talks
// to rooms from a shell, and shows what runs where.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/limpet-games/limpet/internal/daemon"
)

func main() { os.Exit(run(os.Args[1:])) }

type command struct {
	name, about string
	run         func(ctx context.Context, args []string) int
}

func commands() []command {
	return []command{
		{"dev", "run gateways and room hosts on this machine", runDev},
		{"join", "join a room: lines in are inputs, events come out as JSON", func(ctx context.Context, args []string) int {
			return runJoin(ctx, args, os.Stdin, os.Stdout, os.Stderr)
		}},
		{"ps", "list gateways, room hosts and rooms", func(ctx context.Context, args []string) int {
			return runPs(ctx, args, os.Stdout, os.Stderr)
		}},
		{"gatewayd", "be a gateway", func(_ context.Context, args []string) int { return runGatewayd(args) }},
		{"roomd", "be a host of the sample rooms", func(_ context.Context, args []string) int { return runRoomd(args) }},
		{"version", "print the version", func(context.Context, []string) int {
			fmt.Printf("limpet %s %s %s/%s\n", daemon.Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return 0
		}},
	}
}

func run(args []string) int {
	if len(args) == 0 {
		help(os.Stderr)
		return daemon.ExitUsage
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		help(os.Stdout)
		return 0
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.run(context.Background(), args[1:])
		}
	}
	fmt.Fprintf(os.Stderr, "limpet: unknown command %q (see limpet help)\n", args[0])
	return daemon.ExitUsage
}

func help(w io.Writer) {
	fmt.Fprint(w, "Limpet hosts multiplayer rooms.\n\nUsage: limpet COMMAND [flags]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-10s %s\n", c.name, c.about)
	}
	fmt.Fprint(w, "\nlimpet COMMAND --help tells more.\n")
}
