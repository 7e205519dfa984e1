package actor

import (
	"testing"
	"time"

	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

func TestInputsOnceAndInOrder(t *testing.T) {
	st := open(t, &script{}, nil)
	st.joins(st.a, 1)
	st.input(st.a, 1, 1, 1, "a")
	st.input(st.a, 1, 1, 1, "a")
	st.input(st.a, 1, 1, 3, "c")
	st.input(st.a, 1, 1, 4, "d")
	st.want(st.a, "tell:1.1=expect2")
	st.input(st.a, 1, 1, 2, "b")
	st.input(st.a, 1, 1, 4, "d")
	st.want(st.a, "tell:1.1=expect3")
	st.now = st.now.Add(askAgain)
	st.input(st.a, 1, 1, 5, "e")
	st.want(st.a, "tell:1.1=expect3")
	st.input(st.a, 1, 1, 3, "c")
	st.called("input:1:a input:1:b input:1:c")
}

func TestInputsOfOthersAreDropped(t *testing.T) {
	st := open(t, &script{}, nil)
	st.joins(st.a, 1)
	st.joins(st.b, 2)
	st.input(st.b, 1, 1, 1, "from the wrong port")
	st.input(st.a, 1, 2, 1, "from a generation to come")
	st.input(st.a, 9, 1, 1, "from nobody")
	st.Leave(st.now, st.b, peer.Who{Member: 1, Generation: 1}, 1)
	st.Detach(st.now, st.b, peer.Who{Member: 1, Generation: 1})
	st.called("")
	st.Detach(st.now, st.a, peer.Who{Member: 1, Generation: 1})
	st.input(st.a, 1, 1, 1, "from a dropped one")
	st.called("dropped:1")
	st.want(st.a, "")
}

func TestSkip(t *testing.T) {
	for _, tc := range []struct {
		name     string
		from, to wire.Input
		applied  wire.Input
		want     string
	}{
		{"the next ones", 3, 5, 5, "tell:1.1=skipped3-5"},
		{"some applied", 1, 4, 4, "tell:1.1=skipped1-4"},
		{"all applied", 1, 2, 2, "tell:1.1=skipped1-2"},
		{"beyond a gap", 4, 5, 2, "tell:1.1=expect3"},
		{"backwards", 5, 4, 2, ""},
		{"from 0", 0, 4, 2, ""},
		{"out of range", 3, maxInput + 1, 2, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			st := open(t, &script{}, nil)
			st.joins(st.a, 1)
			st.input(st.a, 1, 1, 1, "a")
			st.input(st.a, 1, 1, 2, "b")
			st.Skip(st.now, st.a, peer.Who{Member: 1, Generation: 1}, tc.from, tc.to)
			st.want(st.a, tc.want)
			if got := st.members[1].applied; got != tc.applied {
				t.Errorf("applied %d, want %d", got, tc.applied)
			}
		})
	}
}

func TestLeaveIsAnInput(t *testing.T) {
	st := open(t, &script{}, nil)
	st.joins(st.a, 1, 2)
	w := peer.Who{Member: 1, Generation: 1}
	st.Leave(st.now, st.a, w, 2)
	st.want(st.a, "tell:1.1=expect1")
	st.input(st.a, 1, 1, 1, "a")
	st.s.leave = nil
	st.Leave(st.now, st.a, w, 2)
	st.want(st.a, "left:1.1:left:")
	st.called("input:1:a leave:1:0")
	st.All().Send([]byte("x"))
	st.want(st.a, "all=1:x")
	next := st.again(st.saves(), &script{}, nil)
	next.attach(next.a, 1, 1, peer.WhyResume, wire.Position{Epoch: 5})
	next.want(next.a, "refused:1.1:left:the membership is over")
}

func TestAcks(t *testing.T) {
	st := open(t, &script{}, nil)
	st.joins(st.a, 1, 2)
	st.joins(st.b, 3)
	st.input(st.a, 1, 1, 1, "a")
	st.input(st.b, 3, 1, 1, "a")
	st.Flush(st.now)
	st.want(st.a, "acks:1(1,0)#0")
	st.want(st.b, "acks:3(1,0)#0")
	st.input(st.a, 2, 1, 1, "a")
	st.Flush(st.now.Add(ackEvery - 1))
	st.want(st.a, "")
	if got, want := st.Next(), st.now.Add(ackEvery); !got.Equal(want) {
		t.Errorf("next is %s, want %s", got, want)
	}
	st.saves()
	st.Flush(st.now.Add(ackEvery))
	st.want(st.a, "acks:2(1,1)#0:1(1,1)#0")
	st.want(st.b, "acks:3(1,1)#0")
	if next := st.Next(); !next.IsZero() {
		t.Errorf("next is %s with nothing to do", next)
	}
}

// A member that sends nothing still hears how many messages it should have.
func TestListenersAreToldTheirCount(t *testing.T) {
	st := open(t, &script{}, nil)
	st.joins(st.a, 1, 2)
	st.AllBut(st.Member(2)).Send([]byte("x"))
	st.a.took()
	st.sleep(time.Second)
	st.want(st.a, "acks:1(0,0)#1:2(0,0)#0")
	st.sleep(10 * time.Second)
	st.want(st.a, "")
}

func TestStoreRunning(t *testing.T) {
	st := open(t, &script{}, nil)
	st.joins(st.a, 1)
	st.joins(st.b, 2)
	st.StoreRunning(st.now, true)
	st.want(st.a, "")
	st.StoreRunning(st.now, false)
	st.want(st.a, "tell:1.1=store:false")
	st.want(st.b, "tell:2.1=store:false")
	st.attach(st.b, 3, 1, peer.WhyJoin, wire.Position{})
	st.want(st.b, "joined:3.1@0#0(0,0)[0..0] tell:3.1=store:false")
	st.StoreRunning(st.now, true)
	st.want(st.a, "tell:1.1=store:true")
}
