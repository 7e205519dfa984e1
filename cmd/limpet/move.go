package main

import (
	"context"
	"fmt"

	"github.com/limpet-games/limpet/internal/daemon"
)

// moveAnswer is what a host says of a move.
type moveAnswer struct {
	Room  string  `json:"room"`
	From  string  `json:"from"`
	To    string  `json:"to"`
	Epoch uint64  `json:"epoch"`
	Pause float64 `json:"pause_ms"`
}

func runMove(ctx context.Context, args []string, std streams) int {
	var o opsFlags
	f := daemon.NewFlags("limpet move", "Moves a live room to another host: its members see a short pause.")
	f.Operands("KIND/ROOM HOST", 2, 2)
	o.register(f)
	if status, ok := o.parse(f, args, std); !ok {
		return status
	}
	if err := checkOperands("KIND/ROOM HOST", f.Args()); err != nil {
		return f.Bad(err)
	}
	var a moveAnswer
	err := o.call(ctx, "/v1/move", map[string]string{"room": f.Args()[0], "to": f.Args()[1]}, &a)
	switch {
	case err != nil:
		fmt.Fprintf(std.err, "limpet move: %v\n", err)
		return 1
	case o.json:
		err = printJSON(std.out, a)
	default:
		_, err = fmt.Fprintf(std.out, "%s moved from %s to %s in %.1f ms, epoch %d\n", a.Room, a.From, a.To, a.Pause, a.Epoch)
	}
	if err != nil {
		return 1
	}
	return 0
}
