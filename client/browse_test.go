package client

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/limpet-games/limpet/wire"
)

func newLister(t *testing.T) (*Client, *fake) {
	t.Helper()
	f := newFake(t)
	f.welcome.Minor = 1
	c, err := Dial(context.Background(), Config{URLs: []string{f.url}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, f
}

func nextBrowse(t *testing.T, g *fakeConn) wire.Browse {
	t.Helper()
	b, err := wire.DecodeBrowse(g.next())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func page(ref uint32, update bool, rooms string) wire.Page {
	return wire.Page{Ref: ref, Update: update, Asked: 4, Answered: 3, Covered: 750, Next: "m", JSON: []byte(rooms)}
}

func TestBrowse(t *testing.T) {
	c, f := newLister(t)
	g := f.accept()
	type result struct {
		page Page
		err  error
	}
	results := make(chan result, 1)
	ask := func(q Query) {
		go func() {
			p, err := c.Browse(context.Background(), "chat", q)
			results <- result{p, err}
		}()
	}
	ask(Query{Filter: wire.Filter{Pool: "gold"}, After: "b", Most: 7})
	b := nextBrowse(t, g)
	if b.Watch || b.Most != 7 || b.Kind != "chat" || b.After != "b" || string(b.Filter.JSON()) != `{"pool":"gold"}` {
		t.Errorf("browse: %+v", b)
	}
	g.send(page(b.Ref, false, `[{"room":"chat/c","members":2,"max":9,"reserved":1,"labels":{"map":"sea"},"open":true}]`))
	r := <-results
	p := r.page
	if r.err != nil || len(p.Rooms) != 1 || p.Rooms[0].Room != "chat/c" || p.Rooms[0].Reserved != 1 || p.Rooms[0].Labels["map"] != "sea" ||
		p.Asked != 4 || p.Answered != 3 || p.Covered != 0.75 || p.Next != "m" {
		t.Errorf("page: %+v", r)
	}
	ask(Query{})
	g.send(wire.ErrorFrame{Ref: nextBrowse(t, g).Ref, Error: wire.Error{Code: wire.CodeRateLimited, RetryMS: 250}})
	var e *wire.Error
	if r := <-results; !errors.As(r.err, &e) || e.Code != wire.CodeRateLimited {
		t.Errorf("refused: %+v", r)
	}
	if _, err := c.Browse(context.Background(), "no kind", Query{}); err == nil {
		t.Error("a kind that is none was asked for")
	}
	if _, err := c.Browse(context.Background(), "chat", Query{Filter: wire.Filter{Seats: -1}}); err == nil {
		t.Error("a filter that is none was asked for")
	}
}

// A watched page follows its updates, and is asked for again after a break.
func TestWatch(t *testing.T) {
	c, f := newLister(t)
	g := f.accept()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	pages, ended := make(chan Page, 16), make(chan error, 1)
	go func() { ended <- c.Watch(ctx, "chat", Query{}, func(p Page) { pages <- p }) }()
	expect := func(want ...wire.RoomID) Page {
		t.Helper()
		select {
		case p := <-pages:
			for i, r := range p.Rooms {
				if i >= len(want) || r.Room != want[i] {
					t.Errorf("page holds %+v, want %v", p.Rooms, want)
					break
				}
			}
			if len(p.Rooms) != len(want) {
				t.Errorf("page holds %d rooms, want %v", len(p.Rooms), want)
			}
			return p
		case <-time.After(within):
			t.Fatal("no page came")
			return Page{}
		}
	}
	b := nextBrowse(t, g)
	if !b.Watch {
		t.Errorf("browse: %+v", b)
	}
	g.send(page(b.Ref, false, `[{"room":"chat/b","members":1},{"room":"chat/d","members":1}]`))
	expect("chat/b", "chat/d")
	g.send(page(b.Ref, true, `[{"room":"chat/a","members":3},{"room":"chat/c"},{"room":"chat/d","members":2},{"room":"chat/b","gone":true}]`))
	if p := expect("chat/a", "chat/c", "chat/d"); p.Rooms[2].Members != 2 {
		t.Errorf("chat/d was not updated: %+v", p.Rooms)
	}
	g.send(page(99, true, `[{"room":"chat/x"}]`)) // of a browse that was quit
	c.Drop()
	g = f.accept()
	again := nextBrowse(t, g)
	g.send(page(again.Ref, false, `[{"room":"chat/z"}]`))
	expect("chat/z")
	// A gateway that is busy for now is asked again.
	g.send(wire.ErrorFrame{Ref: again.Ref, Error: wire.Error{Code: wire.CodeBusy, RetryMS: 1}})
	b = nextBrowse(t, g)
	g.send(page(b.Ref, false, `[]`))
	expect()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	if q, err := wire.DecodeQuit(g.next()); err != nil || q.Ref != b.Ref {
		t.Errorf("quit %+v, %v", q, err)
	}
}

// A gateway of the first minor version has neither pages nor filters.
func TestOldGatewayHasNoPages(t *testing.T) {
	f := newFake(t)
	c, err := Dial(context.Background(), Config{URLs: []string{f.url}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var e *wire.Error
	if _, err := c.Browse(context.Background(), "chat", Query{}); !errors.As(err, &e) || e.Code != wire.CodeUnavailable {
		t.Errorf("browse: %v", err)
	}
	if _, err := c.Find(context.Background(), "chat", wire.Filter{Pool: "gold"}, nil); !errors.As(err, &e) || e.Code != wire.CodeUnavailable {
		t.Errorf("find: %v", err)
	}
}

func TestFindAsksByFilter(t *testing.T) {
	c, f := newLister(t)
	g := f.accept()
	joined := make(chan *Room, 1)
	go func() {
		r, err := c.Find(context.Background(), "chat", wire.Filter{Labels: map[string]string{"map": "sea"}, Seats: 2}, []byte("hi"))
		if err != nil {
			t.Error(err)
		}
		joined <- r
	}()
	q, err := wire.DecodeFind(g.next())
	if err != nil || q.Kind != "chat" || string(q.Filter.JSON()) != `{"labels":{"map":"sea"},"seats":2}` || string(q.Data) != "hi" {
		t.Fatalf("find: %+v %s, %v", q, q.Filter.JSON(), err)
	}
	g.send(wire.Joined{Ref: q.Ref, Handle: 3, Kind: "chat", Name: "r7", Member: 5, Attach: wire.Attach{Epoch: 9, Incarnation: 9}, Token: []byte("t")})
	if r := <-joined; r.Name() != "r7" {
		t.Errorf("joined %s", r.ID())
	}
	if _, err := c.Find(context.Background(), "chat", wire.Filter{Seats: 1001}, nil); err == nil {
		t.Error("a filter above its bounds was sent")
	}
	wide := wire.Filter{Labels: map[string]string{}} // within each bound, but not in JSON
	for _, k := range "abcdefgh" {
		wide.Labels[string(k)] = strings.Repeat("<", wire.MaxLabelBytes)
	}
	if err := wide.Check(); err != nil || len(wide.JSON()) <= wire.MaxFilter {
		t.Fatalf("%d bytes of JSON, %v", len(wide.JSON()), err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if _, err := c.Find(ctx, "chat", wide, nil); err == nil || ctx.Err() != nil {
		t.Errorf("a filter above its size was sent: %v", err)
	}
	if _, err := c.Browse(ctx, "chat", Query{Filter: wide}); err == nil || ctx.Err() != nil {
		t.Errorf("a filter above its size was asked for: %v", err)
	}
}
