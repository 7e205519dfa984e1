package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/limpet-games/limpet/internal/daemon"
	"github.com/limpet-games/limpet/rooms/host"
	"github.com/limpet-games/limpet/wire"
)

// roomDetail is GET /v1/room.
type roomDetail struct {
	Room    *host.RoomDetail    `json:"room"`
	Tenures []host.Tenure       `json:"tenures"`
	Hosts   daemon.Completeness `json:"hosts"`
}

// roomCommand parses the flags of a command with operands, and runs it.
func roomCommand(ctx context.Context, args []string, std streams, name, usage, about string, more func(*daemon.Flags), run func(context.Context, *opsFlags, []string) error) int {
	var o opsFlags
	f := daemon.NewFlags("limpet "+name, about)
	want := len(strings.Fields(usage))
	f.Operands(usage, want, want)
	o.register(f)
	if more != nil {
		more(f)
	}
	if status, ok := o.parse(f, args, std); !ok {
		return status
	}
	if err := checkOperands(usage, f.Args()); err != nil {
		return f.Bad(err)
	}
	if err := run(ctx, &o, f.Args()); err != nil {
		fmt.Fprintf(std.err, "limpet %s: %v\n", name, err)
		return 1
	}
	return 0
}

// checkOperands refuses what no node needs to be asked about.
func checkOperands(usage string, given []string) error {
	for i, what := range strings.Fields(usage) {
		switch what {
		case "KIND/ROOM":
			if _, err := wire.ParseRoom(given[i]); err != nil {
				return err
			}
		case "MEMBER":
			if _, err := strconv.ParseUint(given[i], 10, 64); err != nil {
				return fmt.Errorf("MEMBER %q: want a number, as limpet room lists it", given[i])
			}
		}
	}
	return nil
}

func runRoom(ctx context.Context, args []string, std streams) int {
	return roomCommand(ctx, args, std, "room", "KIND/ROOM", "Shows one live room: where it is, its members and numbers, and where it was before.", nil,
		func(ctx context.Context, o *opsFlags, given []string) error {
			var d roomDetail
			if err := o.call(ctx, "/v1/room?room="+url.QueryEscape(given[0]), nil, &d); err != nil {
				return err
			}
			if o.json {
				return printJSON(std.out, d)
			}
			return printRoom(std.out, given[0], d)
		})
}

func runClose(ctx context.Context, args []string, std streams) int {
	reason := "closed by the operators"
	return roomCommand(ctx, args, std, "close", "KIND/ROOM", "Ends a room for good. Returns when that is durable.", registerReason(&reason),
		func(ctx context.Context, o *opsFlags, given []string) error {
			return o.act(ctx, std.out, "/v1/close", daemon.RoomOrder{Room: given[0], Reason: reason}, given[0]+" is closed")
		})
}

func runKick(ctx context.Context, args []string, std streams) int {
	reason := "removed by the operators"
	return roomCommand(ctx, args, std, "kick", "KIND/ROOM MEMBER", "Removes a member, by its number, from a room. Returns when that is durable.", registerReason(&reason),
		func(ctx context.Context, o *opsFlags, given []string) error {
			member, err := strconv.ParseUint(given[1], 10, 64)
			if err != nil {
				return err
			}
			return o.act(ctx, std.out, "/v1/kick", daemon.RoomOrder{Room: given[0], Member: member, Reason: reason}, given[1]+" is out of "+given[0])
		})
}

func registerReason(reason *string) func(*daemon.Flags) {
	return func(f *daemon.Flags) { f.String(reason, "reason", *reason, "TEXT", "what the players are told") }
}

// act has something done to a room, and says so.
func (o *opsFlags) act(ctx context.Context, out io.Writer, path string, order daemon.RoomOrder, done string) error {
	var answer json.RawMessage
	if err := o.call(ctx, path, order, &answer); err != nil {
		return err
	}
	if o.json {
		return printJSON(out, answer)
	}
	fmt.Fprintln(out, done)
	return nil
}

func printRoom(out io.Writer, name string, d roomDetail) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	if r := d.Room; r != nil {
		fmt.Fprintf(w, "%s\ton %s, epoch %d, incarnation %d\n", name, r.Host.Name(), r.Epoch, r.Incarnation)
		fmt.Fprintf(w, "members\t%d of %d, %d connected, open %t\n", r.Members, r.Max, r.Connected, r.Open)
		fmt.Fprintf(w, "inputs, ticks\t%d, %d (%d left out)\n", r.Inputs, r.Ticks, r.Skipped)
		fmt.Fprintf(w, "lateness, unsaved\t%.1f ms, %.1f s\n", r.Lateness, r.Unsaved)
		for _, k := range slices.Sorted(maps.Keys(r.Labels)) {
			fmt.Fprintf(w, "label.%s\t%s\n", k, r.Labels[k])
		}
		for _, k := range slices.Sorted(maps.Keys(r.Numbers)) {
			fmt.Fprintf(w, "num.%s\t%g\n", k, r.Numbers[k])
		}
		fmt.Fprintln(w, "\nMEMBER\tUSER\tAPPLIED\tDURABLE\tAWAY")
		for _, m := range r.Roll {
			away := "-"
			if !m.Connected {
				away = fmt.Sprintf("%.0f s", m.Away)
			}
			fmt.Fprintf(w, "%d\t%s\t%d\t%d\t%s\n", m.ID, m.User, m.Applied, m.Durable, away)
		}
	} else {
		fmt.Fprintf(w, "%s\tlives on no host now\n", name)
	}
	fmt.Fprintln(w, "\nHOST\tEPOCH\tBEGAN\tHOW\tENDED\tWHY")
	for _, t := range d.Tenures {
		ended := "-"
		if !t.Ended.IsZero() {
			ended = t.Ended.Local().Format("15:04:05")
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", t.Host, t.Epoch, t.Began.Local().Format("15:04:05"), t.How, ended, t.Why)
	}
	fmt.Fprintf(w, "\n%d of %d hosts answered\n", d.Hosts.Answered, d.Hosts.Asked)
	return w.Flush()
}
