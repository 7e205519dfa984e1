package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/limpet-games/limpet/internal/daemon"
	"github.com/limpet-games/limpet/internal/explain"
	"github.com/limpet-games/limpet/rooms/host"
)

type rebalanceFlags struct {
	opsFlags
	dryRun, watch, stop bool
	rate                int
}

func (r *rebalanceFlags) flags() *daemon.Flags {
	f := daemon.NewFlags("limpet rebalance", "Has hosts that carry more than the mean move rooms, live, to hosts that carry less, like one that has just joined. "+
		"Rooms that are placed by hash stay, and so do those that moved within the last minute. Exit status 3: some hosts did not answer.")
	r.register(f)
	f.Bool(&r.dryRun, "dry-run", "only say what would go where now")
	f.Bool(&r.watch, "watch", "follow it until no host moves rooms any more")
	f.Bool(&r.stop, "stop", "stop what is under way")
	f.Int(&r.rate, "rate", 10, 1, 100_000, "rooms a second that each host moves, at most")
	return f
}

// balanceAnswer is what the hosts said.
type balanceAnswer struct {
	Hosts    []host.BalanceStatus `json:"hosts"`
	Asked    int                  `json:"asked"`
	Answered int                  `json:"answered"`
	Missing  []explain.Missing    `json:"missing"`
}

func runRebalance(ctx context.Context, args []string, std streams) int {
	var r rebalanceFlags
	f := r.flags()
	if status, ok := r.parse(f, args, std); !ok {
		return status
	}
	if r.dryRun && (r.watch || r.stop) || r.watch && r.stop {
		return f.Bad(errors.New("of --dry-run, --watch and --stop one at a time"))
	}
	a, err := r.run(ctx, std.out)
	switch {
	case err != nil:
		fmt.Fprintf(std.err, "limpet rebalance: %v\n", err)
		return 1
	case a.Answered < a.Asked:
		return exitIncomplete
	}
	return 0
}

func (r *rebalanceFlags) run(ctx context.Context, out io.Writer) (a balanceAnswer, err error) {
	order := daemon.BalanceOrder{DryRun: r.dryRun, Stop: r.stop, Rate: float64(r.rate)}
	if err := r.call(ctx, "/v1/rebalance", order, &a); err != nil {
		return a, err
	}
	for r.watch && a.moving() {
		if !r.json {
			fmt.Fprintln(out, a.progress())
		}
		select {
		case <-ctx.Done():
			return a, ctx.Err()
		case <-time.After(time.Second):
		}
		a = balanceAnswer{}
		if err := r.call(ctx, "/v1/rebalance", nil, &a); err != nil {
			return a, err
		}
	}
	if r.json {
		return a, printJSON(out, a)
	}
	return a, printBalance(out, a)
}

// moving reports whether some host moves rooms.
func (a balanceAnswer) moving() bool {
	for _, h := range a.Hosts {
		if h.State == host.BalanceRunning {
			return true
		}
	}
	return false
}

func (a balanceAnswer) progress() string {
	moved, left := 0, 0
	for _, h := range a.Hosts {
		if h.State == host.BalanceRunning {
			moved, left = moved+h.Moved, left+h.MovesAll
		}
	}
	return fmt.Sprintf("%d rooms moved, about %d to go", moved, left)
}

func printBalance(out io.Writer, a balanceAnswer) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "HOST\tLOAD\tMEAN\tBY ITSELF\tSTATE\tMOVED\tTO MOVE")
	for _, h := range a.Hosts {
		by, state := "no", h.State
		if h.Policy {
			by = "yes"
		}
		if h.Ended != "" {
			state += ": " + h.Ended
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\t%d\t%s\n", nameOf(h.Host), h.Load, h.Mean, by, state, h.Moved, ways(h))
	}
	for _, m := range a.Missing {
		fmt.Fprintf(w, "%s\tdid not answer: %s\n", nameOf(m.Node), m.Why)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\n%d of %d hosts answered\n", a.Answered, a.Asked)
	return err
}

// ways counts a plan's moves by where they go.
func ways(h host.BalanceStatus) string {
	to := map[string]int{}
	for _, m := range h.Moves {
		to[m.To]++
	}
	text := ""
	for _, name := range slices.Sorted(maps.Keys(to)) {
		text += fmt.Sprintf("%d to %s ", to[name], name)
	}
	if more := h.MovesAll - len(h.Moves); more > 0 {
		text += fmt.Sprintf("and %d more", more)
	}
	return cmp.Or(text, "-")
}
