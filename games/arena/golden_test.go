package arena

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// goldenStep is one step of a walk, as browsers must compute it too.
type goldenStep struct {
	Input string  `json:"input"` // hex
	X     float64 `json:"x"`
	Y     float64 `json:"y"`
	VX    float64 `json:"vx"`
	VY    float64 `json:"vy"`
	Cool  uint8   `json:"cool"`
}

type goldenFile struct {
	Rocks    [][3]int     `json:"rocks"`
	Start    [2]float64   `json:"start"`
	Steps    []goldenStep `json:"steps"`
	State    State        `json:"state"`    // and below what is sent of it
	Snapshot string       `json:"snapshot"` // hex
}

// TestGolden holds movement and snapshot to what web/test checks the browser's
// side against.
func TestGolden(t *testing.T) {
	got, err := json.MarshalIndent(walk(), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	path := filepath.Join("testdata", "golden.json")
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s is not what the code does: if the change is meant, run go test -update and the tests in web/test", path)
	}
}

func walk() goldenFile {
	rnd := rand.New(rand.NewPCG(1, 2))
	p := Player{ID: 5, Slot: 3, Name: "Ann", X: 700, Y: 480, Budget: stepBudget, String: 7, Score: 70000}
	f := goldenFile{Start: [2]float64{p.X, p.Y}}
	for _, r := range Rocks {
		f.Rocks = append(f.Rocks, [3]int{int(r.X), int(r.Y), int(r.R)})
	}
	var dx, dy int8
	for n := range 240 {
		if n%9 == 0 {
			dx, dy = int8(rnd.IntN(255)-127), int8(rnd.IntN(255)-127)
		}
		if n%40 > 30 {
			dx, dy = 0, 0
		}
		in := stepInput(uint16(65500+n), dx, dy, n%17 == 3)
		w, _ := decodeStep(in)
		p.move(w)
		p.Step = w.number
		f.Steps = append(f.Steps, goldenStep{hex.EncodeToString(in), p.X, p.Y, p.VX, p.VY, p.Cool})
	}
	other := Player{ID: 6, Slot: 0, Name: "Bob", X: 1582, Y: 18, Grip: gripAfter, VX: -3.5}
	f.State = State{Clock: 70_000, Players: []Player{p, other}}
	var away [MaxPlayers + 1]bool
	away[other.Slot] = true
	f.Snapshot = hex.EncodeToString(appendSnapshot(nil, &f.State, &away))
	return f
}

func stepInput(n uint16, dx, dy int8, dash bool) []byte {
	b := []byte{opStep, byte(n >> 8), byte(n), byte(dx), byte(dy), 0}
	if dash {
		b[5] = flagDash
	}
	return b
}
