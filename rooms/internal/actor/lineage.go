package actor

import "github.com/limpet-games/limpet/wire"

// maxLineage bounds the epochs whose positions a room knows; the oldest goes, and
// who was last heard of in it gets full state.
const maxLineage = 64

// lineage is which positions of former epochs are this room's own: it went on
// from them without a break, because it moved here live or its journal was
// replayed. A checkpoint alone takes a room back, and so has none.
type lineage struct {
	epoch wire.Epoch // the one that runs, 0: what was before is not gone on from
	past  []origin   // former epochs, each with its last sequence, the last one last
}

// descends says whether a position is one of this room's history.
func (r *Room) descends(at wire.Position) bool {
	for _, o := range r.lineage.past {
		if o.epoch == at.Epoch {
			return at.Seq <= o.seq
		}
	}
	return at.Epoch == r.cfg.Epoch
}

// succeedEpoch notes where an epoch ended.
func (r *Room) succeedEpoch(next wire.Epoch) {
	r.lineage.past = r.lineage.upTo(r.seq)
	r.lineage.epoch = next
}

// upTo is the lineage of an epoch that follows at seq.
func (l *lineage) upTo(seq wire.Seq) []origin {
	if l.epoch == 0 {
		return l.past
	}
	past := append(l.past[:len(l.past):len(l.past)], origin{l.epoch, seq})
	return past[max(0, len(past)-maxLineage):]
}
