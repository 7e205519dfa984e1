package gateway

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/wire"
)

func (d *fakeDirectory) opens(more bool, rooms ...directory.OpenRoom) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open, d.more = rooms, more
}

func (p *player) nextPage() (f wire.Page, rooms []listed) {
	p.t.Helper()
	f, err := wire.DecodePage(p.next(wire.TypePage))
	if err == nil {
		err = json.Unmarshal(f.JSON, &rooms)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return f, rooms
}

// browse is a browse with a filter's text as it stands.
func browse(ref uint32, watch bool, filter string) []byte {
	b := wire.Browse{Ref: ref, Watch: watch, Kind: "chat"}.Append(nil)
	return wire.AppendBytes16(b[:len(b)-2], []byte(filter))
}

func TestBrowse(t *testing.T) {
	n := start(t)
	n.dir.opens(true, directory.OpenRoom{Room: "chat/c", Members: 2, Max: 50, Reserved: 1, Labels: map[string]string{"map": "sea"}})
	p := n.connect()
	p.send(wire.Browse{Ref: 4, Most: 1, Kind: "chat", After: "b", Filter: wire.Filter{Pool: "gold", Seats: 3}})
	f, rooms := p.nextPage()
	if f.Ref != 4 || f.Update || f.Asked != 3 || f.Answered != 2 || f.Covered != 640 || f.Next != "c" {
		t.Errorf("page: %+v", f)
	}
	if len(rooms) != 1 || rooms[0].Room != "chat/c" || rooms[0].Reserved != 1 || rooms[0].Labels["map"] != "sea" || rooms[0].Gone {
		t.Errorf("rooms: %s", f.JSON)
	}
	if q := n.dir.listed()[0]; q.Kind != "chat" || q.After != "b" || q.Most != 1 || q.Filter.Pool != "gold" || q.Filter.Seats != 3 {
		t.Errorf("the directory was asked for %+v", q)
	}
	for _, bad := range []string{`{"seats":-1}`, `{"colour":"red"}`, `[]`} {
		p := n.connect()
		p.sendBytes(browse(5, false, bad))
		p.nextError(wire.CodeBadRequest)
	}
}

// A page ends before the frame is too big, and says where the next begins.
func TestLongPageIsCut(t *testing.T) {
	n := start(t)
	var many []directory.OpenRoom
	for i := range listMost {
		many = append(many, directory.OpenRoom{Room: wire.RoomID(fmt.Sprintf("chat/r%03d", i)), Labels: map[string]string{"x": strings.Repeat("y", 1000)}})
	}
	n.dir.opens(false, many...)
	p := n.connect()
	p.send(wire.Browse{Ref: 4, Kind: "chat", Most: listMost})
	f, rooms := p.nextPage()
	if len(rooms) == 0 || len(rooms) == listMost || f.Next != rooms[len(rooms)-1].Room.Name() {
		t.Errorf("%d rooms, the next page begins behind %q", len(rooms), f.Next)
	}
}

// Who watches the same page shares one look at the hosts, and gets what has
// changed, until it quits or is gone.
func TestWatchedPages(t *testing.T) {
	n := start(t)
	a, b := directory.OpenRoom{Room: "chat/a", Members: 1, Max: 9}, directory.OpenRoom{Room: "chat/b", Members: 1, Max: 9}
	n.dir.opens(false, a, b)
	players := []*player{n.connect(), n.connect(), n.connect()}
	for i, p := range players {
		p.sendBytes(browse(7, true, `{"labels":{},"seats":1}`))
		if f, rooms := p.nextPage(); f.Update || f.Ref != 7 || len(rooms) != 2 {
			t.Errorf("player %d has %+v", i, f)
		}
	}
	looks := len(n.dir.listed())
	if looks > 2 {
		t.Errorf("%d looks for the same page at about the same time", looks)
	}
	b.Members = 2
	n.dir.opens(false, b, directory.OpenRoom{Room: "chat/c", Max: 9})
	for i, p := range players {
		f, rooms := p.nextPage()
		var got []string
		for _, r := range rooms {
			got = append(got, fmt.Sprint(r.Room, r.Members, r.Gone))
		}
		if want := "[chat/b2 false chat/c0 false chat/a0 true]"; !f.Update || fmt.Sprint(got) != want {
			t.Errorf("player %d has %v of update %t, want %s", i, got, f.Update, want)
		}
	}
	players[0].send(wire.Quit{Ref: 7})
	players[1].ws.Close()
	until(t, "one watch is left", func() bool { return testutil.ToFloat64(n.metrics.watches) == 1 })
	n.dir.opens(false)
	if f, rooms := players[2].nextPage(); !f.Update || len(rooms) != 2 || !rooms[0].Gone {
		t.Errorf("the last one has %+v", f)
	}
	players[0].nothingMore()
	players[2].send(wire.Quit{Ref: 7})
	n.pagesAre(0)
}

// pagesAre waits until so many pages are watched.
func (n *node) pagesAre(want int) {
	n.t.Helper()
	until(n.t, fmt.Sprintf("%d pages are left", want), func() bool {
		n.lobby.mu.Lock()
		defer n.lobby.mu.Unlock()
		return len(n.lobby.pages) == want
	})
}

// Nobody is told of a page that stays as it is.
func TestStillPageIsSilent(t *testing.T) {
	n := start(t)
	n.dir.opens(false, directory.OpenRoom{Room: "chat/a", Max: 9})
	p := n.connect()
	p.send(wire.Browse{Ref: 7, Watch: true, Kind: "chat"})
	p.nextPage()
	until(t, "the hosts are looked at again", func() bool { return len(n.dir.listed()) >= 3 })
	p.nothingMore()
}

func TestWatchesAreBounded(t *testing.T) {
	n := start(t, limits(func(l *Limits) { l.Lists = 100 }))
	p := n.connect()
	for ref := range uint32(maxWatches) {
		p.send(wire.Browse{Ref: ref + 1, Watch: true, Kind: "chat"})
		p.nextPage()
	}
	p.send(wire.Browse{Ref: 1, Watch: true, Kind: "chat"})
	p.nextError(wire.CodeBadRequest)
	p.send(wire.Browse{Ref: 9, Watch: true, Kind: "chat"})
	if e := p.nextError(wire.CodeTooManyLists); e.Ref != 9 {
		t.Errorf("error: %+v", e)
	}
	p.send(wire.Quit{Ref: 1})
	p.send(wire.Quit{Ref: 77}) // none
	p.send(wire.Browse{Ref: 9, Watch: true, Kind: "chat"})
	p.nextPage()
	n.lobby.mu.Lock()
	for i := range maxPages {
		n.lobby.pages[pageKey{kind: "full", most: i}] = &page{}
	}
	n.lobby.mu.Unlock()
	q := n.connect()
	q.send(wire.Browse{Ref: 2, Watch: true, Kind: "board"})
	if e := q.nextError(wire.CodeBusy); e.RetryMS == 0 {
		t.Errorf("error: %+v", e)
	}
}

// Who can't be told at first hears why; who has a page keeps it.
func TestWatchIsRefused(t *testing.T) {
	n := start(t)
	n.dir.mu.Lock()
	n.dir.listErr = wire.Refuse(wire.CodeUnknownKind, "no host serves it")
	n.dir.mu.Unlock()
	p := n.connect()
	p.send(wire.Browse{Ref: 2, Watch: true, Kind: "nope"})
	if e := p.nextError(wire.CodeUnknownKind); e.Ref != 2 {
		t.Errorf("error: %+v", e)
	}
	until(t, "nobody watches", func() bool { return testutil.ToFloat64(n.metrics.watches) == 0 })
	n.pagesAre(0)
	n.dir.mu.Lock()
	n.dir.listErr = nil
	n.dir.mu.Unlock()
	p.send(wire.Browse{Ref: 2, Watch: true, Kind: "nope"})
	p.nextPage()
	n.dir.mu.Lock()
	n.dir.listErr = wire.Refuse(wire.CodeUnavailable, "not now")
	n.dir.mu.Unlock()
	looks := len(n.dir.listed())
	until(t, "the hosts are asked again", func() bool { return len(n.dir.listed()) > looks })
	p.nothingMore()
	if got := testutil.ToFloat64(n.metrics.watches); got != 1 {
		t.Errorf("%v watches, want 1", got)
	}
}

// Who comes during a look that fails hears that it failed.
func TestNewcomerHearsOfAFailedLook(t *testing.T) {
	n, failed := start(t), make(chan struct{})
	n.dir.mu.Lock()
	n.dir.onList = func(directory.Query) error {
		<-failed
		return wire.Refuse(wire.CodeUnavailable, "not now")
	}
	n.dir.mu.Unlock()
	first, second := n.connect(), n.connect()
	first.send(wire.Browse{Ref: 2, Watch: true, Kind: "chat"})
	until(t, "the hosts are asked", func() bool { return len(n.dir.listed()) == 1 })
	second.send(wire.Browse{Ref: 3, Watch: true, Kind: "chat"})
	until(t, "two watch", func() bool { return testutil.ToFloat64(n.metrics.watches) == 2 })
	close(failed)
	first.nextError(wire.CodeUnavailable)
	if e := second.nextError(wire.CodeUnavailable); e.Ref != 3 || e.Text != "not now" {
		t.Errorf("error: %+v", e)
	}
	n.pagesAre(0)
}

// What a look has to say to a watch that was quit is not for another with the
// same ref.
func TestRefIsWatchedAgainDuringALook(t *testing.T) {
	n, failed := start(t), make(chan struct{})
	n.dir.mu.Lock()
	n.dir.onList = func(q directory.Query) error {
		if q.Kind != "chat" {
			return nil
		}
		<-failed
		return wire.Refuse(wire.CodeUnavailable, "not now")
	}
	n.dir.mu.Unlock()
	p := n.connect()
	p.send(wire.Browse{Ref: 6, Watch: true, Kind: "chat"})
	until(t, "the hosts are asked", func() bool { return len(n.dir.listed()) == 1 })
	p.send(wire.Quit{Ref: 6})
	p.send(wire.Browse{Ref: 6, Watch: true, Kind: "board"})
	p.nextPage()
	close(failed)
	n.pagesAre(1)
	p.nothingMore()
	p.send(wire.Quit{Ref: 6})
	until(t, "nobody watches", func() bool { return testutil.ToFloat64(n.metrics.watches) == 0 })
}

// A gateway that closes says so to who asks for rooms.
func TestClosingGatewayListsNothing(t *testing.T) {
	n := start(t)
	p := n.connect()
	closed := func(is bool) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.closed = is
	}
	closed(true)
	defer closed(false)
	p.send(wire.List{Ref: 4, Kind: "chat"})
	if e := p.nextError(wire.CodeUnavailable); e.Ref != 4 || e.RetryMS == 0 {
		t.Errorf("list: %+v", e)
	}
	for ref, watch := range map[uint32]bool{5: false, 6: true} {
		p.send(wire.Browse{Ref: ref, Watch: watch, Kind: "chat"})
		if e := p.nextError(wire.CodeUnavailable); e.Ref != ref || e.RetryMS == 0 {
			t.Errorf("browse, watching %t: %+v", watch, e)
		}
	}
	n.pagesAre(0)
	if got := testutil.ToFloat64(n.metrics.watches); got != 0 {
		t.Errorf("%v watches", got)
	}
}

// Frames are counted under their names.
func TestFramesHaveNames(t *testing.T) {
	for typ := wire.TypeHello; typ <= wire.TypeQuit; typ++ {
		if typeLabel(typ, clientTypes) == "other" {
			t.Errorf("frame %#x of clients has no name", typ)
		}
	}
	for typ := wire.TypeWelcome; typ <= wire.TypePage; typ++ {
		if typeLabel(typ, gatewayTypes) == "other" {
			t.Errorf("frame %#x of gateways has no name", typ)
		}
	}
}
