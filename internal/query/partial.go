package query

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// Partial is an answer to a query for some of the rooms. Partials of the same
// query merge. It is not for concurrent use.
type Partial struct {
	q *Query

	Rooms   uint64 // looked at
	Matched uint64 // of them
	LeftOff uint64 // matched, in groups that are left off

	groups map[string]*group // by joined key
	cut    string            // groups above this key are left off; "": none
	rows   []row
}

// group is what the rooms with one key come to.
type group struct {
	key    []string
	rooms  uint64
	totals []total // of the query's fields
}

// total is what the values of one field come to.
type total struct {
	n             uint64
	sum, min, max float64
	spread        spread
}

// row is one room, in a query without groups.
type row struct {
	room   string // breaks ties
	values []Value
}

// Value is a cell of an answer.
type Value struct {
	Text   string
	Number float64
	Kind   ValueKind
}

// ValueKind tells values apart.
type ValueKind uint8

// The kinds of values.
const (
	None ValueKind = iota // a number that the room, or every room of the group, lacks
	Text
	Num
)

// NewPartial is the answer for no rooms.
func (q *Query) NewPartial() *Partial { return &Partial{q: q, groups: map[string]*group{}} }

const keySeparator = "\x00"

// Add looks at one room, which may change afterwards.
func (p *Partial) Add(r *Room) {
	p.Rooms++
	if !p.q.Matches(r) {
		return
	}
	p.Matched++
	if !p.q.Grouped() {
		p.addRow(r)
		return
	}
	key := make([]string, len(p.q.by))
	for i, c := range p.q.by {
		key[i] = c.text(r)
	}
	g := p.group(key)
	if g == nil {
		p.LeftOff++
		return
	}
	g.rooms++
	for i, f := range p.q.fields {
		if v, ok := f.col.number(r); ok && finite(v) {
			g.totals[i].add(v, f.spread)
		}
	}
	p.cutGroups(2 * MaxGroups)
}

// group finds or makes a group, nil where it is left off.
func (p *Partial) group(key []string) *group {
	joined := strings.Join(key, keySeparator)
	if g := p.groups[joined]; g != nil {
		return g
	}
	if p.cut != "" && joined > p.cut {
		return nil
	}
	g := &group{key: key, totals: make([]total, len(p.q.fields))}
	p.groups[joined] = g
	return g
}

// cutGroups leaves groups off when there are more than most: those above a
// key, so that the ones that stay are whole whatever they are merged with.
func (p *Partial) cutGroups(most int) {
	if len(p.groups) <= most {
		return
	}
	p.cutTo(p.keys()[min(most, MaxGroups)-1])
}

func (p *Partial) cutTo(key string) {
	if p.cut == "" || key < p.cut {
		p.cut = key
	}
	for k, g := range p.groups {
		if k > p.cut {
			p.LeftOff += g.rooms
			delete(p.groups, k)
		}
	}
}

func (p *Partial) keys() []string {
	keys := make([]string, 0, len(p.groups))
	for k := range p.groups {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (t *total) add(v float64, spread bool) {
	if t.n == 0 {
		t.min, t.max = v, v
	}
	t.n++
	t.sum += v
	t.min, t.max = math.Min(t.min, v), math.Max(t.max, v)
	if spread {
		t.spread.add(v, 1)
	}
}

func (t *total) merge(o *total) {
	if o.n == 0 {
		return
	}
	if t.n == 0 {
		t.min, t.max = o.min, o.max
	}
	t.n += o.n
	t.sum += o.sum
	t.min, t.max = math.Min(t.min, o.min), math.Max(t.max, o.max)
	t.spread.merge(&o.spread)
}

func (p *Partial) addRow(r *Room) {
	w := row{room: r.Room, values: make([]Value, len(p.q.items))}
	for i, it := range p.q.items {
		if it.col.text != nil {
			w.values[i] = Value{Text: it.col.text(r), Kind: Text}
		} else if v, ok := it.col.number(r); ok && finite(v) {
			w.values[i] = Value{Number: v, Kind: Num}
		}
	}
	if p.rows = append(p.rows, w); len(p.rows) > 4*MaxLimit {
		p.keepFirst()
	}
}

// keepFirst sorts the rows and keeps those that the answer has room for.
func (p *Partial) keepFirst() {
	slices.SortFunc(p.rows, func(a, b row) int {
		if c := p.q.compare(a.values, b.values); c != 0 {
			return c
		}
		return cmp.Compare(a.room, b.room)
	})
	if len(p.rows) > p.q.limit {
		clear(p.rows[p.q.limit:])
		p.rows = p.rows[:p.q.limit]
	}
}

// compare orders two rows of the answer; values that are not there come last.
func (q *Query) compare(a, b []Value) int {
	if q.order < 0 {
		return 0
	}
	x, y := a[q.order], b[q.order]
	if x.Kind != y.Kind {
		return cmp.Compare(y.Kind, x.Kind)
	}
	c := cmp.Or(cmp.Compare(x.Number, y.Number), cmp.Compare(x.Text, y.Text))
	if q.desc {
		return -c
	}
	return c
}

// Merge adds the answer for other rooms, which must be to the same query. It
// may take over parts of o.
func (p *Partial) Merge(o *Partial) {
	p.Rooms += o.Rooms
	p.Matched += o.Matched
	p.LeftOff += o.LeftOff
	p.rows = append(p.rows, o.rows...)
	p.keepFirst()
	if o.cut != "" {
		p.cutTo(o.cut)
	}
	for _, theirs := range o.groups {
		g := p.group(theirs.key)
		if g == nil {
			p.LeftOff += theirs.rooms
			continue
		}
		g.rooms += theirs.rooms
		for i := range g.totals {
			g.totals[i].merge(&theirs.totals[i])
		}
	}
	p.cutGroups(MaxGroups)
}
