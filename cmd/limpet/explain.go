package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"

	"github.com/limpet-games/limpet/internal/daemon"
	"github.com/limpet-games/limpet/internal/explain"
)

func runExplain(ctx context.Context, args []string, std streams) int {
	var o opsFlags
	f := daemon.NewFlags("limpet explain", "Asks every node what it believes about a room: who owns its partition, where the directory, "+
		"the gateways and the store have it, and which copies live; and says where they disagree, and what will end that. "+
		"Exit status 3: nodes disagree, or some did not answer.")
	f.Operands("KIND/ROOM", 1, 1)
	o.register(f)
	if status, ok := o.parse(f, args, std); !ok {
		return status
	}
	if err := checkOperands("KIND/ROOM", f.Args()); err != nil {
		return f.Bad(err)
	}
	var e explain.Explanation
	err := o.call(ctx, "/v1/explain?room="+url.QueryEscape(f.Args()[0]), nil, &e)
	switch {
	case err != nil:
	case o.json:
		err = printJSON(std.out, e)
	default:
		err = printExplanation(std.out, e)
	}
	switch {
	case err != nil:
		fmt.Fprintf(std.err, "limpet explain: %v\n", err)
		return 1
	case !e.Agree || e.Answered < e.Asked:
		return exitIncomplete
	}
	return 0
}

func printExplanation(out io.Writer, e explain.Explanation) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "%s %s; partition %d\n\n", e.Room, e.Summary, e.Partition)
	fmt.Fprintln(w, "NODE\tOWNERS\tENTRY\tCACHE\tMEMBERS AT\tCOPY\tTHE STORE SAYS")
	for _, b := range e.Nodes {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", nameOf(b.Node), ownersText(b), placeText(b.Entry), placeText(b.Cache), routeText(b.Route), copyText(b.Copy), claimText(b))
	}
	for _, m := range e.Missing {
		fmt.Fprintf(w, "%s\tdid not answer: %s\n", nameOf(m.Node), m.Why)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%d of %d nodes answered %s", e.Answered, e.Asked, nameOf(e.By))
	if e.Agree {
		fmt.Fprint(out, ", and agree\n")
		return nil
	}
	fmt.Fprint(out, ", and disagree:\n")
	for _, f := range e.Findings {
		fmt.Fprintf(out, "\n* %s\n  ends: %s\n", f.What, f.Ends)
	}
	return nil
}

// nameOf is what people call a node.
func nameOf(node string) string { name, _, _ := strings.Cut(node, "#"); return name }

func ownersText(b explain.Belief) string {
	var all []string
	for _, o := range b.Owners {
		all = append(all, nameOf(o))
	}
	return cmp.Or(strings.Join(all, " "), "-")
}

func placeText(p *explain.Place) string {
	if p == nil || p.Node == "" {
		return "-"
	}
	return fmt.Sprintf("%s @%d", nameOf(p.Node), p.Epoch)
}

func routeText(r *explain.Route) string {
	switch {
	case r == nil:
		return "-"
	case r.Finding:
		return fmt.Sprintf("%d wait", r.Members)
	}
	return fmt.Sprintf("%s: %d", placeText(&r.Place), r.Members)
}

func copyText(c *explain.Copy) string {
	switch {
	case c == nil:
		return "-"
	case c.Epoch == 0:
		return c.State
	}
	return fmt.Sprintf("@%d %s, %d of %d connected", c.Epoch, c.State, c.Connected, c.Members)
}

func claimText(b explain.Belief) string {
	c := b.Claim
	switch {
	case b.StoreError != "":
		return "no answer"
	case c == nil:
		return "-"
	case c.None:
		return "no such room"
	case c.Closed:
		return fmt.Sprintf("ended @%d", c.Epoch)
	}
	lease := "its lease runs"
	if !c.LeaseAlive {
		lease = "its lease has ended"
	}
	return fmt.Sprintf("%s @%d, %s; nonce %s, incarnation %d", nameOf(c.Holder), c.Epoch, lease, c.Nonce, c.Incarnation)
}
