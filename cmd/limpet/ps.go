package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/limpet-games/limpet/cmd/limpet/internal/dev"
	"github.com/limpet-games/limpet/internal/daemon"
)

// The default operations addresses of a gateway and a room host.
var defaultOps = []string{"http://127.0.0.1:7412", "http://127.0.0.1:7402"}

type psFlags struct {
	json            bool
	data, tokenFile string
	ops             []string
}

func (s *psFlags) register(f *daemon.Flags) {
	f.Bool(&s.json, "json", "print JSON")
	f.List(&s.ops, "ops", "URL", "operations listener of a node, like http://127.0.0.1:7412: the first that answers is asked; "+
		"without one, the nodes of limpet dev, then the default addresses", daemon.HTTPURL)
	f.String(&s.data, "data", "", "DIR", "data directory of the limpet dev to ask; empty: its default")
	f.String(&s.tokenFile, "ops-token-file", "", "FILE", "file with a token for the operations listener, alone or as ROLE TOKEN [NAME]; of several the one that may most is used")
}

func runPs(ctx context.Context, args []string, std streams) int {
	var s psFlags
	f := daemon.NewFlags("limpet ps", "Lists gateways, room hosts and rooms, as one node finds them by asking all.")
	f.Out, f.Err = std.out, std.err
	s.register(f)
	if status, ok := f.Parse(args); !ok {
		return status
	}
	token, err := s.token()
	if err != nil {
		return f.Bad(err)
	}
	o, err := askAny(ctx, s.nodes(), token)
	if err == nil {
		err = printOverview(std.out, o, s.json)
	}
	if err != nil {
		fmt.Fprintf(std.err, "limpet ps: %v\n", err)
		return 1
	}
	return 0
}

// token is the one of the token file, if there is one, that may most.
func (s psFlags) token() (string, error) {
	if s.tokenFile == "" {
		return "", nil
	}
	_, best, err := daemon.ReadOpsTokens(s.tokenFile)
	return best, err
}

// nodes are the operations listeners to try, in order.
func (s psFlags) nodes() []string {
	if len(s.ops) > 0 {
		return s.ops
	}
	var urls []string
	if state, err := dev.ReadState(s.data); err == nil {
		for _, n := range append(state.Gateways, state.Hosts...) {
			urls = append(urls, n.Ops)
		}
	}
	if s.data == "" {
		urls = append(urls, defaultOps...)
	}
	return urls
}

// askAny asks the nodes one after the other until one answers.
func askAny(ctx context.Context, urls []string, token string) (daemon.Overview, error) {
	err := errors.New("no limpet dev runs with that data directory")
	for _, url := range urls {
		var o daemon.Overview
		if o, err = ask(ctx, url, token); err == nil {
			return o, nil
		}
	}
	var refused *net.OpError
	if errors.As(err, &refused) && len(urls) > 1 {
		return daemon.Overview{}, errors.New("no node answers: is a cluster running? (limpet dev runs one; --ops URL names another)")
	}
	return daemon.Overview{}, err
}

const (
	psWithin  = 5 * time.Second
	maxAnswer = 256 << 20
)

func ask(ctx context.Context, url, token string) (o daemon.Overview, err error) {
	ctx, cancel := context.WithTimeout(ctx, psWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(url, "/")+"/v1/cluster", nil)
	if err != nil {
		return o, fmt.Errorf("ask %s: %w", url, err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return o, fmt.Errorf("ask %s: %w", url, err)
	}
	defer resp.Body.Close()
	body := io.LimitReader(resp.Body, maxAnswer)
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(body, 512))
		return o, fmt.Errorf("ask %s: %s: %s", url, resp.Status, strings.TrimSpace(string(text)))
	}
	if err := json.NewDecoder(body).Decode(&o); err != nil {
		return o, fmt.Errorf("ask %s: %w", url, err)
	}
	return o, nil
}

func printOverview(out io.Writer, o daemon.Overview, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(o)
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "GATEWAY\tCONNECTIONS\tUP\tBUILD")
	for _, g := range o.Gateways {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", g.Name, g.Connections, up(g), g.Build)
	}
	fmt.Fprintln(w, "\nHOST\tROOMS\tMEMBERS\tUP\tBUILD")
	for _, h := range o.Hosts {
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\n", h.Name, h.RoomCount, h.Members, up(h), h.Build)
	}
	printIsolated(w, o.Hosts)
	fmt.Fprintln(w, "\nROOM\tHOST\tEPOCH\tMEMBERS\tCONNECTED")
	for _, r := range o.Rooms {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d/%d\t%d\n", r.Room, r.Host, r.Epoch, r.Members, r.Max, r.Connected)
	}
	if o.RoomsLeftOff > 0 {
		fmt.Fprintf(w, "and %d more rooms\n", o.RoomsLeftOff)
	}
	fmt.Fprintf(w, "\n%d of %d nodes answered\n", o.Answered, o.Asked)
	for _, m := range o.Missing {
		fmt.Fprintf(w, "missing\t%s\t%s\n", m.Node, m.Error)
	}
	for _, l := range o.Lost {
		fmt.Fprintf(w, "lost\t%s\tsilent for %s: it hangs, or cannot be reached\n", l.Node, (time.Duration(l.SilentMS) * time.Millisecond).Truncate(time.Second))
	}
	return w.Flush()
}

// printIsolated lists the processes of isolated kinds, where there are any.
func printIsolated(w io.Writer, hosts []daemon.NodeReport) {
	head := "\nISOLATED KIND\tHOST\tSTATE\tPID\tMEMORY\tDEATHS\tLAST DEATH\n"
	for _, h := range hosts {
		for _, i := range h.Isolated {
			fmt.Fprintf(w, "%s%s\t%s\t%s\t%d\t%d MiB\t%d\t%s\n", head, i.Kind, h.Name, i.State, i.PID, i.Memory>>20, i.Deaths, i.Last)
			head = ""
		}
	}
}

func up(r daemon.NodeReport) string {
	return (time.Duration(r.UpMS) * time.Millisecond).Truncate(time.Second).String()
}
