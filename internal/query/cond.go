package query

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// cond is one condition: its column compared with one value, or with several.
type cond struct {
	col     *column
	op      string // = != < <= > >= ~ !~ in
	texts   []string
	numbers []float64
}

func (p *parser) conditions() error {
	for {
		c, err := p.condition()
		if err != nil {
			return err
		}
		if len(p.q.conds) == MaxConds {
			return wrong(p.peek(), "more than %d conditions", MaxConds)
		}
		p.q.conds = append(p.q.conds, c)
		if !p.take("and") {
			return nil
		}
	}
}

func (p *parser) condition() (cond, error) {
	col, err := columnOf(p.next())
	if err != nil {
		return cond{}, err
	}
	c := cond{col: col}
	t := p.next()
	switch {
	case t.is("in"):
		c.op = "in"
		return c, p.values(&c)
	case t.kind != sign || strings.Contains("(),", t.text):
		return c, wrong(t, "%s after %s: want = != < <= > >= ~ !~ or in", t, col.name)
	}
	c.op = t.text
	pattern := c.op == "~" || c.op == "!~"
	switch {
	case col.text != nil && !pattern && c.op != "=" && c.op != "!=":
		return c, wrong(t, "%s is a text: want = != ~ !~ or in", col.name)
	case col.number != nil && pattern:
		return c, wrong(t, "%s is a number: want = != < <= > >= or in", col.name)
	}
	return c, p.value(&c)
}

func (p *parser) values(c *cond) error {
	if t := p.next(); !t.is("(") {
		return wrong(t, "in wants values: %s in (a, b)", c.col.name)
	}
	if err := p.list(func() error { return p.value(c) }); err != nil {
		return err
	}
	if t := p.next(); !t.is(")") {
		return wrong(t, "%s: want , or )", t)
	}
	return nil
}

func (p *parser) value(c *cond) error {
	t := p.next()
	if t.kind != word && t.kind != quotedText {
		return wrong(t, "%s: want a value for %s", t, c.col.name)
	}
	if len(c.texts)+len(c.numbers) == MaxValues {
		return wrong(t, "more than %d values", MaxValues)
	}
	if c.col.text != nil {
		c.texts = append(c.texts, t.text)
		return nil
	}
	v, err := strconv.ParseFloat(t.text, 64)
	if err != nil && c.col.seconds {
		var d time.Duration
		d, err = time.ParseDuration(t.text)
		v = d.Seconds()
	}
	if err != nil || !finite(v) {
		return wrong(t, "%s %s %s: want a number", c.col.name, c.op, t)
	}
	c.numbers = append(c.numbers, v)
	return nil
}

// Matches reports whether a room meets all conditions. A number that a room
// does not have meets none.
func (q *Query) Matches(r *Room) bool {
	for i := range q.conds {
		if !q.conds[i].matches(r) {
			return false
		}
	}
	return true
}

func (c *cond) matches(r *Room) bool {
	if c.col.text != nil {
		v := c.col.text(r)
		switch c.op {
		case "=", "in":
			return slices.Contains(c.texts, v)
		case "!=":
			return v != c.texts[0]
		}
		return glob(c.texts[0], v) == (c.op == "~")
	}
	v, ok := c.col.number(r)
	if !ok {
		return false
	}
	x := c.numbers[0]
	switch c.op {
	case "=", "in":
		return slices.Contains(c.numbers, v)
	case "!=":
		return v != x
	case "<":
		return v < x
	case "<=":
		return v <= x
	case ">":
		return v > x
	}
	return v >= x
}

// glob matches a text with a pattern in which * stands for any text. It goes
// back to the last * alone, so its time is bounded by the product of lengths.
func glob(pattern, s string) bool {
	star, from := -1, 0
	p, i := 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && pattern[p] == s[i]:
			p++
			i++
		case star >= 0:
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
