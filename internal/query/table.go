package query

import (
	"encoding/json"
	"slices"
	"strconv"
)

// Table is an answer as people and scripts read it.
type Table struct {
	Columns []string  `json:"columns"`
	Rows    [][]Value `json:"rows"`
	Rooms   uint64    `json:"rooms"`           // looked at
	Matched uint64    `json:"matched"`         // of them
	LeftOff uint64    `json:"left_off"`        // matched, and in groups for which there was no room
	Error   float64   `json:"error,omitempty"` // percentiles may be off by this part of their value
}

// Table is the answer so far. The Partial can go on.
func (p *Partial) Table() Table {
	t := Table{Columns: p.q.Labels(), Rows: [][]Value{}, Rooms: p.Rooms, Matched: p.Matched, LeftOff: p.LeftOff}
	if !p.q.Grouped() {
		p.keepFirst()
		for _, r := range p.rows {
			t.Rows = append(t.Rows, r.values)
		}
		return t
	}
	for _, key := range p.keys() {
		g := p.groups[key]
		t.Rows = append(t.Rows, p.q.cells(g))
		for i := range g.totals {
			if g.totals[i].spread.bins != nil {
				t.Error = RelativeError
			}
		}
	}
	if len(p.q.by) == 0 && len(t.Rows) == 0 { // of no rooms there is a count, too
		t.Rows = append(t.Rows, p.q.cells(&group{totals: make([]total, len(p.q.fields))}))
	}
	slices.SortStableFunc(t.Rows, p.q.compare)
	t.Rows = t.Rows[:min(len(t.Rows), p.q.limit)]
	return t
}

// cells are a group's row.
func (q *Query) cells(g *group) []Value {
	row := make([]Value, len(q.items))
	for i, it := range q.items {
		switch it.fn {
		case fnNone:
			row[i] = Value{Text: g.key[it.group], Kind: Text}
		case fnCount:
			row[i] = Value{Number: float64(g.rooms), Kind: Num}
		default:
			t := &g.totals[it.field]
			if t.n == 0 {
				continue
			}
			if v := t.value(it); finite(v) { // a sum may have overflowed
				row[i] = Value{Number: v, Kind: Num}
			}
		}
	}
	return row
}

func (t *total) value(it item) float64 {
	switch it.fn {
	case fnSum:
		return t.sum
	case fnMin:
		return t.min
	case fnMax:
		return t.max
	case fnMean:
		return t.sum / float64(t.n)
	}
	return max(t.min, min(t.max, t.spread.at(it.q, t.n)))
}

// String is the value for a table.
func (v Value) String() string {
	switch v.Kind {
	case Text:
		return v.Text
	case Num:
		return strconv.FormatFloat(v.Number, 'f', -1, 64)
	}
	return "-"
}

// MarshalJSON is a text, a number or null.
func (v Value) MarshalJSON() ([]byte, error) {
	switch v.Kind {
	case Text:
		return json.Marshal(v.Text)
	case Num:
		return json.Marshal(v.Number)
	}
	return []byte("null"), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (v *Value) UnmarshalJSON(b []byte) error {
	*v = Value{}
	switch {
	case string(b) == "null":
		return nil
	case len(b) > 0 && b[0] == '"':
		v.Kind = Text
		return json.Unmarshal(b, &v.Text)
	}
	v.Kind = Num
	return json.Unmarshal(b, &v.Number)
}
