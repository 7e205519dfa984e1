//go:build linux

package main

import (
	"cmp"
	"fmt"
	"sort"
	"strings"
	"time"
)

// maxSize is of a state: 64 KiB less a byte, as the raw baselines have lengths of
// 16 bits.
const maxSize = 1<<16 - 1

// plan is what a run does: a scenario with the flags that change it.
type plan struct {
	Scenario string        `json:"scenario"`
	Clients  int           `json:"clients"`
	PerRoom  int           `json:"per_room"`
	Seats    int           `json:"seats"` // rooms that each client is in
	Rate     float64       `json:"rate"`  // inputs a second of each membership
	Tick     int           `json:"tick"`
	Size     int           `json:"size"`
	Messages int           `json:"messages"` // of a tick
	Duration time.Duration `json:"duration"`
	Slow     float64       `json:"slow"`
	Churn    float64       `json:"churn"`
	Joining  int           `json:"joining"`
	Sources  int           `json:"sources"`
	Echo     bool          `json:"echo"`     // rooms answer and don't tick
	PingPong bool          `json:"pingpong"` // each answer brings the next input
	Reliable bool          `json:"reliable"`
	Gateways int           `json:"gateways"`
	Storm    bool          `json:"storm"` // the joins are what is looked at
	Watch    bool          `json:"watch"` // note what processes hold all the while
	TLS      bool          `json:"tls"`
	Store    string        `json:"store"`
	Pin      bool          `json:"pin"`
}

// members is how many memberships there are.
func (p plan) members() int { return p.Clients * p.Seats }

// silent plays have no deliveries: what they are about is the joins, and what
// members cost that do nothing.
func (p plan) silent() bool { return p.Echo && !p.PingPong && p.Rate == 0 }

func (p plan) rooms() int { return max(1, (p.members()+p.PerRoom-1)/p.PerRoom) }

// play says what members and rooms do.
func (p plan) play() string {
	inputs := fmt.Sprintf("%g inputs/s each", p.Rate)
	switch {
	case p.silent():
		return "no inputs, no ticks"
	case p.PingPong:
		return "an input whenever the last was answered"
	case p.Echo:
		return inputs + ", each answered"
	}
	return fmt.Sprintf("%s, %d x %d bytes at %d Hz", inputs, p.Messages, p.Size, p.Tick)
}

// inputName is what the latency of an input is called.
func (p plan) inputName() string {
	if p.Echo {
		return "round trip"
	}
	return "input to state"
}

type scenario struct {
	about string
	plan  plan
}

var scenarios = map[string]scenario{
	"arena": {"rooms of 50; 32-byte inputs at 20/s from each, a 256-byte state at 20 Hz to all",
		plan{Clients: 1000, PerRoom: 50, Rate: 20}},
	"broadcast": {"one room of 1,000, a 256-byte state at 20 Hz, no inputs",
		plan{Clients: 1000, PerRoom: 1000}},
	"echo": {"two clients in one room that answers each input at once: round trips",
		plan{Clients: 2, PerRoom: 2, Echo: true, PingPong: true}},
	"idle": {"10,000 members, 50 a room, no ticks, from several loopback addresses",
		plan{Clients: 10_000, PerRoom: 50, Echo: true, Sources: 4}},
	"joinstorm": {"5,000 clients that join as fast as they can, 50 a room",
		plan{Clients: 5000, PerRoom: 50, Echo: true, Joining: 256, Sources: 4, Storm: true}},
	"churn": {"the arena with 100 connections a second that end and come again",
		plan{Clients: 1000, PerRoom: 50, Rate: 20, Churn: 100}},
	"soak": {"the arena of 500 for ten minutes, 20 connections a second that end and come again: memory must stay flat",
		plan{Clients: 500, PerRoom: 50, Rate: 20, Churn: 20, Watch: true, Duration: 10 * time.Minute}},
	"slow": {"the arena with 1 % of the clients that hardly read",
		plan{Clients: 1000, PerRoom: 50, Rate: 20, Slow: 0.01}},
	"bigstate": {"four rooms of 50, a full state of 64 KiB at 2 Hz",
		plan{Clients: 200, PerRoom: 50, Rate: 2, Tick: 2, Size: maxSize}},
	"manyrooms": {"20,000 rooms of one member, ten rooms a connection, 1 Hz",
		plan{Clients: 2000, PerRoom: 1, Seats: 10, Rate: 0, Tick: 1, Size: 64, Joining: 8}},
}

func scenarioNames() []string {
	var names []string
	for name := range scenarios {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// planned is a scenario with its defaults filled in.
func planned(name string) (plan, error) {
	s, ok := scenarios[name]
	if !ok {
		return plan{}, fmt.Errorf("scenario %q: want one of %s (%w)", name, strings.Join(scenarioNames(), ", "), errUsage)
	}
	p := s.plan
	p.Scenario = name
	for v, def := range map[*int]int{&p.Seats: 1, &p.Tick: 20, &p.Size: 256, &p.Messages: 1, &p.Joining: 32, &p.Sources: 1, &p.Gateways: 1} {
		if *v == 0 {
			*v = def
		}
	}
	p.Duration = cmp.Or(p.Duration, 10*time.Second)
	return p, nil
}
