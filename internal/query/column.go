package query

import "strings"

// Room is one live room as its host last saw it.
type Room struct {
	Room, Kind, Name, Host, Build string

	Labels  map[string]string // not changed by anybody
	Numbers []Number          // of the room's code
	Open    bool              // takes members

	Members, Max, Connected int

	Epoch    uint64
	Age      float64 // seconds, of this copy
	Unsaved  float64 // seconds since the oldest change that is not stored
	Saves    uint64
	Inputs   uint64  // that this copy handled
	Ticks    uint64  // that it ran
	Skipped  uint64  // ticks that it left out
	Lateness float64 // ms that its clock was late, the worst of some seconds
	Waiting  int     // events in its mailbox
}

// Number is one that a room's code gives.
type Number struct {
	Name  string
	Value float64
}

// column is something that a room has: a text or a number.
type column struct {
	name    string
	seconds bool // a length of time: conditions may say 5m
	text    func(*Room) string
	number  func(*Room) (v float64, ok bool)
}

func always(f func(*Room) float64) func(*Room) (float64, bool) {
	return func(r *Room) (float64, bool) { return f(r), true }
}

var columns = []column{
	{name: "room", text: func(r *Room) string { return r.Room }},
	{name: "kind", text: func(r *Room) string { return r.Kind }},
	{name: "name", text: func(r *Room) string { return r.Name }},
	{name: "host", text: func(r *Room) string { return r.Host }},
	{name: "build", text: func(r *Room) string { return r.Build }},
	{name: "open", text: func(r *Room) string {
		if r.Open {
			return "true"
		}
		return "false"
	}},
	{name: "members", number: always(func(r *Room) float64 { return float64(r.Members) })},
	{name: "max", number: always(func(r *Room) float64 { return float64(r.Max) })},
	{name: "connected", number: always(func(r *Room) float64 { return float64(r.Connected) })},
	{name: "epoch", number: always(func(r *Room) float64 { return float64(r.Epoch) })},
	{name: "age", seconds: true, number: always(func(r *Room) float64 { return r.Age })},
	{name: "unsaved", seconds: true, number: always(func(r *Room) float64 { return r.Unsaved })},
	{name: "saves", number: always(func(r *Room) float64 { return float64(r.Saves) })},
	{name: "inputs", number: always(func(r *Room) float64 { return float64(r.Inputs) })},
	{name: "ticks", number: always(func(r *Room) float64 { return float64(r.Ticks) })},
	{name: "skipped", number: always(func(r *Room) float64 { return float64(r.Skipped) })},
	{name: "lateness", number: always(func(r *Room) float64 { return r.Lateness })},
	{name: "waiting", number: always(func(r *Room) float64 { return float64(r.Waiting) })},
}

// Columns are the names of all columns but rooms' own.
func Columns() []string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	return names
}

// findColumn is the column of a name, nil where there is none.
func findColumn(name string) *column {
	if label, ok := strings.CutPrefix(name, "label."); ok && label != "" {
		return &column{name: name, text: func(r *Room) string { return r.Labels[label] }}
	}
	if number, ok := strings.CutPrefix(name, "num."); ok && number != "" {
		return &column{name: name, number: func(r *Room) (float64, bool) {
			for _, n := range r.Numbers {
				if n.Name == number {
					return n.Value, true
				}
			}
			return 0, false
		}}
	}
	for i := range columns {
		if columns[i].name == name {
			return &columns[i]
		}
	}
	return nil
}
