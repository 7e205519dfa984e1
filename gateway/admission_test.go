package gateway

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/limpet-games/limpet/internal/pressure"
	"github.com/limpet-games/limpet/wire"
)

// TestResumesGoBeforeJoins: of what a second lets through, joins leave a part to
// resumes; who is turned away is given a time of its own.
func TestResumesGoBeforeJoins(t *testing.T) {
	l := Limits{Admits: 100}
	l.setDefaults()
	a := newAdmission(&l, false)
	now := time.Now()
	admitted := func(resume bool, tries int) (n int, advice []uint32) {
		for range tries {
			if e := a.seat(now, resume); e == nil {
				n++
			} else {
				advice = append(advice, e.RetryMS)
			}
		}
		return n, advice
	}
	joins, advice := admitted(false, 1000)
	if joins != 150 || len(advice) != 850 {
		t.Errorf("%d joins at once", joins)
	}
	if first, last := advice[0], advice[len(advice)-1]; first > 500 || last < 5000 || last > 25_000 {
		t.Errorf("the first is told %d ms, the last %d", first, last)
	}
	if resumes, _ := admitted(true, 1000); resumes != 50 {
		t.Errorf("%d resumes behind the joins", resumes)
	}
	now = now.Add(10 * time.Second)
	if resumes, _ := admitted(true, 1000); resumes != 200 {
		t.Errorf("%d resumes after a rest", resumes)
	}
}

func TestConnectionsAreTakenOneByOne(t *testing.T) {
	l := Limits{Accepts: 1000}
	l.setDefaults()
	a := newAdmission(&l, false)
	now := time.Now()
	var wait time.Duration
	for range 1100 {
		wait = a.door(now)
	}
	if wait < 900*time.Millisecond || wait > 1100*time.Millisecond {
		t.Errorf("the 1100th waits %v", wait)
	}
}

// TestStormOfConnections: those beyond the rate wait, and none is turned away.
func TestStormOfConnections(t *testing.T) {
	n := start(t, limits(func(l *Limits) { l.Accepts = 100 }))
	began := time.Now()
	for range 40 {
		n.dial()
	}
	if took := time.Since(began); took < 250*time.Millisecond {
		t.Errorf("40 connections at 100 a second were taken in %v", took)
	}
	until(t, "all are there", func() bool { return n.Connections() == 40 })
}

func TestUnderPressure(t *testing.T) {
	var level atomic.Int32
	set := func(l pressure.Level) { level.Store(int32(l)) }
	n := start(t, func(c *Config) { c.Pressure = func() pressure.Level { return pressure.Level(level.Load()) } })
	h := startHost(t, "h#1")
	n.dir.put(h.at(room, 10))
	member := n.connect()
	member.join(h, 10)
	set(pressure.NoRooms)
	p := n.connect()
	p.send(wire.Join{Ref: 1, Mode: wire.ModeJoinOrCreate, Kind: "chat", Name: "another"})
	if e := p.nextError(wire.CodeBusy); e.RetryMS < 2000 {
		t.Errorf("retry in %d ms", e.RetryMS)
	}
	p.join(h, 10) // a room that is there already
	set(pressure.NoConnections)
	_, resp, err := dialer.Dial(n.url, nil)
	if err == nil || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("a new connection: %v, %v", resp, err)
	}
	p.nothingMore()
	set(pressure.CutSlowest)
	if code := member.closed(); code != int(wire.CloseSlow) { // silent for longer than p
		t.Errorf("closed with %d", code)
	}
	set(pressure.None)
	n.connect()
}
