package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/limpet-games/limpet/internal/daemon"
	"github.com/limpet-games/limpet/rooms/host"
)

// offline has a room host's program read a store: this one with the sample
// games, or what --roomd names.
func offline(what string) func(context.Context, []string, streams) int {
	return func(ctx context.Context, args []string, s streams) int {
		roomd, rest, err := cutRoomd(args)
		if err != nil {
			fmt.Fprintf(s.err, "limpet %s: %v\n", what, err)
			return daemon.ExitUsage
		}
		rest = append([]string{what}, rest...)
		if roomd == "" {
			return host.OfflineCommand("limpet", rest, s.out, s.err, kinds()...)
		}
		status, err := runOther(ctx, roomd, rest, s)
		if err != nil {
			fmt.Fprintf(s.err, "limpet %s: %v\n", what, err)
			return 1
		}
		return status
	}
}

// cutRoomd takes --roomd PACKAGE-OR-BINARY out of the arguments.
func cutRoomd(args []string) (roomd string, rest []string, err error) {
	for i := 0; i < len(args); i++ {
		name, value, given := strings.Cut(args[i], "=")
		switch {
		case name != "--roomd" && name != "-roomd":
			rest = append(rest, args[i])
		case given:
			roomd = value
		case i+1 < len(args):
			i++
			roomd = args[i]
		default:
			return "", nil, errors.New("--roomd: PACKAGE-OR-BINARY is missing")
		}
	}
	return roomd, rest, nil
}

// runOther runs a room host's program, which is built first where it is a
// package.
func runOther(ctx context.Context, roomd string, args []string, s streams) (int, error) {
	info, err := os.Stat(roomd)
	binary := roomd
	if err == nil && info.Mode().IsRegular() {
		if binary, err = filepath.Abs(roomd); err != nil {
			return 1, err
		}
	} else {
		dir, err := os.MkdirTemp("", "limpet-roomd-")
		if err != nil {
			return 1, fmt.Errorf("make directory for the build: %w", err)
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "roomd")
		build := exec.CommandContext(ctx, "go", "build", "-o", binary, roomd)
		if info != nil && info.IsDir() { // it may be in a module of its own
			build = exec.CommandContext(ctx, "go", "build", "-o", binary, ".")
			build.Dir = roomd
		}
		if report, err := build.CombinedOutput(); err != nil {
			return 1, fmt.Errorf("build %s: %w\n%s", roomd, err, report)
		}
	}
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.in, s.out, s.err
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 1, fmt.Errorf("run %s: %w", roomd, err)
	}
	return 0, nil
}
