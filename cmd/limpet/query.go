package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/limpet-games/limpet/internal/daemon"
	"github.com/limpet-games/limpet/internal/query"
)

type queryFlags struct {
	opsFlags
	deadline, every time.Duration
	watch           bool
}

func (q *queryFlags) flags() *daemon.Flags {
	f := daemon.NewFlags("limpet query", "Asks all live rooms a question, like 'count, sum(members), p99(lateness) by kind'; "+
		"docs/queries.md tells the language. The answer comes by the deadline and says how much of the cluster it covers. "+
		"Exit status 3: something is missing.")
	f.Operands("QUERY", 1, 1)
	q.register(f)
	f.Duration(&q.deadline, "deadline", daemon.QueryDefault, time.Millisecond, daemon.QueryWithin, "hosts that have not answered by then are missing")
	f.Bool(&q.watch, "watch", "ask again and again, until interrupted")
	f.Duration(&q.every, "every", 2*time.Second, 100*time.Millisecond, time.Hour, "time between two answers of --watch")
	return f
}

// exitIncomplete is the status when hosts are missing in the answer.
const exitIncomplete = 3

func runQuery(ctx context.Context, args []string, std streams) int {
	var q queryFlags
	f := q.flags()
	if status, ok := q.parse(f, args, std); !ok {
		return status
	}
	text := f.Args()[0]
	if _, err := query.Parse(text); err != nil {
		return f.Bad(err)
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	complete, err := q.run(ctx, text, std.out)
	switch {
	case err != nil:
		fmt.Fprintf(std.err, "limpet query: %v\n", err)
		return 1
	case !complete:
		return exitIncomplete
	}
	return 0
}

// run reports whether the answer is complete.
func (q *queryFlags) run(ctx context.Context, text string, out io.Writer) (bool, error) {
	ask := daemon.QueryRequest{Query: text, Deadline: float64(q.deadline.Microseconds()) / 1000}
	for again := false; ; again = true {
		var a daemon.QueryAnswer
		if err := q.call(ctx, "/v1/query", ask, &a); err != nil {
			if again && ctx.Err() != nil {
				return true, nil
			}
			return false, err
		}
		if err := q.print(out, a, again); err != nil || !q.watch {
			return len(a.Hosts.Missing) == 0, err
		}
		select {
		case <-ctx.Done():
			return true, nil
		case <-time.After(q.every):
		}
	}
}

func (q *queryFlags) print(out io.Writer, a daemon.QueryAnswer, again bool) error {
	switch {
	case q.json && q.watch: // one line each, for programs that read along
		return json.NewEncoder(out).Encode(a)
	case q.json:
		return printJSON(out, a)
	case q.watch && isTerminal(out):
		fmt.Fprint(out, "\x1b[H\x1b[2J")
	case again:
		fmt.Fprintln(out)
	}
	return printAnswer(out, a)
}

func printAnswer(out io.Writer, a daemon.QueryAnswer) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, strings.ToUpper(strings.Join(a.Columns, "\t")))
	for _, row := range a.Rows {
		for i, v := range row {
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			fmt.Fprint(w, shown(v))
		}
		fmt.Fprintln(w)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	h := a.Hosts
	fmt.Fprintf(out, "\n%d of %d rooms; %d of %d hosts answered, with %.4g %% of the rooms, in %.1f ms\n",
		a.Matched, a.Rooms, h.Answered, h.Asked, 100*h.Share, a.Took)
	if a.LeftOff > 0 {
		fmt.Fprintf(out, "%d rooms are in groups for which there was no room\n", a.LeftOff)
	}
	if a.Error > 0 {
		fmt.Fprintf(out, "percentiles are within %g %%\n", 100*a.Error)
	}
	for _, m := range h.Missing {
		fmt.Fprintf(out, "missing: %s with about %d rooms: %s\n", m.Host, m.Rooms, m.Why)
	}
	return nil
}

// shown is a value with at most six digits behind the point.
func shown(v query.Value) string {
	if v.Kind != query.Num {
		return v.String()
	}
	s := fmt.Sprintf("%.6f", v.Number)
	return strings.TrimRight(strings.TrimRight(s, "0"), ".")
}
