//go:build linux

package netns

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
)

// Network is a bridge with namespaces on it. The program itself has an address
// on it too, and is never cut off. It has to be in a namespace of its own: see
// Enter.
type Network struct {
	id int // the third byte of its addresses

	mu    sync.Mutex
	nodes map[int]*exec.Cmd // what holds each namespace open; guarded by mu
}

// New makes a network with addresses 10.77.ID.x.
func New(id int) (*Network, error) {
	n := &Network{id: id, nodes: map[int]*exec.Cmd{}}
	br := n.bridge()
	return n, run(
		"ip link add "+br+" type bridge",
		"ip addr add "+n.Addr(254)+"/24 dev "+br,
		"ip link set "+br+" up")
}

func (n *Network) bridge() string { return fmt.Sprintf("br%d", n.id) }

// Addr is the address of a node by its number, 1 to 253.
func (n *Network) Addr(node int) string { return fmt.Sprintf("10.77.%d.%d", n.id, node) }

// Add makes a namespace for a node.
func (n *Network) Add(node int) error {
	hold := exec.Command("sleep", "infinity")
	hold.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := hold.Start(); err != nil {
		return fmt.Errorf("hold namespace of node %d: %w", node, err)
	}
	n.mu.Lock()
	n.nodes[node] = hold
	n.mu.Unlock()
	veth := fmt.Sprintf("v%d-%d", n.id, node)
	err := run(
		fmt.Sprintf("ip link add %s type veth peer name eth0 netns %d", veth, hold.Process.Pid),
		"ip link set "+veth+" master "+n.bridge(),
		"ip link set "+veth+" up")
	if err != nil {
		return err
	}
	in := strings.Join(n.Enter(node), " ") + " "
	return run(
		in+"ip link set lo up",
		in+"ip addr add "+n.Addr(node)+"/24 dev eth0",
		in+"ip link set eth0 up",
		in+"nft add table inet cut",
		in+"nft add chain inet cut in { type filter hook input priority 0 ; policy accept ; }")
}

// Enter is what a command is prefixed with to run in a node's namespace.
func (n *Network) Enter(node int) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return []string{tool("nsenter"), fmt.Sprintf("--net=/proc/%d/ns/net", n.nodes[node].Process.Pid)}
}

// Cut drops all packets from some nodes to some others, one way.
func (n *Network) Cut(from, to []int) error {
	var addrs []string
	for _, f := range from {
		addrs = append(addrs, n.Addr(f))
	}
	for _, t := range to {
		in := strings.Join(n.Enter(t), " ") + " "
		if err := run(in + "nft add rule inet cut in ip saddr { " + strings.Join(addrs, ",") + " } drop"); err != nil {
			return err
		}
	}
	return nil
}

// Part drops all packets between two sets of nodes.
func (n *Network) Part(a, b []int) error { return errors.Join(n.Cut(a, b), n.Cut(b, a)) }

// Heal lets everything through again.
func (n *Network) Heal() error {
	n.mu.Lock()
	var nodes []int
	for node := range n.nodes {
		nodes = append(nodes, node)
	}
	n.mu.Unlock()
	var all []error
	for _, node := range nodes {
		all = append(all, run(strings.Join(n.Enter(node), " ")+" nft flush chain inet cut in"))
	}
	return errors.Join(all...)
}

// Close removes the namespaces and the bridge.
func (n *Network) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, hold := range n.nodes {
		hold.Process.Kill()
		hold.Wait()
	}
	run("ip link del " + n.bridge())
}

// run runs commands without a shell: their words are split at spaces.
func run(commands ...string) error {
	for _, c := range commands {
		words := strings.Fields(c)
		out, err := exec.Command(tool(words[0]), words[1:]...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", c, err, bytes.TrimSpace(out))
		}
	}
	return nil
}
