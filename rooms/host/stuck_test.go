package host

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A process in which too many calls hang gives up no more rooms, and ends also
// where nobody else takes any.
func TestHangingCallsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &Host{}
		var last *room
		for range maxStuck + 1 {
			last = &room{id: "tally/one", calls: &pulse{}}
			last.calls.Begin()
			for range stuckAfter + 1 {
				h.stuck.take(last)
			}
		}
		if n := h.stuck.count(); n != maxStuck || last.calls.isTaken() {
			t.Errorf("%d rooms given up, want %d, and the last left alone", n, maxStuck)
		}
		err := h.Hopeless(t.Context(), time.Hour, func() bool { return false })
		if err == nil || !strings.Contains(err.Error(), "64 calls") {
			t.Errorf("Hopeless: %v", err)
		}
		one := h.anyStuck()
		one.host = h
		h.stuck.remove(one)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := h.Hopeless(ctx, time.Hour, func() bool { return false }); err != nil {
			t.Errorf("Hopeless with one fewer: %v", err)
		}
		for range stuckAfter + 1 {
			h.stuck.take(last)
		}
		if !last.calls.isTaken() {
			t.Error("the room that had to wait is not given up when there is a place")
		}
	})
}

func (h *Host) anyStuck() *room {
	for r := range h.stuck.list {
		return r
	}
	return nil
}
