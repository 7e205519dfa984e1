package gateway

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/wire"
)

const (
	pageEvery   = time.Second // between looks at a page that is watched
	maxPages    = 256         // pages watched through one gateway, each of any number of clients
	maxWatches  = 4           // of one connection
	maxWatchers = 20_000      // of one page
)

// lobby keeps the pages that clients watch. All who watch the same page share
// one look at the hosts a second.
type lobby struct {
	g *Gateway

	mu    sync.Mutex        // after conn.mu; nothing is locked under it
	pages map[pageKey]*page // guarded by mu
}

// pageKey is the same for those who ask for the same.
type pageKey struct {
	kind, filter, after string
	most                int
}

// page is one that is watched. Its goroutine ends when nobody does any more.
type page struct {
	key   pageKey
	query directory.Query
	kick  chan struct{} // capacity 1: somebody came

	watches map[*watch]struct{} // guarded by lobby.mu

	// Owned by the page's goroutine.
	shown  shown
	failed *wire.Error // of the last look; nil: shown is what it found
}

// watch is a client's interest in a page.
type watch struct {
	c    *conn
	ref  uint32
	page *page
	told bool // has the page; owned by the page's goroutine
}

// shown is a page as clients have it.
type shown struct {
	rooms           []directory.OpenRoom
	json            []byte // of rooms
	asked, answered int
	covered         uint16 // thousandths
	next            string
}

func (c *conn) handleBrowse(msg []byte) error {
	f, err := wire.DecodeBrowse(msg)
	if err != nil {
		return c.misuse(msg, err)
	}
	e := c.id.mayList(f.Kind)
	if e == nil && !c.over().lists.allow(time.Now(), c.g.limits.Lists) {
		e = &wire.Error{Code: wire.CodeRateLimited, RetryMS: 250, Text: "not so many lists"}
	}
	q := directory.Query{Kind: f.Kind, Filter: f.Filter, After: f.After, Most: pageSize(f.Most)}
	switch {
	case e != nil:
	case f.Watch:
		e = c.subscribe(f.Ref, q)
	case !c.g.begin(func() { c.browse(f.Ref, q) }):
		e = errClosing()
	}
	if e != nil {
		c.refuseList(f.Ref, e)
	}
	return nil
}

func (c *conn) handleQuit(msg []byte) error {
	f, err := wire.DecodeQuit(msg)
	if err != nil {
		return c.misuse(msg, err)
	}
	c.mu.Lock()
	w := c.watches[f.Ref]
	delete(c.watches, f.Ref)
	c.mu.Unlock()
	if w != nil {
		c.g.lobby.drop(w)
	}
	return nil
}

func pageSize(most uint16) int {
	if most == 0 {
		return listUsual
	}
	return min(int(most), listMost)
}

// browse answers once.
func (c *conn) browse(ref uint32, q directory.Query) {
	ctx, cancel := context.WithTimeout(c.g.ctx, listWithin)
	defer cancel()
	s, err := c.g.look(ctx, q)
	if err != nil {
		c.refuseList(ref, wire.CodeOf(err))
		return
	}
	c.g.metrics.lists.WithLabelValues("ok").Inc()
	c.sendNow(encode(s.frame(ref)))
}

// subscribe adds a watch to its page, which answers it. A new page is begun with
// no lock held: Gateway.mu comes before conn.mu.
func (c *conn) subscribe(ref uint32, q directory.Query) *wire.Error {
	l, w := &c.g.lobby, &watch{c: c, ref: ref}
	isNew, e := c.keepWatch(w, q)
	if e != nil || !isNew || c.g.begin(func() { l.run(w.page) }) {
		return e
	}
	c.endWatch(w)
	l.drop(w)
	l.watching(w.page)
	return errClosing()
}

// keepWatch puts a watch on its page. isNew: the page is to be begun.
func (c *conn) keepWatch(w *watch, q directory.Query) (isNew bool, e *wire.Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.gone:
		return false, wire.Refuse(wire.CodeTimeout, "the connection has ended")
	case c.watches[w.ref] != nil:
		return false, wire.Refuse(wire.CodeBadRequest, "there is a browse with that ref")
	case len(c.watches) >= maxWatches:
		return false, wire.Refuse(wire.CodeTooManyLists, "a connection may watch four lists: quit one")
	}
	if isNew, e = c.g.lobby.add(w, q); e != nil {
		return false, e
	}
	if c.watches == nil {
		c.watches = map[uint32]*watch{}
	}
	c.watches[w.ref] = w
	return isNew, nil
}

// endWatch forgets a watch. False: it was quit, and its ref may be another's.
func (c *conn) endWatch(w *watch) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watches[w.ref] != w {
		return false
	}
	delete(c.watches, w.ref)
	return true
}

// add puts a watch on its page, which is made where there is none yet.
func (l *lobby) add(w *watch, q directory.Query) (made bool, e *wire.Error) {
	key := pageKey{q.Kind, q.Filter.Key(), q.After, q.Most}
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.pages[key]
	switch {
	case p == nil && len(l.pages) >= maxPages, p != nil && len(p.watches) >= maxWatchers:
		return false, &wire.Error{Code: wire.CodeBusy, RetryMS: 2000, Text: "too many lists are watched here"}
	case p == nil:
		p = &page{key: key, query: q, kick: make(chan struct{}, 1), watches: map[*watch]struct{}{}}
		l.pages[key], made = p, true
	}
	w.page = p
	p.watches[w] = struct{}{}
	l.g.metrics.watches.Inc()
	select {
	case p.kick <- struct{}{}:
	default:
	}
	return made, nil
}

func (l *lobby) drop(w *watch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, there := w.page.watches[w]; there {
		delete(w.page.watches, w)
		l.g.metrics.watches.Dec()
	}
}

// watching are those of a page that are still there. Where there is none the
// page is over.
func (l *lobby) watching(p *page) (all []*watch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range p.watches {
		all = append(all, w)
	}
	if len(all) == 0 {
		delete(l.pages, p.key)
	}
	return all
}

func (l *lobby) run(p *page) {
	every := time.NewTicker(pageEvery)
	defer every.Stop()
	var looked time.Time
	for {
		all := l.watching(p)
		if len(all) == 0 {
			return
		}
		switch {
		case time.Since(looked) >= pageEvery*9/10:
			l.renew(p, all)
			looked = time.Now()
		case p.failed != nil:
			l.refuse(all, p.failed)
		default:
			l.show(p, all, nil, false)
		}
		select {
		case <-every.C:
		case <-p.kick:
		case <-l.g.ctx.Done():
			return
		}
	}
}

// renew looks at the hosts and tells all what has changed. Where nobody can
// tell now, the page stays as it is, and newcomers hear why.
func (l *lobby) renew(p *page, all []*watch) {
	ctx, cancel := context.WithTimeout(l.g.ctx, listWithin)
	defer cancel()
	now, err := l.g.look(ctx, p.query)
	if err != nil {
		p.failed = wire.CodeOf(err)
		l.refuse(all, p.failed)
		return
	}
	p.failed = nil
	changes := now.since(&p.shown)
	news := now.asked != p.shown.asked || now.answered != p.shown.answered || now.covered != p.shown.covered || now.next != p.shown.next
	p.shown = now
	l.show(p, all, changes, news)
}

// show sends the page to who has not got it, and the changes, if there are any,
// to the others. news: completeness has changed.
func (l *lobby) show(p *page, all []*watch, changes []listed, news bool) {
	var update *wire.Page
	if news || len(changes) > 0 {
		if changes == nil {
			changes = []listed{}
		}
		if raw, err := json.Marshal(changes); err == nil && len(raw) <= listBytes {
			f := p.shown.frame(0)
			f.Update, f.JSON = true, raw
			update = &f
		}
	}
	for _, w := range all {
		switch {
		case !w.told || (news || len(changes) > 0) && update == nil:
			w.told = true
			w.c.sendNow(encode(p.shown.frame(w.ref)))
		case update != nil:
			update.Ref = w.ref
			w.c.sendNow(encode(*update))
		default:
			continue
		}
		l.g.metrics.pages.Inc()
	}
}

// refuse ends the watches that have nothing yet.
func (l *lobby) refuse(all []*watch, e *wire.Error) {
	for _, w := range all {
		if w.told || !w.c.endWatch(w) {
			continue
		}
		l.drop(w)
		w.c.refuseList(w.ref, e)
	}
}

// look asks the hosts for a page, of as many rooms as a frame has room for.
func (g *Gateway) look(ctx context.Context, q directory.Query) (shown, error) {
	l, err := g.cfg.Directory.List(ctx, q)
	if err != nil {
		return shown{}, err
	}
	text, n := listJSON(l.Rooms)
	s := shown{rooms: slices.Clone(l.Rooms[:n]), json: text, asked: l.Asked, answered: l.Answered, covered: uint16(1000 * l.Share)}
	if n > 0 && (l.More || n < len(l.Rooms)) {
		s.next = l.Rooms[n-1].Room.Name()
	}
	return s, nil
}

func (s *shown) frame(ref uint32) wire.Page {
	return wire.Page{
		Ref: ref, Asked: uint16(min(s.asked, 0xffff)), Answered: uint16(min(s.answered, 0xffff)), Covered: s.covered,
		Next: s.next, JSON: s.json,
	}
}

// since is what differs from an earlier page.
func (s *shown) since(old *shown) (changes []listed) {
	before, now := old.byRoom(), s.byRoom()
	for i := range s.rooms {
		o := &s.rooms[i]
		if was := before[o.Room]; was == nil || !alike(was, o) {
			changes = append(changes, listed{OpenRoom: *o, Open: true})
		}
	}
	for _, o := range old.rooms {
		if now[o.Room] == nil {
			changes = append(changes, listed{OpenRoom: directory.OpenRoom{Room: o.Room}, Gone: true})
		}
	}
	return changes
}

func (s *shown) byRoom() map[wire.RoomID]*directory.OpenRoom {
	all := make(map[wire.RoomID]*directory.OpenRoom, len(s.rooms))
	for i := range s.rooms {
		all[s.rooms[i].Room] = &s.rooms[i]
	}
	return all
}

func alike(a, b *directory.OpenRoom) bool {
	return a.Members == b.Members && a.Max == b.Max && a.Reserved == b.Reserved && reflect.DeepEqual(a.Labels, b.Labels)
}
