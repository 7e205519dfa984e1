package query

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func parse(t testing.TB, text string) *Query {
	t.Helper()
	q, err := Parse(text)
	if err != nil {
		t.Fatalf("parse %q: %v", text, err)
	}
	return q
}

func TestBadQueriesSayWhatIsWrongAndWhere(t *testing.T) {
	for _, c := range []struct {
		text string
		at   int
		want string
	}{
		{"", 0, "want a column or a function"},
		{"membres", 0, `no column "membres"`},
		{"count where", 11, `no column the end`},
		{"count where kind", 16, "the end after kind: want ="},
		{"count where kind > a", 17, "kind is a text"},
		{"count where members ~ 3", 20, "members is a number"},
		{"count where members > few", 22, "want a number"},
		{"count where age > 5min", 18, "want a number"},
		{"count where kind in a", 20, "in wants values"},
		{"count where kind in (a", 22, "want , or )"},
		{"count where kind = 'a", 19, "the quote does not end"},
		{"count where kind = a; drop", 20, "no meaning here"},
		{"count(members)", 6, "is of no column"},
		{"sum", 0, "sum is of a column"},
		{"sum(kind)", 4, "kind is no number"},
		{"p0(members)", 0, "percentile"},
		{"p101(members)", 0, "percentile"},
		{"total(members)", 0, "no function"},
		{"room, count", 0, `add it to "by"`},
		{"count by members", 9, "group by a text"},
		{"count by kind, kind", 15, "twice"},
		{"count by kind order by members", 23, "not among the columns"},
		{"count limit 0", 12, "want 1 to 1000"},
		{"count limit 1001", 12, "want 1 to 1000"},
		{"count by kind where open = true", 14, "not expected here"},
		{"count by label.", 9, "no column"},
		{strings.Repeat("count, ", 16) + "count", 117, "more than 16 columns"},
		{strings.Repeat("x", MaxText+1), MaxText, "bytes: at most"},
	} {
		_, err := Parse(c.text)
		var e *Error
		if !errors.As(err, &e) || e.At != c.at || !strings.Contains(e.Text, c.want) {
			t.Errorf("%.60q: got %v, want %q at %d", c.text, err, c.want, c.at+1)
		}
	}
}

func TestConditions(t *testing.T) {
	r := &Room{
		Room: "arena/reef", Kind: "arena", Name: "reef", Host: "host-1", Open: true, Members: 7, Age: 400,
		Labels: map[string]string{"map": "reef bay"}, Numbers: []Number{{"score", 12.5}},
	}
	for text, want := range map[string]bool{
		"kind = arena":                           true,
		"kind != arena":                          false,
		"kind in (board, arena) and members = 7": true,
		"kind in (board, chat)":                  false,
		"room ~ arena/*":                         true,
		"room ~ *e*f":                            true,
		"room ~ *e*g":                            false,
		"room !~ arena/*":                        false,
		"label.map = 'reef bay'":                 true,
		"label.mode = ''":                        true,
		"open = true and members < 8":            true,
		"members <= 6":                           false,
		"members in (6, 7)":                      true,
		"age > 5m and age <= 400":                true,
		"num.score >= 12.5":                      true,
		"num.lives >= 0":                         false,
		"num.lives != 0":                         false,
	} {
		if got := parse(t, "count WHERE "+text).Matches(r); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

// randomRooms are n rooms of every kind of value.
func randomRooms(rng *rand.Rand, n int) []Room {
	rooms := make([]Room, n)
	for i := range rooms {
		kind := []string{"arena", "board", "chat"}[rng.IntN(3)]
		rooms[i] = Room{
			Room: fmt.Sprintf("%s/r%d", kind, i), Kind: kind, Name: fmt.Sprintf("r%d", i), Members: rng.IntN(40), Max: 50,
			Age: rng.ExpFloat64() * 1000, Open: rng.IntN(2) == 0, Labels: map[string]string{"map": fmt.Sprint(rng.IntN(7))},
		}
		if rng.IntN(3) > 0 {
			rooms[i].Numbers = []Number{{"score", math.Round(rng.NormFloat64()*1000) / 4}}
		}
	}
	return rooms
}

// answer puts rooms to a query as if they were on several hosts.
func answer(t *testing.T, rng *rand.Rand, q *Query, rooms []Room) Table {
	t.Helper()
	hosts := make([]*Partial, 1+rng.IntN(9))
	for i := range hosts {
		hosts[i] = q.NewPartial()
	}
	for i := range rooms {
		hosts[rng.IntN(len(hosts))].Add(&rooms[i])
	}
	all := q.NewPartial()
	for _, p := range hosts {
		raw, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		part, err := q.Decode(raw)
		if err != nil {
			t.Fatal(err)
		}
		all.Merge(part)
	}
	return all.Table()
}

// modelled is the same by the plainest means, from all rooms at once.
func modelled(rooms []Room, kind, label string) (count, sum, lo, hi, mean float64, sorted []float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	for _, r := range rooms {
		if r.Kind != kind || r.Labels["map"] != label || !r.Open {
			continue
		}
		count++
		for _, n := range r.Numbers {
			sum += n.Value
			lo, hi = min(lo, n.Value), max(hi, n.Value)
			sorted = append(sorted, n.Value)
		}
	}
	slices.Sort(sorted)
	return count, sum, lo, hi, sum / float64(len(sorted)), sorted
}

func TestGroupsAgreeWithAModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	q := parse(t, "count, sum(num.score), min(num.score), max(num.score), mean(num.score), p50(num.score), p99(num.score) where open = true by kind, label.map")
	for _, n := range []int{0, 1, 50, 3000, 60_000} {
		rooms := randomRooms(rng, n)
		got := answer(t, rng, q, rooms)
		if got.Rooms != uint64(n) || got.LeftOff != 0 {
			t.Fatalf("%d rooms: looked at %d, left off %d", n, got.Rooms, got.LeftOff)
		}
		var matched uint64
		for _, row := range got.Rows {
			count, sum, lo, hi, mean, sorted := modelled(rooms, row[0].Text, row[1].Text)
			matched += uint64(count)
			if row[2].Number != count {
				t.Fatalf("%v: want count %v", row, count)
			}
			if len(sorted) == 0 {
				if row[3].Kind != None || row[7].Kind != None {
					t.Fatalf("%v: numbers where no room has any", row)
				}
				continue
			}
			want := []float64{sum, lo, hi, mean}
			for i, w := range want {
				if math.Abs(row[3+i].Number-w) > 1e-9*math.Abs(sum)+1e-9 {
					t.Fatalf("%v: want %v", row, want)
				}
			}
			for i, p := range []float64{50, 99} {
				exact := sorted[int(math.Ceil(p/100*float64(len(sorted))))-1]
				if off := math.Abs(row[7+i].Number - exact); off > got.Error*math.Abs(exact)+1e-9 {
					t.Fatalf("%v: p%v is %v, off by more than %v", row, p, exact, got.Error)
				}
			}
		}
		if matched != got.Matched {
			t.Fatalf("%d rooms in groups, %d matched", matched, got.Matched)
		}
	}
}

func TestFirstRowsAgreeWithAModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	q := parse(t, "room, num.score, members where kind = arena order by num.score desc limit 25")
	rooms := randomRooms(rng, 8000)
	got := answer(t, rng, q, rooms)
	var want []Room
	for _, r := range rooms {
		if r.Kind == "arena" && r.Numbers != nil {
			want = append(want, r)
		}
	}
	slices.SortFunc(want, func(a, b Room) int {
		if a.Numbers[0] != b.Numbers[0] {
			return int(4 * (b.Numbers[0].Value - a.Numbers[0].Value))
		}
		return strings.Compare(a.Room, b.Room)
	})
	if len(got.Rows) != 25 {
		t.Fatalf("%d rows", len(got.Rows))
	}
	for i, row := range got.Rows {
		if row[0].Text != want[i].Room || row[1].Number != want[i].Numbers[0].Value {
			t.Fatalf("row %d is %v, want %s with %v", i, row, want[i].Room, want[i].Numbers)
		}
	}
}

// TestGroupsThatStayAreWhole: what is left off for want of room never makes a
// group that is shown too small.
func TestGroupsThatStayAreWhole(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	q := parse(t, "count by name limit 1000")
	var rooms []Room
	for range 30_000 {
		rooms = append(rooms, Room{Name: fmt.Sprintf("n%05d", rng.IntN(6000))})
	}
	got := answer(t, rng, q, rooms)
	counts := map[string]float64{}
	for _, r := range rooms {
		counts[r.Name]++
	}
	if len(got.Rows) == 0 || got.LeftOff == 0 {
		t.Fatalf("%d groups, %d rooms left off", len(got.Rows), got.LeftOff)
	}
	shown := 0.0
	for _, row := range got.Rows {
		if shown += row[1].Number; row[1].Number != counts[row[0].Text] {
			t.Fatalf("%v: want %v", row, counts[row[0].Text])
		}
	}
	if shown+float64(got.LeftOff) != 30_000 {
		t.Fatalf("%v shown and %d left off of 30,000", shown, got.LeftOff)
	}
}

func TestPercentilesOfManyValuesAreWithinTheirError(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	var s spread
	var all []float64
	for range 100_000 {
		v := math.Exp(rng.NormFloat64()*6) * float64(1-2*rng.IntN(2))
		all = append(all, v)
		s.add(v, 1)
	}
	slices.Sort(all)
	for _, q := range []float64{0.01, 1, 10, 50, 90, 99, 99.9, 100} {
		exact := all[int(math.Ceil(q/100*float64(len(all))))-1]
		if got := s.at(q, uint64(len(all))); math.Abs(got-exact) > RelativeError*math.Abs(exact)+smallest {
			t.Errorf("p%v is %v, want %v", q, got, exact)
		}
	}
	if most := 2*int(lastBin) + 1; len(s.bins) > most || most > 1<<14 {
		t.Errorf("%d bins of at most %d", len(s.bins), most)
	}
}

func TestValuesSurviveJSON(t *testing.T) {
	in := [][]Value{{{Kind: None}, {Kind: Text, Text: "a\"b"}, {Kind: Num, Number: -1.5}}}
	raw, err := json.Marshal(in)
	if err != nil || string(raw) != `[[null,"a\"b",-1.5]]` {
		t.Fatalf("%s %v", raw, err)
	}
	var out [][]Value
	if err := json.Unmarshal(raw, &out); err != nil || !slices.Equal(in[0], out[0]) {
		t.Fatalf("%v %v", out, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("room, members where kind = arena and age > 5m order by members desc limit 3")
	f.Add("count, p99.9(num.score) where label.map in ('a', b) and room !~ a* group by kind, label.map")
	rooms := randomRooms(rand.New(rand.NewPCG(9, 9)), 20)
	f.Fuzz(func(t *testing.T, text string) {
		q, err := Parse(text)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.At < 0 || e.At > len(text) {
				t.Fatalf("%v", err)
			}
			return
		}
		p := q.NewPartial()
		for i := range rooms {
			p.Add(&rooms[i])
		}
		raw, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := q.Decode(raw)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := fmt.Sprint(p.Table()), fmt.Sprint(back.Table()); a != b {
			t.Fatalf("%s\n%s", a, b)
		}
	})
}

func FuzzDecode(f *testing.F) {
	queries := []*Query{
		parse(f, "count, p99(members), mean(num.score) by kind"),
		parse(f, "room, members order by members desc limit 5"),
	}
	rooms := randomRooms(rand.New(rand.NewPCG(9, 9)), 20)
	for i, q := range queries {
		p := q.NewPartial()
		for i := range rooms {
			p.Add(&rooms[i])
		}
		raw, err := p.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(i == 0, raw)
	}
	f.Fuzz(func(t *testing.T, first bool, raw []byte) {
		q := queries[1]
		if first {
			q = queries[0]
		}
		p, err := q.Decode(raw)
		if err != nil {
			return
		}
		all := q.NewPartial()
		all.Merge(p)
		if p, err = q.Decode(raw); err != nil {
			t.Fatal(err)
		}
		all.Merge(p)
		if _, err := json.Marshal(all.Table()); err != nil {
			t.Fatal(err)
		}
		if _, err := all.Encode(); err != nil {
			t.Fatal(err)
		}
	})
}
