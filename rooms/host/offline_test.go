package host

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/snapshot/sqlitestore"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// lateSaver is a broker's room whose first checkpoint comes late in the kind's
// interval, so that a short test finds its whole journal.
func lateSaver(kind rooms.Kind) wire.RoomID {
	interval := kind.Durability.Interval()
	for i := 0; ; i++ {
		if id := wire.RoomID(fmt.Sprintf("broker/%d", i)); spread(id, interval) > interval*9/10 {
			return id
		}
	}
}

// playedStore is a directory in which a broker's room was left in the middle of
// its life: its host is gone.
func playedStore(t *testing.T, kind rooms.Kind) (dir string, room wire.RoomID) {
	t.Helper()
	dir = t.TempDir()
	store, err := sqlitestore.Open(t.Context(), dir, sqlitestore.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Shut() })
	v := &view{memStore: newMemStore()}
	cfg := testConfig(store, "a#1", []rooms.Kind{kind})
	h := startWith(t, v, cfg)
	room = lateSaver(kind)
	activate(t, h.Host, room, wire.ModeJoinOrCreate, 0)
	link := newPipe(h.Host)
	p := newPlayer(link, link.ear, room, 7, 100)
	p.attach(t, peer.WhyJoin, wire.Attach{})
	p.moves(1, 5)
	p.waitAck(t, 5, 5)
	return dir, room
}

func TestRehearse(t *testing.T) {
	kind := brokerKind(rooms.Journal())
	kind.StateVersion = 2
	dir, room := playedStore(t, kind)
	older, broken := kind, kind
	older.StateVersion = 1
	broken.New = func() rooms.Handler { return &unready{} }
	for _, tt := range []struct {
		name   string
		kind   rooms.Kind
		args   []string
		status int
		says   string
	}{
		{"same build", kind, nil, 0, "1 rooms, 0 would not load"},
		{"start panics", broken, nil, 1, string(room) + " would not load: "},
		{"other kinds", tallyKind(), nil, 1, "not served"},
		{"other kinds, passed over", tallyKind(), []string{"--other-kinds"}, 0, "1 of other kinds"},
		{"no store", kind, []string{"--data", dir + "/none"}, 2, "no store in"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			status := Command(append([]string{"rehearse", "--data", dir}, tt.args...), &out, &out, tt.kind)
			if status != tt.status || !strings.Contains(out.String(), tt.says) {
				t.Errorf("status %d, want %d: %s", status, tt.status, &out)
			}
		})
	}
}

// A store that another build's hosts use is theirs: it stays as it is.
func TestOfflineLeavesAnOlderStoreAlone(t *testing.T) {
	kind := brokerKind(rooms.Journal())
	dir, room := playedStore(t, kind)
	db, err := sql.Open("sqlite", filepath.Join(dir, sqlitestore.FileName)+"?_pragma=busy_timeout(5000)") // its host is still there
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("PRAGMA user_version = 4"); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"rehearse", "--data", dir}, {"replay", "--data", dir, string(room)}} {
		var out bytes.Buffer
		if status := Command(args, &out, &out, kind); status != 2 || !strings.Contains(out.String(), "schema version 4") {
			t.Errorf("%s: status %d: %s", args[0], status, &out)
		}
		var have int
		if err := db.QueryRow("PRAGMA user_version").Scan(&have); err != nil || have != 4 {
			t.Errorf("%s left schema version %d, %v", args[0], have, err)
		}
	}
}

// unready can't be rebuilt.
type unready struct{ broker }

func (u *unready) Start(rooms.Room, rooms.Start) { panic("no such map") }

func TestRehearseFindsNewerState(t *testing.T) {
	kind := brokerKind(rooms.Checkpoint(100 * time.Millisecond))
	kind.StateVersion = 2
	dir, _ := playedStore(t, kind)
	kind.StateVersion = 1
	var out bytes.Buffer
	if status := Command([]string{"rehearse", "--json", "--data", dir}, &out, &out, kind); status != 1 {
		t.Errorf("status %d", status)
	}
	var r rehearsal
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.OK || r.Version != 2 || !strings.Contains(r.Error, "newer than this build's 1") {
		t.Errorf("%s (%v)", &out, err)
	}
}

func TestReplay(t *testing.T) {
	dir, room := playedStore(t, brokerKind(rooms.Journal()))
	run := func(args ...string) (events []string, last step) {
		var out, errOut bytes.Buffer
		if status := Command(append([]string{"replay", "--data", dir}, args...), &out, &errOut, brokerKind(rooms.Journal())); status != 0 {
			t.Fatalf("status %d: %s", status, &errOut)
		}
		for line := range strings.Lines(out.String()) {
			last = step{}
			if err := json.Unmarshal([]byte(line), &last); err != nil {
				t.Fatal(err)
			}
			events = append(events, last.Event)
		}
		return events, last
	}
	events, last := run(string(room))
	want := []string{"start", "join", "input", "input", "input", "input", "input", "end"}
	if !slices.Equal(slices.DeleteFunc(events, func(s string) bool { return s == "pass" }), want) {
		t.Errorf("events %q, want %q", events, want)
	}
	if got := last.State.(map[string]any)["Got"].([]any); len(got) != 5 || got[4] != "move 5" || last.Seq != 5 {
		t.Errorf("the end is %+v", last)
	}
	_, last = run("--to", "3", string(room))
	if got := last.State.(map[string]any)["Got"].([]any); len(got) != 3 || last.Seq != 3 {
		t.Errorf("the end at message 3 is %+v", last)
	}
}

// playedTwice is a store in which a broker's room was checkpointed at message 5
// and went on to message 8.
func playedTwice(t *testing.T) (dir string, room wire.RoomID) {
	t.Helper()
	dir = t.TempDir()
	store, err := sqlitestore.Open(t.Context(), dir, sqlitestore.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Shut() })
	kind := brokerKind(rooms.Journal())
	room = lateSaver(kind)
	play := func(host directory.NodeID, member wire.MemberID, moves wire.Input) *node {
		h := startWith(t, &view{memStore: newMemStore()}, testConfig(store, host, []rooms.Kind{kind}))
		activate(t, h.Host, room, wire.ModeJoinOrCreate, 0)
		link := newPipe(h.Host)
		p := newPlayer(link, link.ear, room, 7, member)
		p.attach(t, peer.WhyJoin, wire.Attach{})
		p.moves(1, int(moves))
		p.waitAck(t, moves, moves)
		return h
	}
	play("a#1", 100, 5).stop() // which saves
	play("b#1", 101, 3)
	return dir, room
}

func TestReplayToAMessage(t *testing.T) {
	journaled, room := playedTwice(t)
	for _, tt := range []struct {
		to     string
		status int
		says   string
	}{
		{"4", 1, "begins after message 5, --to asks for 4"},
		{"5", 0, `"event":"end"`},
		{"7", 0, `"event":"end"`},
		{"8", 0, `"event":"end"`},
		{"9", 1, "ends after message 8, --to asks for 9"},
	} {
		var out, errOut bytes.Buffer
		status := Command([]string{"replay", "--data", journaled, "--to", tt.to, string(room)}, &out, &errOut, brokerKind(rooms.Journal()))
		if status != tt.status || !strings.Contains(out.String()+errOut.String(), tt.says) {
			t.Errorf("to %s: status %d: %s%s", tt.to, status, &out, &errOut)
		}
		if ended := strings.Contains(out.String(), `"event":"end"`); ended != (tt.status == 0) {
			t.Errorf("to %s: shows an end: %v", tt.to, ended)
		}
		if want := fmt.Sprintf(`"seq":%s,`, tt.to); tt.status == 0 && !strings.Contains(out.String(), want) {
			t.Errorf("to %s: the end is elsewhere: %s", tt.to, &out)
		}
	}
}

// A room without a journal is at its checkpoint, and nowhere else.
func TestReplayOfACheckpointAlone(t *testing.T) {
	kind := brokerKind(rooms.Checkpoint(100 * time.Millisecond))
	dir, room := playedStore(t, kind)
	for to, says := range map[string]string{
		"4": "begins after message 5", "5": `"event":"end"`, "6": "ends after message 5",
	} {
		var out bytes.Buffer
		if status := Command([]string{"replay", "--data", dir, "--to", to, string(room)}, &out, &out, kind); (status == 0) != (to == "5") || !strings.Contains(out.String(), says) {
			t.Errorf("to %s: status %d: %s", to, status, &out)
		}
	}
}

func TestReplayShowsStatesAndTicks(t *testing.T) {
	kind := brokerKind(rooms.Journal())
	kind.TickRate = 50
	dir, room := playedStore(t, kind)
	run := func(flags ...string) string {
		var out bytes.Buffer
		if status := Command(append(append([]string{"replay", "--data", dir}, flags...), string(room)), &out, &out, kind); status != 0 {
			t.Fatalf("status %d: %s", status, &out)
		}
		return out.String()
	}
	const state, tick = `"state":{`, `"event":"tick"`
	until(t, "a replay shows a tick", func() bool { return strings.Contains(run("--ticks"), tick) })
	if out := run(); strings.Count(out, state) != 1 || strings.Contains(out, tick) {
		t.Errorf("without flags: %s", out)
	}
	out := run("--state")
	if lines := strings.Count(out, "\n"); strings.Count(out, state) != lines || strings.Contains(out, tick) {
		t.Errorf("--state: %s", out)
	}
}
