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

func main() { os.Exit(run(os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr})) }

// streams are where a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

type command struct {
	name, about string
	run         func(ctx context.Context, args []string, s streams) int
}

func commands() []command {
	return []command{
		{"dev", "run gateways and room hosts on this machine", runDev},
		{"join", "join a room: lines in are inputs, events come out as JSON", func(ctx context.Context, args []string, s streams) int {
			return runJoin(ctx, args, s.in, s.out, s.err)
		}},
		{"rooms", "list the open rooms of a kind, as players may see them", runRooms},
		{"rehearse", "load a store's rooms into a build, read only", offline("rehearse")},
		{"replay", "run a room's journal again, event by event", offline("replay")},
		{"move", "move a live room to another host", runMove},
		{"room", "show a live room, its members, and where it was before", runRoom},
		{"explain", "ask every node what it believes about a room, and say where they disagree", runExplain},
		{"kick", "remove a member from a room", runKick},
		{"close", "end a room for good", runClose},
		{"query", "ask all live rooms a question, and print the answer as a table", runQuery},
		{"drain", "empty a host: its rooms move to others, live", runDrain},
		{"rebalance", "have hosts that carry more than others move rooms to those, live", runRebalance},
		{"restart", "restart a host in place: its rooms wait in shared memory", runRestart},
		{"rollout", "bring out a new build, node by node; halts when it misbehaves", runRollout},
		{"ps", "list gateways, room hosts and rooms", runPs},
		{"keys", "show the cluster's secrets by name, and change them in steps", runKeys},
		{"certs", "make the certificates of a cluster", runCerts},
		{"gatewayd", "be a gateway", runGatewayd},
		{"roomd", "be a host of the sample rooms", runRoomd},
		{"version", "print the version", func(_ context.Context, _ []string, s streams) int {
			fmt.Fprintf(s.out, "limpet %s %s %s/%s\n", daemon.Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return 0
		}},
	}
}

func run(args []string, s streams) int {
	if len(args) == 0 {
		help(s.err)
		return daemon.ExitUsage
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		help(s.out)
		return 0
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.run(context.Background(), args[1:], s)
		}
	}
	fmt.Fprintf(s.err, "limpet: unknown command %q (see limpet help)\n", args[0])
	return daemon.ExitUsage
}

func help(w io.Writer) {
	fmt.Fprint(w, "Limpet hosts multiplayer rooms.\n\nUsage: limpet COMMAND [flags]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-10s %s\n", c.name, c.about)
	}
	fmt.Fprint(w, "\nlimpet COMMAND --help tells more.\n")
}
