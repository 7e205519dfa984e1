// Command roomd is the benchmark's room host. Its rooms are set by environment
// variables, its process by roomd's flags.
package main

import (
	"fmt"
	"os"
	"strconv"

	"github.com/limpet-games/limpet/bench/rooms"
	"github.com/limpet-games/limpet/rooms/host"
)

func main() {
	host.Main(rooms.Kinds(rooms.Options{
		Tick: number("BENCH_TICK", 20), Size: number("BENCH_SIZE", 256),
		Messages: number("BENCH_MESSAGES", 1), Reliable: number("BENCH_RELIABLE", 0) != 0,
	})...)
}

func number(name string, def int) int {
	v := os.Getenv(name)
	if v == "" {
		return def
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		fmt.Fprintf(os.Stderr, "roomd: %s=%q: want a whole number\n", name, v)
		os.Exit(2)
	}
	return n
}
