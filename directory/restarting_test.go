package directory

import (
	"testing"
	"time"
)

// A host is back from its restart before it knows anybody: the others hear of it
// as they come into view, and take what is refused at its address for proof again.
func TestNodesThatComeIntoViewAreToldOfTheEndOfARestart(t *testing.T) {
	c := newCluster(t, 1, 0)
	host := c.nodes[0]
	host.coroner.TellBack(host.Self(), time.Minute)
	c.before = func(n *testNode) { n.coroner.expectBack(host.Self(), time.Minute) }
	c.start("h1", RoleHost, "chat")
	c.start("g0", RoleGateway)
	c.until("all know that it is back", func() bool {
		for _, n := range c.nodes[1:] {
			if !n.coroner.Restarting(host.Self()).IsZero() {
				return false
			}
		}
		return true
	})
}

// Who restarts again is not said to be back by what told of the first restart.
func TestAnotherRestartEndsTheTellingOfTheFirst(t *testing.T) {
	c := newCluster(t, 2, 0)
	host, other := c.nodes[0], c.nodes[1]
	host.coroner.TellBack(host.Self(), time.Minute)
	host.coroner.TellRestarting(t.Context(), host.Self(), time.Minute)
	late := make(chan *testNode, 1)
	c.before = func(n *testNode) { n.coroner.expectBack(host.Self(), time.Minute); late <- n }
	c.start("h2", RoleHost, "chat")
	c.agree()
	for _, n := range []*testNode{other, <-late} {
		if n.coroner.Restarting(host.Self()).IsZero() {
			t.Errorf("%s was told that the host is back, which restarts", n.Self())
		}
	}
}
