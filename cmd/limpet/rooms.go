package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/limpet-games/limpet/client"
	"github.com/limpet-games/limpet/internal/daemon"
	"github.com/limpet-games/limpet/wire"
)

const roomsAbout = `Lists the open rooms of a kind by name, as a player's lobby does: over the
client protocol, from a gateway. It says how many hosts were asked, how many
answered, and what part of their rooms that covers. For all rooms, open or not,
see limpet query and limpet ps.

Exit status: 0 done, 1 the gateways did not answer or refused, 2 bad usage,
3 the list is not complete.`

// browseAgain is the least time between two requests for a page.
const browseAgain = 100 * time.Millisecond

type roomsFlags struct {
	gateways    []string
	filter      filterFlags
	after, file string
	most        int
	json, watch bool
	wait        time.Duration

	kind string
}

func (s *roomsFlags) flags() *daemon.Flags {
	f := daemon.NewFlags("limpet rooms", roomsAbout)
	f.Operands("KIND", 1, 1)
	f.List(&s.gateways, "gateway", "URL", "a gateway, as ws://HOST:PORT; without one, those of limpet dev, or ws://127.0.0.1:8080", checkGateway)
	s.filter.register(f)
	f.String(&s.after, "after", "", "NAME", "begin behind this name")
	f.Int(&s.most, "most", 0, 0, 200, "rooms of a page; 0: all rooms, page by page, or with --watch the first 50")
	f.String(&s.file, "token", "", "FILE", "file with the token for the gateway; read again for each connection")
	f.Bool(&s.json, "json", "print JSON; with --watch a line for each change")
	f.Bool(&s.watch, "watch", "show the list again whenever it changes, until interrupted")
	f.Duration(&s.wait, "wait", 10*time.Second, 0, time.Hour, "how long to wait for a gateway, and for each page")
	return f
}

// runRooms is limpet rooms.
func runRooms(ctx context.Context, args []string, std streams) int {
	var s roomsFlags
	f := s.flags()
	f.Out, f.Err = std.out, std.err
	if status, ok := f.Parse(args); !ok {
		return status
	}
	if err := s.check(f.Args()[0]); err != nil {
		return f.Bad(err)
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	complete, err := s.run(ctx, std.out)
	switch {
	case err != nil:
		fmt.Fprintf(std.err, "limpet rooms: %v\n", err)
		return 1
	case !complete:
		return exitIncomplete
	}
	return 0
}

func (s *roomsFlags) check(kind string) (err error) {
	s.kind = kind
	if err := wire.CheckKind(s.kind); err != nil {
		return err
	}
	if err := s.filter.check(); err != nil {
		return err
	}
	if len(s.after) > wire.MaxRoomNameLen {
		return fmt.Errorf("--after of %d bytes: want at most %d", len(s.after), wire.MaxRoomNameLen)
	}
	if s.file != "" {
		_, err = daemon.ReadSecret(s.file)
	}
	if len(s.gateways) == 0 {
		s.gateways = devGateways()
	}
	return err
}

func (s *roomsFlags) run(ctx context.Context, out io.Writer) (complete bool, err error) {
	dialing, cancel := context.WithTimeout(ctx, s.wait)
	defer cancel()
	c, err := client.Dial(dialing, client.Config{URLs: s.gateways, NewToken: tokenOf(s.file), Agent: "limpet-rooms/" + daemon.Version()})
	if err != nil {
		return false, err
	}
	defer c.Close()
	q := client.Query{Filter: s.filter.asks, After: s.after, Most: uint16(s.most)}
	if s.watch {
		return true, s.follow(ctx, c, q, out)
	}
	l, err := s.pages(ctx, c, q)
	if err != nil {
		return false, err
	}
	return l.Answered == l.Asked, s.print(out, l, false)
}

// pages is one page, or with no bound all of them.
func (s *roomsFlags) pages(ctx context.Context, c *client.Client, q client.Query) (all roomList, err error) {
	if s.most == 0 {
		q.Most = 200
	}
	for {
		p, err := s.page(ctx, c, q)
		if err != nil {
			return all, err
		}
		all.add(p)
		if q.After = p.Next; s.most > 0 || q.After == "" {
			return all, nil
		}
	}
}

// page waits for one page, and asks again where that was too soon after another.
func (s *roomsFlags) page(ctx context.Context, c *client.Client, q client.Query) (client.Page, error) {
	ctx, cancel := context.WithTimeout(ctx, s.wait)
	defer cancel()
	for {
		p, err := c.Browse(ctx, s.kind, q)
		var e *wire.Error
		if !errors.As(err, &e) || e.Code != wire.CodeRateLimited {
			return p, err
		}
		if stop := wait(ctx, max(browseAgain, time.Duration(e.RetryMS)*time.Millisecond)); stop != nil {
			return p, errors.Join(err, stop)
		}
	}
}

func (s *roomsFlags) follow(ctx context.Context, c *client.Client, q client.Query, out io.Writer) error {
	again := false
	var failed error
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err := c.Watch(ctx, s.kind, q, func(p client.Page) {
		var l roomList
		l.add(p)
		if failed = s.print(out, l, again); failed != nil {
			cancel()
		}
		again = true
	})
	if failed != nil || errors.Is(err, context.Canceled) {
		return failed
	}
	return err
}

// roomList is what the command shows, and its JSON.
type roomList struct {
	Rooms    []client.RoomInfo `json:"rooms"`
	Asked    int               `json:"asked"`
	Answered int               `json:"answered"`
	Covered  float64           `json:"covered"`
	Next     string            `json:"next,omitempty"`
}

// add appends a page. The whole is as complete as its worst page.
func (l *roomList) add(p client.Page) {
	if l.Asked == 0 || p.Covered < l.Covered || p.Asked-p.Answered > l.Asked-l.Answered {
		l.Asked, l.Answered, l.Covered = p.Asked, p.Answered, p.Covered
	}
	if l.Rooms == nil {
		l.Rooms = []client.RoomInfo{}
	}
	l.Rooms, l.Next = append(l.Rooms, p.Rooms...), p.Next
}

func (s *roomsFlags) print(out io.Writer, l roomList, again bool) error {
	switch {
	case s.json && s.watch:
		return json.NewEncoder(out).Encode(l)
	case s.json:
		return printJSON(out, l)
	case s.watch && isTerminal(out):
		fmt.Fprint(out, "\x1b[H\x1b[2J")
	case again:
		fmt.Fprintln(out)
	}
	return l.print(out)
}

func (l *roomList) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "ROOM\tMEMBERS\tMAX\tRESERVED\tLABELS")
	for _, r := range l.Rooms {
		labels := make([]string, 0, len(r.Labels))
		for _, k := range slices.Sorted(maps.Keys(r.Labels)) {
			labels = append(labels, k+"="+r.Labels[k])
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\n", r.Room, r.Members, r.Max, r.Reserved, strings.Join(labels, " "))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%d open rooms; %d of %d hosts answered, with %.4g %% of their rooms\n", len(l.Rooms), l.Answered, l.Asked, 100*l.Covered)
	if l.Next != "" {
		fmt.Fprintf(out, "more: --after %s\n", l.Next)
	}
	return nil
}
