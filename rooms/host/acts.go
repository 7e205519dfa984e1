package host

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/limpet-games/limpet/internal/daemon"
	"github.com/limpet-games/limpet/internal/query"
	"github.com/limpet-games/limpet/rooms/internal/actor"
	"github.com/limpet-games/limpet/wire"
)

const (
	maxActs   = 64  // operators' questions and acts on rooms of this host that are under way
	maxRolled = 500 // members of a room in an answer
	actWithin = 10 * time.Second
)

// act is what an operator wants of one room. Acts are answered when they are
// durable.
type act struct {
	do     actKind
	member wire.MemberID
	reason string
	answer chan actAnswer // capacity 1
	kept   actor.Promise
}

type actKind uint8

const (
	actLook actKind = iota
	actKick
	actClose
)

type actAnswer struct {
	roll []actor.MemberInfo
	err  error
}

// ask has a room's loop carry out an act and waits for the answer.
func (h *Host) ask(ctx context.Context, id wire.RoomID, o *act) ([]actor.MemberInfo, error) {
	r := h.find(id)
	if r == nil || r.over.Load() {
		return nil, wire.Refuse(wire.CodeNoRoom, "no such room here")
	}
	select {
	case h.acts <- struct{}{}:
		defer func() { <-h.acts }()
	default:
		return nil, &wire.Error{Code: wire.CodeBusy, RetryMS: 200, Text: "too many requests of operators at once"}
	}
	ctx, cancel := context.WithTimeout(ctx, actWithin)
	defer cancel()
	o.answer = make(chan actAnswer, 1)
	r.post(event{kind: evAct, matter: &matter{act: o}})
	select {
	case a := <-o.answer:
		return a.roll, a.err
	case <-ctx.Done():
		return nil, &wire.Error{Code: wire.CodeTimeout, Text: "the room has not done it yet; it may still"}
	case <-r.done:
	}
	select {
	case a := <-o.answer:
		return a.roll, a.err
	default:
		return nil, &wire.Error{Code: wire.CodeBusy, RetryMS: 200, Text: "the room moved or stopped meanwhile: ask again"}
	}
}

// obey carries an act out.
func (r *room) obey(now time.Time, o *act) {
	switch o.do {
	case actLook:
		o.answer <- actAnswer{roll: r.actor.Roll(maxRolled)}
		return
	case actKick:
		var ok bool
		if o.kept, ok = r.actor.Dismiss(now, o.member, o.reason); !ok {
			o.answer <- actAnswer{err: wire.Refuse(wire.CodeBadRequest, "the room has no such member")}
			return
		}
		r.log().Info().Uint64("member", uint64(o.member)).Str("reason", o.reason).Msg("operator kicks a member")
	case actClose:
		r.log().Info().Str("reason", o.reason).Msg("operator closes the room")
		r.actor.Shut(now, o.reason)
	}
	r.acts = append(r.acts, o)
}

// confirm answers the kicks that are durable. Closes are answered by the end.
func (r *room) confirm() {
	if len(r.acts) == 0 {
		return
	}
	r.acts = slices.DeleteFunc(r.acts, func(o *act) bool {
		done := o.do == actKick && r.actor.Kept(o.kept)
		if done {
			o.answer <- actAnswer{}
		}
		return done
	})
}

// confirmEnd answers what waits when the copy is over: where the room has
// ended, everything is as was asked.
func (r *room) confirmEnd(why error) {
	a := actAnswer{err: &wire.Error{Code: wire.CodeBusy, RetryMS: 200, Text: "the room moved or stopped meanwhile: ask again"}}
	if end := (*over)(nil); errors.As(why, &end) {
		a.err = nil
	}
	for _, o := range r.acts {
		o.answer <- a
	}
	r.acts = nil
}

// RoomDetail is one room as operators see it.
type RoomDetail struct {
	RoomInfo
	Inputs   uint64             `json:"inputs"`
	Ticks    uint64             `json:"ticks"`
	Skipped  uint64             `json:"skipped"`
	Lateness float64            `json:"lateness_ms"`
	Waiting  int                `json:"waiting"`
	Numbers  map[string]float64 `json:"numbers,omitempty"`
	Roll     []actor.MemberInfo `json:"roll"` // the first 500
	Build    string             `json:"build"`
}

// Detail describes a room and its members, whom its loop names.
func (h *Host) Detail(ctx context.Context, id wire.RoomID) (RoomDetail, error) {
	roll, err := h.ask(ctx, id, &act{do: actLook})
	if err != nil {
		return RoomDetail{}, err
	}
	r := h.find(id)
	if r == nil {
		return RoomDetail{}, wire.Refuse(wire.CodeNoRoom, "no such room here")
	}
	now := time.Now()
	var seen query.Room
	r.observe(now, &seen)
	d := RoomDetail{RoomInfo: r.info(now), Build: daemon.Version(), Inputs: seen.Inputs, Ticks: seen.Ticks, Skipped: seen.Skipped,
		Lateness: seen.Lateness, Waiting: seen.Waiting, Numbers: map[string]float64{}, Roll: roll}
	for _, n := range seen.Numbers {
		d.Numbers[n.Name] = n.Value
	}
	return d, nil
}
