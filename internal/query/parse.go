package query

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Parse reads a query:
//
//	ITEM, ... [where COND and ...] [by COLUMN, ...] [order by ITEM [asc|desc]] [limit N]
//
// An error is an *Error.
func Parse(text string) (*Query, error) {
	if len(text) > MaxText {
		return nil, &Error{MaxText, fmt.Sprintf("%d bytes: at most %d", len(text), MaxText)}
	}
	tokens, err := lex(text)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens, q: &Query{text: text, limit: defaultLimit}}
	if err := p.query(); err != nil {
		return nil, err
	}
	return p.q, nil
}

type parser struct {
	tokens []token
	q      *Query
}

func (p *parser) peek() token { return p.tokens[0] }

func (p *parser) next() token {
	t := p.tokens[0]
	if t.kind != end {
		p.tokens = p.tokens[1:]
	}
	return t
}

// take takes a keyword or a sign, if it comes next.
func (p *parser) take(text string) bool {
	if !p.peek().is(text) {
		return false
	}
	p.next()
	return true
}

func wrong(t token, format string, args ...any) error {
	return &Error{t.at, fmt.Sprintf(format, args...)}
}

func (p *parser) query() error {
	if err := p.list(p.item); err != nil {
		return err
	}
	if p.take("where") {
		if err := p.conditions(); err != nil {
			return err
		}
	}
	group := p.peek()
	if p.take("group") && !p.peek().is("by") {
		return wrong(group, "group wants by")
	}
	if p.take("by") {
		if err := p.list(p.groupBy); err != nil {
			return err
		}
	}
	order, at, err := p.order()
	if err != nil {
		return err
	}
	if p.take("limit") {
		if err := p.limit(); err != nil {
			return err
		}
	}
	if t := p.peek(); t.kind != end {
		return wrong(t, "%s is not expected here: want where, by, order by, limit, in this order", t)
	}
	return p.q.resolve(order, at)
}

// list parses one or more things with commas between.
func (p *parser) list(one func() error) error {
	for {
		if err := one(); err != nil {
			return err
		}
		if !p.take(",") {
			return nil
		}
	}
}

func (p *parser) item() error {
	it, err := p.oneItem()
	if err != nil {
		return err
	}
	if len(p.q.items) == MaxItems {
		return wrong(p.peek(), "more than %d columns", MaxItems)
	}
	p.q.items = append(p.q.items, it)
	return nil
}

func (p *parser) oneItem() (item, error) {
	t := p.next()
	if t.kind != word {
		return item{}, wrong(t, "%s: want a column or a function", t)
	}
	name := strings.ToLower(t.text)
	fn, q, err := functionOf(t, name)
	if err != nil {
		return item{}, err
	}
	called := p.take("(")
	switch {
	case fn == fnNone || fn == fnMax && !called: // max is a column too
		if called {
			return item{}, wrong(t, "no function %s: want count, sum, min, max, mean, or p and a number, like p99", t)
		}
		c, err := columnOf(t)
		if err != nil {
			return item{}, err
		}
		return item{label: c.name, col: c}, nil
	case fn == fnCount:
		if called && !p.take(")") {
			return item{}, wrong(p.peek(), "count counts rooms and is of no column: want )")
		}
		return item{label: "count", fn: fnCount}, nil
	case !called:
		return item{}, wrong(t, "%s is of a column: %s(members)", name, name)
	}
	at := p.next()
	c, err := columnOf(at)
	if err != nil {
		return item{}, err
	}
	if c.number == nil {
		return item{}, wrong(at, "%s(%s): %s is no number", name, c.name, c.name)
	}
	if t := p.next(); !t.is(")") {
		return item{}, wrong(t, "%s: want )", t)
	}
	if fn == fnMean {
		name = "mean"
	}
	return item{label: name + "(" + c.name + ")", fn: fn, col: c, q: q}, nil
}

// functionOf is the function that a name means, fnNone where it is none.
func functionOf(t token, name string) (function, float64, error) {
	if fn, ok := functions[name]; ok {
		return fn, 0, nil
	}
	digits, ok := strings.CutPrefix(name, "p")
	if !ok || digits == "" || digits[0] < '0' || digits[0] > '9' {
		return fnNone, 0, nil
	}
	q, err := strconv.ParseFloat(digits, 64)
	if err != nil || q <= 0 || q > 100 {
		return fnNone, 0, wrong(t, "percentile %s: want p and a number above 0 and up to 100", t)
	}
	return fnPercentile, q, nil
}

func columnOf(t token) (*column, error) {
	if t.kind == word {
		if c := findColumn(t.text); c != nil {
			return c, nil
		}
	}
	return nil, wrong(t, "no column %s: there are %s, label.NAME and num.NAME", t, strings.Join(Columns(), ", "))
}

func (p *parser) groupBy() error {
	t := p.next()
	c, err := columnOf(t)
	switch {
	case err != nil:
		return err
	case c.text == nil:
		return wrong(t, "by %s: it is a number; group by a text", c.name)
	case slices.ContainsFunc(p.q.by, func(o *column) bool { return o.name == c.name }):
		return wrong(t, "by %s, twice", c.name)
	case len(p.q.by) == MaxBy:
		return wrong(t, "by more than %d columns", MaxBy)
	}
	p.q.by = append(p.q.by, c)
	return nil
}

func (p *parser) order() (label string, at int, err error) {
	t := p.peek()
	if !p.take("order") {
		return "", 0, nil
	}
	if !p.take("by") {
		return "", 0, wrong(t, "order wants by")
	}
	at = p.peek().at
	it, err := p.oneItem()
	if err != nil {
		return "", 0, err
	}
	if p.q.desc = p.take("desc"); !p.q.desc {
		p.take("asc")
	}
	return it.label, at, nil
}

func (p *parser) limit() error {
	t := p.next()
	n, err := strconv.Atoi(t.text)
	if err != nil || n < 1 || n > MaxLimit {
		return wrong(t, "limit %s: want 1 to %d", t, MaxLimit)
	}
	p.q.limit = n
	return nil
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
