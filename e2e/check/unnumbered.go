package check

// unnumbered holds what takes no number, the latest values of keys and ephemeral
// messages, against what the client had before: on each stream a value is never
// followed by an older one, an ephemeral one never by itself either, and none
// overtakes the reliable message that it followed.
//
// A room that was restored from a checkpoint may tell values again, so each
// epoch begins anew, except where the room journals: there nobody sees a rollback.
func (c *checker) unnumbered(r *room, rec *record) {
	last := map[string]uint64{} // by stream
	var epoch, place uint64
	for _, e := range rec.Events {
		switch {
		case e.Kind == Joined || e.Kind == Resumed || e.Kind == Attached:
			if e.Epoch != epoch && !r.Journaled {
				clear(last)
			}
			epoch = e.Epoch
		case e.Kind == Rewound:
			place = 0 // until the full state that follows
		case e.Kind == Message && e.Seq > 0:
			place = max(place, e.Place)
		case e.Kind == Message && e.Stream != "":
			before, told := last[e.Stream]
			if e.Value < before {
				c.report("values", r.Name, rec.Client, "%s: value %d of epoch %d came after %d", e.Stream, e.Value, e.Epoch, before)
			} else if told && e.Value == before && e.Stream == Ephemeral {
				c.report("values", r.Name, rec.Client, "%s: value %d of epoch %d came twice", e.Stream, e.Value, e.Epoch)
			}
			last[e.Stream] = max(before, e.Value)
			if e.Behind > place {
				c.report("values", r.Name, rec.Client, "%s: value %d of epoch %d, sent behind input %d of the room, came when %d was the last that was told",
					e.Stream, e.Value, e.Epoch, e.Behind, place)
			}
		}
	}
}
