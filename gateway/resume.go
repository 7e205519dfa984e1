package gateway

import (
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// maxForged is how many bad resume tokens one connection may show.
const maxForged = 8

// handleResume takes a membership back that a token names. Which of several
// connections that come with it holds the member is for the room to say.
func (c *conn) handleResume(msg []byte) error {
	f, err := wire.DecodeResume(msg)
	if err != nil {
		return c.misuse(msg, err)
	}
	t, err := c.checkResume(f)
	if err != nil {
		e := wire.CodeOf(err)
		c.g.metrics.joins.WithLabelValues("resume", e.Code.String()).Inc()
		c.g.noise.Info().Err(err).Stringer("from", c.from).Msg("resume refused")
		c.sendError(f.Ref, 0, e)
		if e.Code == wire.CodeBadToken {
			c.over().forged++
		}
		if e := c.excess; e != nil && e.forged > maxForged {
			return &end{wire.CloseFlood, "too many resume tokens that are none"}
		}
		return nil
	}
	c.begin(&request{
		c: c, what: "resume", ref: f.Ref,
		// The token says that the room was there: a store that knows nothing of it
		// has lost it.
		ask: directory.Request{Room: t.room, Mode: wire.ModeJoin, After: wire.Epoch(t.incarnation) - 1},
		why: peer.WhyResume, member: t.member, generation: t.generation, incarnation: t.incarnation,
		at: f.At, data: append([]byte(nil), f.Data...),
	})
	return nil
}

// checkResume checks what a resume says against its token.
func (c *conn) checkResume(f wire.Resume) (token, error) {
	t, err := c.g.tokens.verify(f.Token, time.Now())
	switch {
	case err != nil:
		return t, err
	case t.user != c.id.User:
		return t, wire.Refuse(wire.CodeUnauthorized, "the resume token is another user's")
	case t.data != hashData(f.Data):
		return t, wire.Refuse(wire.CodeBadToken, "the join data is not what the token was given for")
	case f.At.Epoch > t.epoch:
		return t, wire.Refuse(wire.CodeBadRequest, "the position is later than the token")
	}
	if e := c.id.mayJoin(t.room.Kind(), t.room.Name()); e != nil {
		return t, e
	}
	return t, nil
}
