// Package fault has named points at which a test can kill the process: where a
// crash is most likely to lose something, or to do it twice. They are there in
// builds with the tag faults alone; in all others a Point is nothing.
package fault

// Where says what a process must go through to come to a point.
type Where string

// What brings a process to its points.
const (
	Play   Where = "play"   // players play
	Join   Where = "join"   // a player joins a room that is not in memory
	Resume Where = "resume" // a player's connection breaks and comes back
	Move   Where = "move"   // rooms move away from it
	Arrive Where = "arrive" // rooms move to it
	Take   Where = "take"   // it takes over the rooms of a host that died
	Fail   Where = "fail"   // a room's code fails
	Wake   Where = "wake"   // it was paused until its lease had ended
	Empty  Where = "empty"  // a room that nobody is in leaves memory
)

// Points are all there are.
var Points = map[string]Where{
	"save.before-encode": Play, "save.encoded": Play,
	"save.before-store": Play, "save.stored": Play,
	"save.before-ack": Play, "save.acked": Play,
	"journal.before-append": Play, "journal.appended": Play, "journal.heard": Play,
	"output.before-send": Play, "output.sent": Play,
	"input.before": Play, "input.applied": Play,
	"lease.before-renew": Play, "lease.renewed": Play,
	"beat.before": Play, "beat.counted": Play,

	"attach.before": Resume, "attach.done": Resume, "detach.done": Resume,

	"claim.before": Join, "claim.granted": Join, "restore.loaded": Join, "restore.entered": Join,
	"takeover.granted": Take, "takeover.loaded": Take,

	"move.packed": Move, "move.sent": Move, "move.handed-off": Move, "move.begun": Move,
	"arrive.prepared": Arrive, "arrive.before-begin": Arrive, "arrive.begun": Arrive,

	"fail.before-note": Fail, "fail.noted": Fail,
	"hold.before": Wake, "hold.done": Wake,
	"park.before-save": Empty, "park.saved": Empty,
}
