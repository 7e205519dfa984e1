package snapshot

// chain is a list of entries, linked in themselves. An entry is in each of the
// writer's chains at most once.
type chain struct {
	which       int // of an entry's links
	first, last *entry
	n           int
}

// Chains that an entry can be in.
const (
	inReady = iota
	inOwed
	chains
)

// link is an entry's place in a chain.
type link struct {
	before, after *entry
	in            bool
}

func (c *chain) has(e *entry) bool { return e.links[c.which].in }

func (c *chain) pushBack(e *entry) { c.insert(e, c.last, nil) }

func (c *chain) pushFront(e *entry) { c.insert(e, nil, c.first) }

func (c *chain) insert(e, before, after *entry) {
	e.links[c.which] = link{before, after, true}
	c.join(before, e)
	c.join(e, after)
	c.n++
}

func (c *chain) remove(e *entry) {
	l := e.links[c.which]
	e.links[c.which] = link{}
	c.join(l.before, l.after)
	c.n--
}

// join makes a and b neighbours; nil is the chain's end.
func (c *chain) join(a, b *entry) {
	if a == nil {
		c.first = b
	} else {
		a.links[c.which].after = b
	}
	if b == nil {
		c.last = a
	} else {
		b.links[c.which].before = a
	}
}
