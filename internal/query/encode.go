package query

import (
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// What hosts send: arrays, so that it is small.
type (
	wirePartial struct {
		_       struct{} `cbor:",toarray"`
		Rooms   uint64
		Matched uint64
		LeftOff uint64
		Cut     string
		Groups  []wireGroup
		Rows    []wireRow
	}
	wireGroup struct {
		_      struct{} `cbor:",toarray"`
		Key    []string
		Rooms  uint64
		Totals []wireTotal
	}
	wireTotal struct {
		_             struct{} `cbor:",toarray"`
		N             uint64
		Sum, Min, Max float64
		Exact         map[float64]uint64
		Bins          map[int32]uint64
	}
	wireRow struct {
		_      struct{} `cbor:",toarray"`
		Room   string
		Values []wireValue
	}
	wireValue struct {
		_      struct{} `cbor:",toarray"`
		Kind   ValueKind
		Text   string
		Number float64
	}
)

var (
	encoding = must(cbor.EncOptions{ShortestFloat: cbor.ShortestFloat16}.EncMode())
	decoding = must(cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		MaxNestedLevels: 8, MaxArrayElements: 4 * MaxGroups, MaxMapPairs: 1 << 14,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Encode is the partial for Query.Decode, at most MaxPartial bytes: groups are
// left off until it fits; rows that don't are an error.
func (p *Partial) Encode() ([]byte, error) {
	p.keepFirst()
	p.cutGroups(MaxGroups)
	for {
		raw, err := encoding.Marshal(p.wire())
		if err != nil {
			return nil, fmt.Errorf("encode answer: %w", err)
		}
		if len(raw) <= MaxPartial {
			return raw, nil
		}
		if len(p.groups) < 2 {
			return nil, fmt.Errorf("answer of %d bytes: at most %d; ask for fewer columns or a lower limit", len(raw), MaxPartial)
		}
		p.cutTo(p.keys()[len(p.groups)/2-1])
	}
}

func (p *Partial) wire() wirePartial {
	w := wirePartial{Rooms: p.Rooms, Matched: p.Matched, LeftOff: p.LeftOff, Cut: p.cut}
	for _, g := range p.groups {
		wg := wireGroup{Key: g.key, Rooms: g.rooms}
		for i := range g.totals {
			t := &g.totals[i]
			wg.Totals = append(wg.Totals, wireTotal{N: t.n, Sum: t.sum, Min: t.min, Max: t.max, Exact: t.spread.exact, Bins: t.spread.bins})
		}
		w.Groups = append(w.Groups, wg)
	}
	for _, r := range p.rows {
		wr := wireRow{Room: r.room}
		for _, v := range r.values {
			wr.Values = append(wr.Values, wireValue{Kind: v.Kind, Text: v.Text, Number: v.Number})
		}
		w.Rows = append(w.Rows, wr)
	}
	return w
}

// Decode reads a host's part of the answer.
func (q *Query) Decode(raw []byte) (*Partial, error) {
	if len(raw) > MaxPartial {
		return nil, fmt.Errorf("answer of %d bytes: at most %d", len(raw), MaxPartial)
	}
	var w wirePartial
	if err := decoding.Unmarshal(raw, &w); err != nil {
		return nil, fmt.Errorf("decode answer: %w", err)
	}
	p := q.NewPartial()
	p.Rooms, p.Matched, p.LeftOff, p.cut = w.Rooms, w.Matched, w.LeftOff, w.Cut
	if len(w.Groups) > MaxGroups || len(w.Rows) > MaxLimit || q.Grouped() && w.Rows != nil || !q.Grouped() && w.Groups != nil {
		return nil, errors.New("decode answer: it is not to this query")
	}
	for i := range w.Groups {
		if err := p.takeGroup(&w.Groups[i]); err != nil {
			return nil, err
		}
	}
	for i := range w.Rows {
		if err := p.takeRow(&w.Rows[i]); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *Partial) takeGroup(w *wireGroup) error {
	if len(w.Key) != len(p.q.by) || len(w.Totals) != len(p.q.fields) {
		return errors.New("decode answer: a group is not of this query")
	}
	g := p.group(w.Key)
	if g == nil || g.rooms > 0 || w.Rooms == 0 {
		return errors.New("decode answer: a group is there twice, is left off, or is empty")
	}
	g.rooms = w.Rooms
	for i := range w.Totals {
		t := &w.Totals[i]
		if !finite(t.Sum) || !finite(t.Min) || !finite(t.Max) || t.N > w.Rooms {
			return errors.New("decode answer: numbers out of range")
		}
		if err := t.checkSpread(p.q.fields[i].spread); err != nil {
			return err
		}
		g.totals[i] = total{n: t.N, sum: t.Sum, min: t.Min, max: t.Max, spread: spread{exact: t.Exact, bins: t.Bins}}
	}
	return nil
}

// checkSpread: a distribution holds as many values as its total.
func (t *wireTotal) checkSpread(asked bool) error {
	if len(t.Exact) > MaxExact || t.Exact != nil && t.Bins != nil {
		return errors.New("decode answer: distribution with too many values")
	}
	left := t.N
	if !asked {
		left = 0
	}
	for v, n := range t.Exact {
		if !finite(v) || n > left {
			return errors.New("decode answer: distribution out of range")
		}
		left -= n
	}
	for b, n := range t.Bins {
		if b < -lastBin || b > lastBin || n > left {
			return errors.New("decode answer: distribution out of range")
		}
		left -= n
	}
	if left > 0 {
		return errors.New("decode answer: distribution lacks values")
	}
	return nil
}

func (p *Partial) takeRow(w *wireRow) error {
	if len(w.Values) != len(p.q.items) {
		return errors.New("decode answer: a row is not of this query")
	}
	r := row{room: w.Room}
	for i, v := range w.Values {
		text := p.q.items[i].col.text != nil
		if v.Kind > Num || v.Kind == Text != text || !finite(v.Number) {
			return errors.New("decode answer: a value is not of its column")
		}
		r.values = append(r.values, Value{Text: v.Text, Number: v.Number, Kind: v.Kind})
	}
	p.rows = append(p.rows, r)
	return nil
}
