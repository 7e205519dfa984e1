package sqlitestore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

const (
	childDir   = "LIMPET_SQLITESTORE_TEST_DIR"
	childRooms = 40
)

func roomName(i int) wire.RoomID { return wire.RoomID("k/r" + strconv.Itoa(i)) }

// child is another process on the same directory. It takes a lease, claims what
// it can get of the rooms, saves each, prints what it won, and then goes on
// saving until it is killed.
func child(dir string) int {
	ctx := context.Background()
	s, err := Open(ctx, dir, Config{})
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	h := snapshot.Holder("child#" + strconv.Itoa(os.Getpid()))
	if err := s.TakeLease(ctx, h, 10*time.Minute); err != nil {
		fmt.Println("error", err)
		return 1
	}
	fmt.Println("holder", h)
	won, err := claimAll(ctx, s, h)
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	for _, c := range won {
		fmt.Println("won", c.Room, uint64(c.Epoch), uint64(c.Nonce))
	}
	fmt.Println("ready")
	for seq := uint64(1); ; seq++ {
		if err := saveAll(ctx, s, won, seq); err != nil {
			fmt.Println("error", err)
			return 1
		}
		fmt.Println("saved", seq)
	}
}

func claimAll(ctx context.Context, s *Store, h snapshot.Holder) ([]snapshot.Claim, error) {
	var won []snapshot.Claim
	for i := range childRooms { // one call each, so that the processes interleave
		res, err := s.Claim(ctx, []snapshot.ClaimRequest{{
			Room: roomName(i), Holder: h, Nonce: snapshot.Nonce(time.Now().UnixNano()), Mode: wire.ModeJoinOrCreate,
		}})
		if err != nil {
			return nil, err
		}
		if held := (*snapshot.HeldError)(nil); errors.As(res[0].Err, &held) {
			continue
		} else if res[0].Err != nil {
			return nil, res[0].Err
		}
		won = append(won, res[0].Claim)
	}
	return won, nil
}

func saveAll(ctx context.Context, s *Store, claims []snapshot.Claim, seq uint64) error {
	var reqs []snapshot.SaveRequest
	for _, c := range claims {
		reqs = append(reqs, snapshot.SaveRequest{Claim: c, Seq: seq, Data: strconv.AppendUint(nil, seq, 10)})
	}
	errs, err := s.Save(ctx, reqs)
	return errors.Join(append(errs, err)...)
}

// process is a running child and what it has printed.
type process struct {
	cmd    *exec.Cmd
	out    *bufio.Scanner
	holder snapshot.Holder
	won    map[wire.RoomID]bool
}

func startChild(t *testing.T, dir string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0]), won: make(map[wire.RoomID]bool)}
	p.cmd.Env = append(os.Environ(), childDir+"="+dir)
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.kill(out) })
	p.out = bufio.NewScanner(out)
	return p
}

func (p *process) kill(out io.Reader) {
	_ = p.cmd.Process.Kill() // it may have been killed by the test
	_, _ = io.Copy(io.Discard, out)
	_ = p.cmd.Wait()
}

// until reads the child's lines up to one that starts with word.
func (p *process) until(t *testing.T, word string) string {
	t.Helper()
	for p.out.Scan() {
		f := strings.Fields(p.out.Text())
		switch f[0] {
		case "error":
			t.Fatalf("child: %s", p.out.Text())
		case "holder":
			p.holder = snapshot.Holder(f[1])
		case "won":
			p.won[wire.RoomID(f[1])] = true
		}
		if f[0] == word {
			return p.out.Text()
		}
	}
	t.Fatalf("child ended before it said %q", word)
	return ""
}

func TestProcessesShareAStore(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	a, b := startChild(t, dir), startChild(t, dir) // both make the file
	a.until(t, "ready")
	b.until(t, "ready")
	for i := range childRooms {
		if r := roomName(i); a.won[r] == b.won[r] {
			t.Errorf("%s: won by a: %t, by b: %t", r, a.won[r], b.won[r])
		}
	}

	// One dies in the middle of its saves; nothing of the other's is harmed.
	a.until(t, "saved")
	var saved uint64
	if _, err := fmt.Sscanf(a.until(t, "saved"), "saved %d", &saved); err != nil {
		t.Fatal(err)
	}
	if err := a.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	b.until(t, "saved")

	s := mustOpen(t, dir)
	defer s.Shut()
	if err := s.EndLease(ctx, a.holder); err != nil {
		t.Fatal(err)
	}
	if err := s.TakeLease(ctx, "heir#1.1", time.Minute); err != nil {
		t.Fatal(err)
	}
	won, err := claimAll(ctx, s, "heir#1.1")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range won {
		if !a.won[c.Room] {
			t.Errorf("%s was taken from the one that lives", c.Room)
		}
	}
	if len(won) != len(a.won) {
		t.Errorf("%d of the dead one's %d rooms were taken over", len(won), len(a.won))
	}
	for _, c := range won {
		res, err := s.Load(ctx, []wire.RoomID{c.Room})
		if err != nil || res[0].Err != nil {
			t.Fatal(err, res)
		}
		if n, _ := strconv.ParseUint(string(res[0].Data), 10, 64); n < saved {
			t.Errorf("%s: save %d is kept, %d had been confirmed", c.Room, n, saved)
		}
	}
	b.until(t, "saved")
}
