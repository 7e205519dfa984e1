// Command storm measures a reconnect storm: clients over TLS on two gateways,
// one of which is killed with SIGKILL, so that half of them come to the other at
// once. It prints how long they took and how often they tried, what those who
// play on the other gateway noticed, and whether anything was lost.
//
//	go run ./e2e/storm [-clients 10000] [-rate 0.02] [-processes 4]
//
// The clients are spread over processes of their own, since a process may have
// no more than 20,000 descriptors on some machines. The exit status is 1 where an
// aim is missed.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/limpet-games/limpet/e2e/cluster"
	"github.com/limpet-games/limpet/internal/certs"
)

type settings struct {
	clients, processes int
	accepts            int
	rate               float64
	quiet              time.Duration
	child              string // URLs of a client process, "" for the parent
	ca, prefix         string
	only               string // the address of the gateway that a client process is on until the kill
}

func main() {
	var s settings
	flag.IntVar(&s.clients, "clients", 10_000, "clients, in rooms of ten")
	flag.IntVar(&s.processes, "processes", 4, "processes that they are spread over")
	flag.Float64Var(&s.rate, "rate", 0.02, "inputs a second of each client")
	flag.IntVar(&s.accepts, "accepts", 0, "the gateways' --accepts; 0: their default")
	flag.DurationVar(&s.quiet, "quiet", 15*time.Second, "time before the kill that the other gateway's players are held against")
	flag.StringVar(&s.child, "child", "", "used by the command itself")
	flag.StringVar(&s.ca, "ca", "", "used by the command itself")
	flag.StringVar(&s.prefix, "prefix", "", "used by the command itself")
	flag.StringVar(&s.only, "only", "", "used by the command itself")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := error(nil)
	if s.child != "" {
		err = s.play(ctx)
	} else {
		err = s.storm(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "storm:", err)
		os.Exit(1)
	}
}

func (s *settings) storm(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "limpet-storm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cfg, err := cluster.Build(ctx, dir, 2, 2)
	if err != nil {
		return err
	}
	edge := filepath.Join(dir, "edge")
	cfg.Edge = []string{"--insecure-anonymous", "--tls-cert", edge + ".pem", "--tls-key", edge + "-key.pem"}
	if s.accepts > 0 {
		cfg.Edge = append(cfg.Edge, "--accepts", fmt.Sprint(s.accepts))
	}
	if err := certify(dir, edge); err != nil {
		return err
	}
	c, err := cluster.Start(ctx, cfg)
	if err != nil {
		return err
	}
	defer c.Stop()
	var urls []string
	for _, u := range c.URLs() {
		urls = append(urls, strings.Replace(u, "ws://", "wss://", 1))
	}
	fmt.Printf("%d cores; 2 hosts, 2 gateways with TLS, Redis; %d clients in %d processes, %g inputs/s each\n",
		runtime.NumCPU(), s.clients, s.processes, s.rate)
	var all crowd
	defer all.end()
	for i := range s.processes {
		home := c.Gateways[i%2].Addr
		if err := all.add(ctx, i%2 == 1, "-only", home, "-child", strings.Join(urls, ","), "-ca", filepath.Join(dir, "ca.pem"), "-prefix", fmt.Sprintf("storm-%d-", i),
			"-clients", fmt.Sprint(s.clients/s.processes), "-rate", fmt.Sprint(s.rate)); err != nil {
			return err
		}
	}
	began := time.Now()
	if _, err := all.ask("join"); err != nil {
		return err
	}
	fmt.Printf("all have joined after %.1f s\n", time.Since(began).Seconds())
	if err := pause(ctx, 3*time.Second); err != nil {
		return err
	}
	if _, err := all.ask("quiet"); err != nil {
		return err
	}
	if err := pause(ctx, s.quiet); err != nil {
		return err
	}
	if _, err := all.ask("storm " + c.Gateways[1].Name); err != nil {
		return err
	}
	use := newUsage(c, all)
	early := time.AfterFunc(atFirst, use.print)
	defer early.Stop()
	c.Gateways[1].Signal(syscall.SIGKILL)
	if _, err := all.ask("resumed"); err != nil {
		return err
	}
	use.print()
	if err := gatewayLateness(c.Gateways[0]); err != nil {
		return err
	}
	if _, err := all.ask("calm"); err != nil {
		return err
	}
	answers, err := all.ask("report")
	if err != nil {
		return err
	}
	return report(answers)
}

// edgeName is what the gateways' certificate is for, whatever their addresses.
const edgeName = "game.example"

func certify(dir, edge string) error {
	ca, err := certs.NewAuthority("e2e", time.Now(), 24*time.Hour)
	if err != nil {
		return err
	}
	if err := ca.Write(filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca-key.pem")); err != nil {
		return err
	}
	return ca.IssueServer([]string{edgeName}, time.Now(), 24*time.Hour, edge+".pem", edge+"-key.pem")
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// crowd are the client processes, each of which answers lines with lines.
type crowd struct{ all []*member }

type member struct {
	returns bool
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
}

// add starts a client process. Those that will come back have the lowest
// priority: elsewhere they are on other machines, and their half of five thousand
// handshakes takes no processor from anybody here.
func (c *crowd) add(ctx context.Context, returns bool, args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args = append([]string{self}, args...)
	if returns {
		args = append([]string{"nice", "-n", "19"}, args...)
	}
	m := &member{returns: returns, cmd: exec.CommandContext(ctx, args[0], args[1:]...)}
	m.cmd.Stderr = os.Stderr
	if m.in, err = m.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	m.out = bufio.NewReaderSize(out, 1<<20)
	c.all = append(c.all, m)
	return m.cmd.Start()
}

// ask has all processes do something, and waits until all have.
func (c *crowd) ask(line string) ([]answer, error) {
	answers, errs := make([]answer, len(c.all)), make([]error, len(c.all))
	var wg sync.WaitGroup
	for i, m := range c.all {
		wg.Go(func() {
			if _, errs[i] = fmt.Fprintln(m.in, line); errs[i] != nil {
				return
			}
			var raw []byte
			if raw, errs[i] = m.out.ReadBytes('\n'); errs[i] == nil {
				errs[i] = json.Unmarshal(raw, &answers[i])
			}
		})
	}
	wg.Wait()
	for i, err := range errs {
		if err == nil && answers[i].Error != "" {
			err = fmt.Errorf("%s", answers[i].Error)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: client process %d: %w", line, i, err)
		}
	}
	return answers, nil
}

func (c *crowd) end() {
	for _, m := range c.all {
		m.in.Close()
		m.cmd.Process.Kill()
		m.cmd.Wait()
	}
}

// answer is what a client process says.
type answer struct {
	Error    string    `json:"error,omitempty"`
	Resumed  []float64 `json:"resumed,omitempty"` // seconds from the kill, of each client that was on the dead gateway
	Tries    int       `json:"tries,omitempty"`   // that those made since
	Quiet    []float64 `json:"quiet,omitempty"`   // milliseconds from input to echo on the other gateway, before
	Storm    []float64 `json:"storm,omitempty"`   // and from the kill until all were back
	At       []float64 `json:"at,omitempty"`      // seconds from the kill to each of those inputs
	Late     []float64 `json:"late,omitempty"`    // milliseconds that the process of players on the other gateway was late, all the while
	Lost     int       `json:"lost,omitempty"`    // inputs that are not in their room's book once and in order
	Sent     int       `json:"sent,omitempty"`
	Noticed  int       `json:"noticed,omitempty"` // gaps, rewinds and ends
	Stranded int       `json:"stranded,omitempty"`
}

func report(answers []answer) error {
	var sum answer
	for _, a := range answers {
		sum.Resumed = append(sum.Resumed, a.Resumed...)
		sum.Quiet, sum.Storm = append(sum.Quiet, a.Quiet...), append(sum.Storm, a.Storm...)
		sum.Tries += a.Tries
		sum.Lost += a.Lost
		sum.Sent += a.Sent
		sum.Noticed += a.Noticed
		sum.Stranded += a.Stranded
	}
	for _, p := range [][]float64{sum.Resumed, sum.Quiet, sum.Storm} {
		if slices.Sort(p); len(p) == 0 {
			return fmt.Errorf("nothing was measured: %+v", sum)
		}
	}
	at := func(p []float64, percent int) float64 { return p[min(len(p)-1, len(p)*percent/100)] }
	bySecond(answers)
	ownLateness(answers)
	tries, before, during := float64(sum.Tries)/float64(len(sum.Resumed)), at(sum.Quiet, 99), at(sum.Storm, 99)
	fmt.Printf("resumed: %d clients, half within %.2f s, 99 of 100 within %.2f s, all within %.2f s; %d stranded\n", len(sum.Resumed),
		at(sum.Resumed, 50), at(sum.Resumed, 99), sum.Resumed[len(sum.Resumed)-1], sum.Stranded)
	fmt.Printf("attempts a client: %.2f (aim: 1.5 at most)\n", tries)
	fmt.Printf("the other gateway's players, from input to echo: p50 %.1f ms before, %.1f ms in the storm; p99 %.1f ms before, %.1f ms in the storm: %.1f times (aim: 2 at most)\n",
		at(sum.Quiet, 50), at(sum.Storm, 50), before, during, during/before)
	fmt.Printf("inputs: %d sent, %d lost or twice; gaps, rewinds and ends told: %d\n", sum.Sent, sum.Lost, sum.Noticed)
	if sum.Stranded > 0 || sum.Lost > 0 || sum.Noticed > 0 || tries > 1.5 || during > 2*before {
		return fmt.Errorf("an aim is missed")
	}
	return nil
}
