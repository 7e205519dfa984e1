package ledger

// Span is a run of inputs that were applied one behind the other: From, From+1
// and so on up to To.
type Span struct{ From, To uint64 }

// Spans are inputs in the order in which they were applied. Applied once and in
// order they are a single one, so that a book stays small.
type Spans []Span

// Add puts down that input n was applied.
func (s Spans) Add(n uint64) Spans {
	if last := len(s) - 1; last >= 0 && s[last].To+1 == n {
		s[last].To = n
		return s
	}
	return append(s, Span{n, n})
}

// Last is the input that was applied last, 0 for none.
func (s Spans) Last() uint64 {
	if len(s) == 0 {
		return 0
	}
	return s[len(s)-1].To
}

// Numbers are the inputs one by one.
func (s Spans) Numbers() []uint64 {
	var all []uint64
	for _, span := range s {
		for n := span.From; n <= span.To; n++ {
			all = append(all, n)
		}
	}
	return all
}

// Book is a room's state, and what a member gets as its full state.
type Book struct {
	Applied map[string]Spans `json:"applied"` // by client, in order
	Total   uint64           `json:"total"`
	Ticks   uint64           `json:"ticks"`
	Glances uint64           `json:"glances"`
}
