package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/limpet-games/limpet/client"
	"github.com/limpet-games/limpet/cmd/limpet/internal/dev"
	"github.com/limpet-games/limpet/internal/daemon"
	"github.com/limpet-games/limpet/wire"
)

const joinAbout = `Joins a room. Each line of standard input is one input of the member; each
event is one JSON line on standard output. The connection and the membership
are taken up again by themselves.

At the end of standard input the command waits until all inputs are durable,
leaves the room and exits; with --stay it goes on telling events until it is
interrupted. An interrupt leaves the room. Exit status: 0 done, 1 the room or
the gateways turned the member away or inputs did not become durable in time,
2 bad usage.

Events: joined, message, latest, ephemeral, ack, attached, rewound, gap,
dropped, resumed, waiting, store, failed, gave_up, skipped, left, error.
A payload is JSON where it is JSON, else a string where it is text, else
{"base64":"..."}.`

// joinSettings are the flags of limpet join.
type joinSettings struct {
	gateways               []string
	mode, data, name, file string
	stay                   bool
	wait                   time.Duration
	rate                   int
	filter                 filterFlags

	kind, room string
}

var joinModes = map[string]wire.Mode{
	"join": wire.ModeJoin, "create": wire.ModeCreate, "join-or-create": wire.ModeJoinOrCreate, "any": wire.ModeAny,
}

// runJoin is limpet join; it returns the exit status.
func runJoin(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	s := joinSettings{}
	f := daemon.NewFlags("limpet join", joinAbout)
	f.Out, f.Err = out, errOut
	f.Env = func(name string) string {
		if name == daemon.EnvName("data") || name == daemon.EnvName("name") {
			return "" // those are other programs'
		}
		return os.Getenv(name)
	}
	f.Operands("KIND/ROOM | KIND", 1, 1)
	f.List(&s.gateways, "gateway", "URL", "a gateway, as ws://HOST:PORT; without one, those of limpet dev, or ws://127.0.0.1:8080", checkGateway)
	f.String(&s.mode, "mode", "join-or-create", "MODE", "join, create, join-or-create, or any: any open room of the kind, which a KIND alone means, too",
		daemon.OneOf("join", "create", "join-or-create", "any"))
	f.String(&s.data, "data", "", "JSON", "what the room gets with the join (the variable is not read: it is another program's)", checkJSON)
	f.String(&s.name, "name", "", "NAME", "the player's name: short for a \"name\" in the data (the variable is not read)")
	f.String(&s.file, "token", "", "FILE", "file with the token for the gateway; read again for each connection")
	f.Bool(&s.stay, "stay", "go on after the end of standard input")
	f.Duration(&s.wait, "wait", 10*time.Second, 0, time.Hour, "how long to wait for a gateway, for the room, and at the end for durable inputs")
	s.filter.register(f)
	f.Int(&s.rate, "rate", 100, 1, 100_000, "inputs a second at most; gateways cut who sends too many")
	if status, ok := f.Parse(args); !ok {
		return status
	}
	if err := s.check(f.Args()[0]); err != nil {
		return f.Bad(err)
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	j := &joiner{set: s, out: json.NewEncoder(out), errOut: errOut, ended: make(chan wire.Code, 1)}
	j.out.SetEscapeHTML(false)
	if err := j.run(ctx, in); err != nil {
		fmt.Fprintf(errOut, "limpet join: %v\n", err)
		return 1
	}
	return 0
}

func checkGateway(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "ws" && u.Scheme != "wss" || u.Host == "" {
		return fmt.Errorf("%q: want ws://HOST:PORT", s)
	}
	return nil
}

func checkJSON(s string) error {
	if !json.Valid([]byte(s)) {
		return fmt.Errorf("%q: want JSON", s)
	}
	return nil
}

// check completes the settings with what flags alone can't say.
func (s *joinSettings) check(room string) error {
	named := false
	if s.kind, s.room, named = strings.Cut(room, "/"); !named {
		s.mode = "any"
	}
	if err := wire.CheckKind(s.kind); err != nil {
		return err
	}
	if s.mode == "any" && s.room != "" {
		return fmt.Errorf("room %q: --mode any takes a KIND alone", s.room)
	}
	if err := s.filter.check(); err != nil {
		return err
	}
	if s.mode != "any" && !s.filter.asks.IsZero() {
		return fmt.Errorf("room %q is named: a filter is for any room of a KIND", s.room)
	}
	if err := wire.CheckName(s.room); s.mode != "any" && err != nil {
		return err
	}
	if s.name != "" {
		fields := map[string]any{}
		if s.data != "" && (json.Unmarshal([]byte(s.data), &fields) != nil || fields == nil) {
			return errors.New("--name needs --data to be an object")
		}
		fields["name"] = s.name
		b, err := json.Marshal(fields)
		if err != nil {
			return fmt.Errorf("encode data: %w", err)
		}
		s.data = string(b)
	}
	if len(s.data) > wire.MaxJoinData {
		return fmt.Errorf("data of %d bytes: want at most %d", len(s.data), wire.MaxJoinData)
	}
	if s.file != "" {
		if _, err := daemon.ReadSecret(s.file); err != nil {
			return err
		}
	}
	if len(s.gateways) == 0 {
		s.gateways = devGateways()
	}
	return nil
}

// tokenOf reads a token's file for each connection: by the next one a token may
// have run out, and the file hold another.
func tokenOf(file string) func(context.Context) ([]byte, error) {
	if file == "" {
		return nil
	}
	return func(context.Context) ([]byte, error) { return daemon.ReadSecret(file) }
}

func devGateways() []string {
	var urls []string
	if state, err := dev.ReadState(""); err == nil {
		for _, g := range state.Gateways {
			if checkGateway(g.URL) == nil {
				urls = append(urls, g.URL)
			}
		}
	}
	if len(urls) == 0 {
		urls = []string{"ws://127.0.0.1:8080"}
	}
	return urls
}

// joiner is one run of limpet join.
type joiner struct {
	set   joinSettings
	ended chan wire.Code // why the membership ended

	errOut io.Writer

	mu  sync.Mutex
	out *json.Encoder // guarded by mu
}

func (j *joiner) run(ctx context.Context, in io.Reader) error {
	c, err := j.dial(ctx)
	if err != nil {
		return j.fail(err)
	}
	defer c.Close()
	joining, cancel := context.WithTimeout(ctx, j.set.wait)
	defer cancel()
	r, err := j.join(joining, c)
	if err != nil {
		return j.fail(err)
	}
	if err := j.feed(ctx, r, in); err != nil {
		return err
	}
	return j.finish(ctx, r)
}

// slowDial is when to say that no gateway has answered yet, at the latest.
const slowDial = 3 * time.Second

func (j *joiner) dial(ctx context.Context) (*client.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, j.set.wait)
	defer cancel()
	told := make(chan struct{})
	slow := time.AfterFunc(min(slowDial, j.set.wait/2), func() {
		defer close(told)
		fmt.Fprintf(j.errOut, "limpet join: no gateway at %s answers yet; trying for %s in all\n", strings.Join(j.set.gateways, ", "), j.set.wait)
	})
	c, err := client.Dial(ctx, client.Config{
		URLs: j.set.gateways, NewToken: tokenOf(j.set.file), Agent: "limpet-join/" + daemon.Version(), OnEvent: j.event,
	})
	if !slow.Stop() {
		<-told
	}
	return c, err
}

func (j *joiner) join(ctx context.Context, c *client.Client) (*client.Room, error) {
	if j.set.mode == "any" {
		return c.Find(ctx, j.set.kind, j.set.filter.asks, []byte(j.set.data))
	}
	return c.Join(ctx, joinModes[j.set.mode], j.set.kind, j.set.room, []byte(j.set.data))
}

// finish waits for durable inputs and leaves: in a hurry after an interrupt.
func (j *joiner) finish(ctx context.Context, r *client.Room) error {
	hurry := min(j.set.wait, 2*time.Second)
	patience := j.set.wait
	if ctx.Err() != nil {
		patience = hurry
	}
	settling, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := r.Settle(settling); err != nil && ctx.Err() == nil {
		if settling.Err() != nil {
			err = fmt.Errorf("inputs did not become durable within %s", patience)
		}
		return j.lost(err)
	}
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), hurry)
	defer cancel()
	if err := r.Leave(leaving); err != nil {
		return fmt.Errorf("%w: its place is kept for the kind's grace", err)
	}
	return nil
}

// fail tells an error as an event too.
func (j *joiner) fail(err error) error {
	j.complain(wire.CodeOf(err))
	return err
}

// lost words the end of a membership that nobody here wanted.
func (j *joiner) lost(err error) error {
	select {
	case code := <-j.ended:
		if code == wire.CodeLeft {
			return nil
		}
		return fmt.Errorf("membership ended: %s", code)
	default:
		return err
	}
}

// feed sends lines as inputs until they end, and with --stay until an
// interrupt. An interrupt is no error.
func (j *joiner) feed(ctx context.Context, r *client.Room, in io.Reader) error {
	feeding, cancel := context.WithCancel(ctx)
	defer cancel()
	lines := make(chan line)
	go readLines(feeding, in, lines)
	pace := pacer{gap: time.Second / time.Duration(j.set.rate)}
	for {
		select {
		case <-ctx.Done():
			return nil
		case code := <-j.ended:
			return fmt.Errorf("membership ended: %s", code)
		case l, more := <-lines:
			if !more && !j.set.stay {
				return nil
			}
			if !more {
				lines = nil
				continue
			}
			err := j.send(ctx, r, l, &pace)
			if err != nil && ctx.Err() == nil {
				return j.lost(err)
			}
		}
	}
}

// send waits for its turn and for room in the buffer, so that no line is lost.
func (j *joiner) send(ctx context.Context, r *client.Room, l line, pace *pacer) error {
	if l.err != nil {
		j.complain(l.err)
		return nil
	}
	if err := pace.wait(ctx); err != nil {
		return err
	}
	if err := r.Ready(ctx); err != nil {
		return err
	}
	_, err := r.Send(l.text)
	var told *wire.Error
	if errors.As(err, &told) && told.Code == wire.CodeTooBig {
		j.complain(told)
		return nil
	}
	return err
}

// pacer lets one through every gap, and after a pause up to a second's worth
// at once.
type pacer struct {
	gap time.Duration
	due time.Time
}

func (p *pacer) wait(ctx context.Context) error {
	now := time.Now()
	if longest := now.Add(-time.Second); p.due.Before(longest) {
		p.due = longest
	}
	p.due = p.due.Add(p.gap)
	if !p.due.After(now) {
		return nil
	}
	t := time.NewTimer(p.due.Sub(now))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// line is one line of standard input, or why it is none.
type line struct {
	text []byte
	err  *wire.Error
}

// readLines sends the lines of in without their ends and closes lines after
// the last. A line beyond what an input may have is read over.
func readLines(ctx context.Context, in io.Reader, lines chan<- line) {
	defer close(lines)
	b := bufio.NewReaderSize(in, wire.MaxInput+2)
	for n := 1; ; n++ {
		text, err := b.ReadSlice('\n')
		l := line{text: bytes.TrimSuffix(bytes.TrimSuffix(bytes.Clone(text), []byte("\n")), []byte("\r"))}
		for errors.Is(err, bufio.ErrBufferFull) {
			l.err = wire.Refuse(wire.CodeTooBig, fmt.Sprintf("line %d is longer than an input may be", n))
			_, err = b.ReadSlice('\n')
		}
		if err != nil && len(text) == 0 && l.err == nil {
			return
		}
		select {
		case lines <- l:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}
