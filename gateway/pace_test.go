package gateway

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestPaceFollowsLateness(t *testing.T) {
	l := Limits{Accepts: 1000}
	l.setDefaults()
	a := newAdmission(&l, false)
	now := time.Now()
	taken := func() (n int) { // in a second
		for end := now.Add(time.Second); now.Before(end); n++ {
			now = now.Add(a.door(now))
		}
		return n
	}
	full := taken()
	factor := 1.0
	for range 20 {
		factor = nextPace(factor, lateAbove+1)
	}
	a.slow(factor)
	if n := taken(); factor != slowest || n < full/3 || n > full*2/3 {
		t.Errorf("%d connections a second at %v times the time between them, %d without", n, factor, full)
	}
	for range 20 {
		factor = nextPace(factor, lateAbove)
	}
	a.slow(factor)
	if n := taken(); factor != 1 || n < full*8/10 {
		t.Errorf("%d connections a second after a rest, %d before", n, full)
	}
}

// TestLatenessIsMeasured: a look every ten milliseconds while connections come,
// and every hundred when none do, for each look is a wake-up.
func TestLatenessIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		g := &Gateway{metrics: newMetrics(reg), admission: newAdmission(&Limits{Accepts: 100, Admits: 1}, false)}
		go g.watchLateness(t.Context())
		count := func() uint64 {
			all, err := reg.Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range all {
				if f.GetName() == "limpet_gateway_lateness_seconds" {
					return f.GetMetric()[0].GetHistogram().GetSampleCount()
				}
			}
			t.Fatal("lateness is not there")
			return 0
		}
		looks := func() uint64 { // within a second
			before := count()
			time.Sleep(time.Second)
			synctest.Wait()
			return count() - before
		}
		if n := looks(); n < 9 || n > 10 {
			t.Errorf("%d looks while nobody comes", n)
		}
		g.admission.door(time.Now())
		if n := looks(); n < 80 || n > 100 {
			t.Errorf("%d looks while somebody comes", n)
		}
		if n := looks(); n > 20 {
			t.Errorf("%d looks after a lull", n)
		}
		if p := testutil.ToFloat64(g.metrics.pace); p != 1 {
			t.Errorf("pace %v", p)
		}
	})
}

// TestPlacesOfAnOpening: no more than there are compute at once, and every one is
// given back, however connections end.
func TestPlacesOfAnOpening(t *testing.T) {
	o := opening(make(chan struct{}, 2))
	var inside, most atomic.Int32
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			p := place{of: o}
			for range 20 {
				p.enter()
				for n := inside.Add(1); ; {
					if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
						break
					}
				}
				inside.Add(-1)
				p.leave()
				p.leave()
			}
			p.enter()
			p.enter() // by another goroutine of the server's
			p.finish()
			p.finish()
			p.enter()
		})
	}
	wg.Wait()
	if most.Load() > 2 || len(o) != 0 {
		t.Errorf("%d inside at once, %d places kept", most.Load(), len(o))
	}
}

// TestHandshakesThatStopKeepNoPlace: connections that end, or say nothing more,
// anywhere in their handshake don't keep others from theirs.
func TestHandshakesThatStopKeepNoPlace(t *testing.T) {
	a := newAuthority(t)
	n := startTLS(t, a)
	for i := range 40 {
		nc, err := net.Dial("tcp", n.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		var c net.Conn = nc
		if i%2 == 0 {
			c = &muteAfter{Conn: nc, left: 1} // its hello, and no more
		}
		go tls.Client(c, &tls.Config{RootCAs: a.pool(), ServerName: "127.0.0.1"}).Handshake()
	}
	for range 3 {
		p, err := n.dialTLS(a.pool(), nil)
		if err != nil {
			t.Fatal(err)
		}
		p.ws.Close()
	}
}

// muteAfter is a connection that breaks off after some writes, without a word.
type muteAfter struct {
	net.Conn
	left int
}

func (m *muteAfter) Write(p []byte) (int, error) {
	if m.left == 0 {
		return 0, errors.New("mute")
	}
	m.left--
	return m.Conn.Write(p)
}

func (m *muteAfter) Read(p []byte) (int, error) {
	if m.left == 0 {
		return 0, io.ErrNoProgress
	}
	return m.Conn.Read(p)
}
