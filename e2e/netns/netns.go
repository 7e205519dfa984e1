//go:build linux

// Package netns runs a program in a network namespace of its own, where it may
// cut connections without anybody else's noticing.
package netns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
)

// inside marks the program that runs in the namespace.
const inside = "E2E_NETNS"

// Enter runs this program again, with the same arguments, in a new namespace
// that has a loopback device alone, and returns its exit status. Called there,
// it returns entered instead. The second program ends with the first.
func Enter() (status int, entered bool, err error) {
	if os.Getenv(inside) != "" {
		return 0, true, exec.Command(tool("ip"), "link", "set", "lo", "up").Run()
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 1, false, fmt.Errorf("start in a network namespace (are user namespaces allowed?): %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			cmd.Process.Signal(s)
		case err := <-ended:
			if exit, ok := errors.AsType[*exec.ExitError](err); ok {
				return max(exit.ExitCode(), 1), false, nil
			}
			return 0, false, err
		}
	}
}

// Cut drops all packets that match one of the rules until Mend. A rule is in
// nft's language, "ip daddr 127.0.0.1 tcp dport 80".
func Cut(ctx context.Context, rules ...string) error {
	var script strings.Builder
	script.WriteString("add table inet faults\nadd chain inet faults out { type filter hook output priority 0; }\n")
	for _, r := range rules {
		fmt.Fprintf(&script, "add rule inet faults out %s drop\n", r)
	}
	return nft(ctx, script.String())
}

// Mend ends all cuts.
func Mend(ctx context.Context) error { return nft(ctx, "delete table inet faults\n") }

func nft(ctx context.Context, script string) error {
	cmd := exec.CommandContext(ctx, tool("nft"), "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}

// tool finds a program where administrators have it, too.
func tool(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	return "/usr/sbin/" + name
}
