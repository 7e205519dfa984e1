package explain

import (
	"fmt"
	"strings"
)

// String says what the claim is, in half a sentence.
func (c *Claim) String() string {
	switch {
	case c.None:
		return "no such room"
	case c.Closed:
		return fmt.Sprintf("a room that ended at epoch %d", c.Epoch)
	}
	return fmt.Sprintf("epoch %d (nonce %s) to %s", c.Epoch, c.Nonce, name(c.process()))
}

// process is the node that holds the claim, NAME#BOOT.
func (c *Claim) process() string {
	process, _, _ := strings.Cut(c.Holder, "/")
	return process
}

// name is what of NAME#BOOT people know.
func name(node string) string { n, _, _ := strings.Cut(node, "#"); return n }

func names(nodes []string) []string {
	all := make([]string, len(nodes))
	for i, n := range nodes {
		all[i] = name(n)
	}
	return all
}

// list names nodes, the first of many.
func list(nodes []string) string {
	const most = 8
	if len(nodes) <= most {
		return strings.Join(names(nodes), ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names(nodes[:most]), ", "), len(nodes)-most)
}
