package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/limpet-games/limpet/internal/daemon"
)

type keysFlags struct {
	opsFlags
	add       bool
	use, drop string
}

func (k *keysFlags) flags() *daemon.Flags {
	f := daemon.NewFlags("limpet keys", "Shows which secrets of the cluster each process takes, by name, and changes the secret in three steps, "+
		"each on all processes before the next: --add, --use, --drop. The processes write their key files. "+
		"A step needs the role destroy, and a room host to ask. Exit status 3: not all processes answered, or took the step; it can be done again.")
	k.register(f)
	f.Bool(&k.add, "add", "have all processes take a new random secret beside the one that they use")
	f.String(&k.use, "use", "", "ID", "have all processes use a secret that all take")
	f.String(&k.drop, "drop", "", "ID", "have all processes forget a secret that none uses")
	return f
}

func runKeys(ctx context.Context, args []string, std streams) int {
	var k keysFlags
	f := k.flags()
	if status, ok := k.parse(f, args, std); !ok {
		return status
	}
	order, ok := k.order()
	if !ok {
		return f.Bad(errors.New("of --add, --use and --drop one at a time"))
	}
	a, err := k.run(ctx, order)
	if err == nil {
		err = k.print(std.out, order, a)
	}
	switch {
	case err != nil:
		fmt.Fprintf(std.err, "limpet keys: %v\n", err)
		return 1
	case a.Answered < a.Asked:
		return exitIncomplete
	}
	return 0
}

// order is the step that the flags ask for, the zero value for none.
func (k *keysFlags) order() (o daemon.SecretsOrder, ok bool) {
	n := 0
	for _, s := range []struct {
		given bool
		order daemon.SecretsOrder
	}{{k.add, daemon.SecretsOrder{Do: daemon.SecretAdd}}, {k.use != "", daemon.SecretsOrder{Do: daemon.SecretUse, ID: k.use}},
		{k.drop != "", daemon.SecretsOrder{Do: daemon.SecretDrop, ID: k.drop}}} {
		if s.given {
			o = s.order
			n++
		}
	}
	return o, n <= 1
}

func (k *keysFlags) run(ctx context.Context, order daemon.SecretsOrder) (a daemon.SecretsAnswer, err error) {
	if order.Do == "" {
		return a, k.call(ctx, "/v1/secrets", nil, &a)
	}
	err = errors.New("no node to ask: name a room host with --ops URL")
	for _, url := range k.nodes() {
		var unreachable *net.OpError
		err = k.callNode(ctx, strings.TrimSuffix(url, "/")+"/v1/secrets", order, &a)
		if err == nil || !errors.As(err, &unreachable) && !strings.Contains(err.Error(), daemon.AskAHost) {
			break
		}
	}
	return a, err
}

func (k *keysFlags) print(out io.Writer, order daemon.SecretsOrder, a daemon.SecretsAnswer) error {
	if k.json {
		return printJSON(out, a)
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tROLE\tUSES\tTAKES ALSO")
	for _, n := range a.Nodes {
		uses, also := "none", "-"
		if len(n.Secrets) > 0 {
			uses = n.Secrets[0]
		}
		if len(n.Secrets) > 1 {
			also = strings.Join(n.Secrets[1:], " ")
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", nameOf(n.Node), n.Role, uses, also)
	}
	for _, m := range a.Missing {
		fmt.Fprintf(w, "%s\tdid not: %s\n", nameOf(m.Node), m.Why)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\n%d of %d processes answered; %s\n", a.Answered, a.Asked, nextStep(order, a))
	return err
}

// nextStep is what a change of the secret needs next.
func nextStep(order daemon.SecretsOrder, a daemon.SecretsAnswer) string {
	var rings [][]string
	for _, n := range a.Nodes {
		rings = append(rings, n.Secrets)
	}
	switch {
	case len(a.Missing) > 0:
		return "do that again when all do"
	case len(rings) == 0 || slices.ContainsFunc(rings, func(r []string) bool { return len(r) == 0 }):
		return "some have no --cluster-key-file"
	case slices.ContainsFunc(rings, func(r []string) bool { return !same(r, rings[0]) }):
		return "they differ: mend that first, with --add where one is missing, or in the files"
	case len(rings[0]) == 1:
		return "all use the same: a change begins with --add"
	case order.Do == daemon.SecretAdd:
		return "next: --use " + a.ID
	}
	return "next: --use " + rings[0][1] + ", or to end a change --drop " + rings[0][1] + ", when the resume tokens that it signed have run out"
}

// same reports whether two nodes use the same secret and take the same others.
func same(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a[1:])
	slices.Sort(b[1:])
	return slices.Equal(a, b)
}
