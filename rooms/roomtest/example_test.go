package roomtest_test

import (
	"fmt"
	"os"
	"time"

	"github.com/limpet-games/limpet/rooms/roomtest"
)

// In a test, t is the *testing.T.
var t = exampleT{}

// exampleT stands in for a *testing.T.
type exampleT struct{}

func (exampleT) Helper()                     {}
func (exampleT) Logf(string, ...any)         {}
func (exampleT) Errorf(f string, a ...any)   { fmt.Printf(f+"\n", a...) }
func (t exampleT) Fatalf(f string, a ...any) { t.Errorf(f, a...); os.Exit(1) }

// Players join and play; each message comes out where the kind sent it.
func Example() {
	rt := roomtest.New(t, tallyKind())
	ann := rt.Join("ann", nil)
	bob := rt.Join("bob", nil)

	ann.Input("5")
	fmt.Println("ann got", ann.Messages())
	fmt.Println("bob got", bob.Messages())

	_, err := rt.TryJoin("cyd", "late")
	fmt.Println("cyd:", err)
	// Output:
	// ann got [0 5]
	// bob got [0 5]
	// cyd: refused: too late
}

// Advance runs timers, ticks and ends of graces, each at its own time.
func ExampleRoom_Advance() {
	rt := roomtest.New(t, tallyKind())
	ann := rt.Join("ann", nil)
	ann.Input("in 5s")
	ann.Messages()

	rt.Advance(4 * time.Second)
	fmt.Println(ann.Messages())
	rt.Advance(2 * time.Second)
	fmt.Println(ann.Messages())
	// Output:
	// []
	// [remind]
}

// A crash takes the room back to its last checkpoint. The players stay, get
// the full state again, and send again what the crash undid: once.
func ExampleRoom_Crash() {
	rt := roomtest.New(t, tallyKind())
	ann := rt.Join("ann", nil)
	ann.Input("5")
	rt.Checkpoint()
	ann.Input("7")

	rt.Crash()
	fmt.Println("full state, then the 7 again:", ann.Messages())
	fmt.Println("told of", ann.Resyncs(), "rewind")
	// Output:
	// full state, then the 7 again: [5 12]
	// told of 1 rewind
}

// A player whose connection is lost is back with what it missed, within the
// kind's grace.
func ExamplePlayer_Drop() {
	rt := roomtest.New(t, tallyKind())
	ann, bob := rt.Join("ann", nil), rt.Join("bob", nil)
	ann.Messages()

	ann.Drop()
	bob.Input("5")
	ann.Input("6") // kept by the client
	ann.BackAfter(3 * time.Second)
	fmt.Println(ann.Messages())

	ann.Drop()
	ann.BackAfter(time.Minute)
	fmt.Println(ann.Ended())
	// Output:
	// [5 11]
	// grace_over the membership is over
}
