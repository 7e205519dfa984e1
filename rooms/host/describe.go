package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/limpet-games/limpet/internal/daemon"
	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/rooms/internal/actor"
)

// Description is what a room host's program says of itself, without being one.
type Description struct {
	Build string            `json:"build"`
	Kinds []KindDescription `json:"kinds"`
}

// KindDescription is one kind that a program serves.
type KindDescription struct {
	Kind         string `json:"kind"`
	StateVersion uint32 `json:"state_version"`
	// Writes is the version in which it writes rooms until a rollout is confirmed.
	Writes uint32 `json:"writes"`
	OneWay bool   `json:"one_way,omitempty"`
}

// Kind finds a kind, nil where it is not served.
func (d *Description) Kind(name string) *KindDescription {
	for i := range d.Kinds {
		if d.Kinds[i].Kind == name {
			return &d.Kinds[i]
		}
	}
	return nil
}

func describeKinds(kinds map[string]rooms.Kind) Description {
	d := Description{Build: daemon.Version(), Kinds: []KindDescription{}}
	for _, k := range kinds {
		one := KindDescription{Kind: k.Name, StateVersion: k.StateVersion, Writes: k.StateVersion, OneWay: k.OneWay}
		if actor.Downgrades(k) {
			one.Writes--
		}
		d.Kinds = append(d.Kinds, one)
	}
	slices.SortFunc(d.Kinds, func(a, b KindDescription) int { return strings.Compare(a.Kind, b.Kind) })
	return d
}

// describe prints what the program serves, for those who are about to deploy it.
func describe(program string, args []string, out, errOut io.Writer, kinds map[string]rooms.Kind) int {
	f := daemon.NewFlags(program, "Prints the program's build and the kinds that it serves, as JSON.")
	f.Out, f.Err = out, errOut
	if status, ok := f.Parse(args); !ok {
		return status
	}
	if err := json.NewEncoder(out).Encode(describeKinds(kinds)); err != nil {
		fmt.Fprintf(errOut, "%s: %v\n", program, err)
		return 1
	}
	return 0
}

// words are the arguments before the flags, as in limpet roomd: a program that is
// run again takes them first.
func words(args []string) []string {
	n := slices.IndexFunc(args, func(a string) bool { return strings.HasPrefix(a, "-") })
	if n < 0 {
		n = len(args)
	}
	return slices.Clone(args[:n])
}

const (
	describeWithin = 5 * time.Second
	maxDescription = 1 << 20
)

// nextProgram asks the program in this process's file what it is: it may be
// another than the one that runs. One that can't be run does not get to run.
func nextProgram(ctx context.Context) (d Description, err error) {
	path, err := daemon.Program()
	if err != nil {
		return d, fmt.Errorf("find the program to run: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, describeWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, append(words(os.Args[1:]), "describe")...)
	cmd.WaitDelay = time.Second
	raw, err := cmd.Output()
	if err == nil && len(raw) > maxDescription {
		err = fmt.Errorf("it printed %d bytes", len(raw))
	}
	if err == nil {
		err = json.Unmarshal(raw, &d)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %.200s", err, exit.Stderr)
	}
	if err != nil {
		return d, fmt.Errorf("%s does not say what it is: %w", path, err)
	}
	return d, nil
}
