package query

import (
	"fmt"
	"slices"
	"strings"
)

// Query is a question that can be put to rooms. It does not change.
type Query struct {
	text   string
	items  []item
	conds  []cond
	by     []*column
	fields []field // numbers that functions are of, each once
	order  int     // of items; -1: groups by their key, rows by their room
	desc   bool
	limit  int
}

// String is the query's text.
func (q *Query) String() string { return q.text }

// item is one column of the answer.
type item struct {
	label string
	fn    function
	col   *column // nil: count
	group int     // fnNone in a query with groups: which of by
	field int     // of fields
	q     float64 // of a percentile, 0 to 100
}

type function uint8

const (
	fnNone function = iota // the column itself
	fnCount
	fnSum
	fnMin
	fnMax
	fnMean
	fnPercentile
)

var functions = map[string]function{"count": fnCount, "sum": fnSum, "min": fnMin, "max": fnMax, "mean": fnMean, "avg": fnMean}

// field is a column that functions are of.
type field struct {
	col    *column
	spread bool // its distribution is asked for
}

// Grouped reports whether the answer has groups, rather than rooms.
func (q *Query) Grouped() bool {
	return len(q.fields) > 0 || slices.ContainsFunc(q.items, counts) || len(q.by) > 0
}

func counts(i item) bool { return i.fn != fnNone }

// Labels head the answer's columns.
func (q *Query) Labels() []string {
	labels := make([]string, len(q.items))
	for i, it := range q.items {
		labels[i] = it.label
	}
	return labels
}

// resolve links items, groups and order once all is parsed.
func (q *Query) resolve(order string, orderAt int) error {
	grouped := q.Grouped()
	for i := range q.items {
		it := &q.items[i]
		switch {
		case it.fn == fnNone && grouped:
			it.group = slices.IndexFunc(q.by, func(c *column) bool { return c.name == it.label })
			if it.group < 0 {
				return &Error{0, fmt.Sprintf("column %s stands beside functions: add it to \"by\", or ask for sum(%s) or the like", it.label, it.label)}
			}
		case it.col != nil && it.fn != fnNone:
			it.field = q.addField(it.col, it.fn == fnPercentile)
		}
	}
	if grouped { // groups say which they are
		for i, c := range slices.Backward(q.by) {
			if !slices.ContainsFunc(q.items, func(it item) bool { return it.fn == fnNone && it.label == c.name }) {
				q.items = slices.Insert(q.items, 0, item{label: c.name, col: c, group: i})
			}
		}
		if len(q.items) > MaxItems {
			return &Error{0, fmt.Sprintf("%d columns with those grouped by: at most %d", len(q.items), MaxItems)}
		}
	}
	q.order = -1
	if order != "" {
		if q.order = slices.IndexFunc(q.items, func(it item) bool { return it.label == order }); q.order < 0 {
			return &Error{orderAt, fmt.Sprintf("order by %s: it is not among the columns: %s", order, strings.Join(q.Labels(), ", "))}
		}
	}
	return nil
}

func (q *Query) addField(c *column, spread bool) int {
	i := slices.IndexFunc(q.fields, func(f field) bool { return f.col.name == c.name })
	if i < 0 {
		i = len(q.fields)
		q.fields = append(q.fields, field{col: c})
	}
	q.fields[i].spread = q.fields[i].spread || spread
	return i
}

// Error says what is wrong with a query, and where.
type Error struct {
	At   int // byte of the text
	Text string
}

// Error is the text and its place, counted from 1.
func (e *Error) Error() string { return fmt.Sprintf("query, at %d: %s", e.At+1, e.Text) }
