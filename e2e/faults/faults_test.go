//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/limpet-games/limpet/e2e/netns"
)

func TestMain(m *testing.M) {
	status, entered, err := netns.Enter()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if entered {
		status = m.Run()
	}
	os.Exit(status)
}

// TestSixtySeconds breaks a cluster for a minute. Two cores carry this many
// clients with the cluster beside them; make faults has more of them.
func TestSixtySeconds(t *testing.T) {
	ok, err := run(t.Context(), config{
		lasts: time.Minute, round: time.Minute, seed: 1,
		rooms: 120, clients: 400, rate: 2, out: t.Output(), logs: os.Getenv("LIMPET_E2E_LOGS"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if !ok {
		t.Error("a promise was broken")
	}
}

func TestDeckDealsEachFaultBeforeOneAgain(t *testing.T) {
	deal := func(seed uint64) (names []string) {
		d, err := newDeck("")
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(seed, 0))
		for range 2 * len(faults) {
			names = append(names, d.draw(rng).name)
		}
		return names
	}
	a := deal(1)
	if !slices.Equal(a, deal(1)) {
		t.Error("one seed deals two ways")
	}
	if slices.Equal(a, deal(2)) {
		t.Error("two seeds deal one way")
	}
	for _, half := range [][]string{a[:len(faults)], a[len(faults):]} {
		if slices.Sort(half); len(slices.Compact(half)) != len(faults) {
			t.Errorf("dealt %v", half)
		}
	}
}

func TestUnknownFaultsAreRefused(t *testing.T) {
	if _, err := newDeck("kill-everyone"); err == nil || !strings.Contains(err.Error(), `"kill-everyone"`) {
		t.Errorf("%v", err)
	}
}
