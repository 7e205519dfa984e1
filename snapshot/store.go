// Package snapshot keeps rooms' checkpoints and the claims that fence them.
//
// Store is the contract; redisstore and sqlitestore implement it and storetest
// holds them to it. The store is the only thing that grants the right to write
// a room: gossip and directory are hints (see docs/architecture.md).
package snapshot

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/limpet-games/limpet/wire"
)

// Holder is a process's lease in the store: the node's name, its boot and a
// count of the leases it took since. A lease that ended is never renewed; its
// process takes a new one, under a higher count. Holders are compared as text.
type Holder string

// Split is the process, NAME, and which of its leases this is, from 1, of a
// holder NAME/COUNT; false for one of another form.
func (h Holder) Split() (process string, count uint64, ok bool) {
	at := strings.LastIndexByte(string(h), '/')
	if at <= 0 || h[at+1:] == "" || h[at+1] == '+' {
		return "", 0, false
	}
	count, err := strconv.ParseUint(string(h[at+1:]), 10, 53)
	return string(h[:at]), count, err == nil && count > 0
}

// Nonce is drawn anew for every claim, so that an epoch that the store lost
// and issued again can't be mistaken for the first.
type Nonce uint64

// Claim is the right to write one room, until another claim succeeds.
type Claim struct {
	Room        wire.RoomID
	Incarnation wire.Incarnation
	Epoch       wire.Epoch
	Nonce       Nonce
}

// ClaimRequest asks for a room. Retrying with the same nonce after a lost
// answer gives the same claim.
type ClaimRequest struct {
	Room   wire.RoomID
	Holder Holder
	Nonce  Nonce
	Mode   wire.Mode // ModeJoin, ModeCreate or ModeJoinOrCreate
	// Floor is an epoch of the room that was seen: the claim's is above it, above
	// any earlier one, and above the store's clock in milliseconds; below MaxFloor.
	// A store that has never heard of a room that was seen has lost it, and answers
	// ErrMissing, unless the room is to be created (ModeCreate).
	Floor wire.Epoch
	// Incarnation is set by a live copy that claims its room again after the
	// store lost it; Mode then does not count. A store that knows no room, or
	// only earlier incarnations, takes this one over, empty; one that knows
	// that it ended answers ErrNoRoom. 0: an ordinary claim.
	Incarnation wire.Incarnation
}

// ClaimResult is one room's answer. Err is nil, ErrNoRoom (ModeJoin),
// ErrExists (ModeCreate), *HeldError, or ErrMissing where the room's record is
// there and its checkpoint is gone.
type ClaimResult struct {
	Claim   Claim
	Created bool   // no earlier incarnation is open: the room starts empty
	Data    []byte // the room's checkpoint, nil where it never saved one
	Journal Journal
	// Damage says why the checkpoint or the journal can't be read (*Damage where
	// they can be mended); Data and Journal are then not to be used. Only stores
	// that Sealed gave find any: others hand out what they hold.
	Damage error
	Note   []byte // as Store.Note wrote it, nil where it never did
	Err    error
}

// Damage is a checkpoint, or a journal from one entry on, that is not what was
// stored.
type Damage struct {
	Entry uint64 // the first bad entry, 0: the checkpoint
	Err   error
}

// Error says what is damaged, and how.
func (d *Damage) Error() string {
	if d.Entry > 0 {
		return fmt.Sprintf("journal entry %d: %v", d.Entry, d.Err)
	}
	return d.Err.Error()
}

// Unwrap gives how it is damaged.
func (d *Damage) Unwrap() error { return d.Err }

// Journal is what was appended to a room since its checkpoint. Entries are
// numbered through an incarnation, over all its claims.
type Journal struct {
	Base    uint64   // entries up to this one are in the checkpoint
	Entries [][]byte // the first is Base+1
}

// Last is the number of the last entry.
func (j Journal) Last() uint64 { return j.Base + uint64(len(j.Entries)) }

// After is the journal once a checkpoint covers the entries up to number n.
func (j Journal) After(n uint64) Journal {
	if n <= j.Base {
		return j
	}
	return Journal{Base: n, Entries: j.Entries[min(n-j.Base, uint64(len(j.Entries))):]}
}

// AppendRequest adds entries to a room's journal under a claim; First is the
// number of the first of them. Those that the store has, or that a checkpoint
// covers, are passed over, so that a retry is safe; one number means one
// content. Entries that would leave a gap behind the stored ones are answered
// ErrGap.
type AppendRequest struct {
	Claim   Claim
	First   uint64
	Entries [][]byte
}

// SaveRequest stores a checkpoint under a claim. Seq is the room's count of
// its own saves, from 1; it must not fall within an epoch, and one number means
// one content: a save at or below the
// stored one is answered as done without writing, so that a retry is safe.
type SaveRequest struct {
	Claim Claim
	Seq   uint64
	Data  []byte // a store keeps none of it when its call has returned
	// Journal is the number of the last journal entry whose effect the
	// checkpoint holds: entries up to it are dropped in the same step. 0 where
	// the room keeps no journal.
	Journal uint64
}

// NoteRequest puts a note to a room, in place of the one before, for whoever has
// the room next: what it must know of it beside its checkpoint. It ends with the
// incarnation. Number rises with each note of a room; one at or below the stored
// one is done already.
type NoteRequest struct {
	Claim  Claim
	Number uint64
	Note   []byte
}

// CloseRequest ends an incarnation for good. A tombstone keeps its epoch.
type CloseRequest struct {
	Claim Claim
}

// HandOffRequest passes a claim that stands to another holder, whose lease is
// not looked at. Retrying with the same nonce gives the same claim, for as
// long as that one stands.
type HandOffRequest struct {
	Claim  Claim  // of the holder that lets go
	Holder Holder // the next one
	Nonce  Nonce  // of the next claim
	// Seq and Data are a checkpoint that is stored in the same step, under the
	// next claim, as by Save. Seq 0: none is, and what is stored stays.
	Seq  uint64
	Data []byte
	// Journal is as in a SaveRequest: the entries up to it leave the journal. The
	// rest goes with the room.
	Journal uint64
}

// HoldRequest puts a claim that stands under a later lease of the process that
// holds it: epoch and nonce stay. A claim under a lease that ended can be taken
// by anybody at once; one that is held again can't.
type HoldRequest struct {
	Claim  Claim
	Holder Holder // NAME/COUNT, as Holder.Split takes it
}

// HandOffResult is one room's answer: the next claim, or why the old one
// stands on or had ended: ErrFenced, ErrMissing, ErrTooBig.
type HandOffResult struct {
	Claim Claim
	Err   error
}

// MendRequest sets aside, under a claim that stands, what can't be read of a
// room: its checkpoint, so that the one before it takes its place and the
// journal is empty; or, with Entry, its journal from that entry on. What is set
// aside is kept for some time, for a human to look at. A claim mends its
// checkpoint once: asking again gives what the first time gave.
type MendRequest struct {
	Claim Claim
	Entry uint64 // 0: the checkpoint
}

// MendResult is what the room starts from now. Err is nil, ErrFenced, or
// ErrMissing where there is no older checkpoint: then nothing was done.
type MendResult struct {
	Data    []byte
	Journal Journal
	Damage  error // as in ClaimResult
	Err     error
}

// Entry is one room in a listing.
type Entry struct {
	Claim  Claim
	Holder Holder
	Closed bool
	Bytes  int64 // of its checkpoint, 0 where it has none
}

// Errors of single rooms in a batch.
var (
	ErrNoRoom = errors.New("no such room")
	ErrExists = errors.New("room exists")
	// ErrFenced: another claim has the room. The copy that hears this stops.
	ErrFenced = errors.New("another claim holds the room")
	// ErrMissing: the store has no such room, or only an older epoch of it,
	// although the caller holds a claim to it: the store lost data. The caller
	// claims again with its epoch as floor and its incarnation, and saves its
	// full state. Answering a load or an ordinary claim: the room's record is
	// there but its checkpoint is lost, or was not yet saved again after the live
	// copy claimed it anew, or the room was seen and its record is not there:
	// none is ever taken for "empty".
	ErrMissing = errors.New("the store has lost the room")
	// ErrGap: entries between the store's last one and those appended are
	// missing: the store lost some. The caller saves a checkpoint, which covers
	// them. Wrapped.
	ErrGap = errors.New("journal has a gap")
	// ErrTooBig: the checkpoint, or the journal with what is appended, is above
	// the store's limit. It is wrapped.
	ErrTooBig = errors.New("checkpoint above the size limit")
	// ErrLeaseEnded: the lease has ended or was ended by another.
	ErrLeaseEnded = errors.New("lease has ended")
	// ErrUnknown is wrapped where the outcome for one room of a batch is not
	// known, while others' is: one node of a cluster did not answer. Repeat it.
	ErrUnknown = errors.New("outcome is not known")
	// ErrBadRequest is wrapped where a request can't be meant: an unknown mode,
	// a room's name that is not allowed, a number out of range.
	ErrBadRequest = errors.New("bad request to the store")
)

// Bounds that every store keeps.
const (
	// DefaultMaxBytes bounds a checkpoint, as Encode gave it, unless a store is
	// opened with another limit.
	DefaultMaxBytes = 1 << 20
	// MaxJournalEntries bounds a room's journal; appending beyond is answered
	// ErrTooBig, and a checkpoint makes room.
	MaxJournalEntries = 1 << 16
	// MaxEntryBytes bounds one entry.
	MaxEntryBytes = 128 << 10
	// MaxNoteBytes bounds a note.
	MaxNoteBytes = 4 << 10
	// MaxFloor bounds ClaimRequest.Floor, exclusively: epochs and save counts
	// are numbers below 2^53, which scripts in Redis can compute with.
	MaxFloor = 1 << 52
	// DefaultTimeout is the deadline of a call whose context has none.
	DefaultTimeout = 5 * time.Second
)

// HeldError answers a claim for a room whose holder's lease is alive.
type HeldError struct {
	Holder Holder
	Epoch  wire.Epoch
}

// Error names the holder.
func (e *HeldError) Error() string { return "room is held by " + string(e.Holder) }

// Store keeps claims, leases and checkpoints. All methods may be called
// concurrently; every one takes a deadline from its context and treats a
// missing one as 5 s. An error of the call as a whole means that the outcome
// is unknown, never that there is nothing: all operations are safe to repeat
// as they were. Results come in the order of the requests. A batch is not a
// transaction: each room succeeds or fails alone.
type Store interface {
	// TakeLease starts a lease of at most ttl. A holder that the store has
	// seen before is answered ErrLeaseEnded.
	TakeLease(ctx context.Context, h Holder, ttl time.Duration) error
	// RenewLease extends a lease to ttl from now, or answers ErrLeaseEnded.
	RenewLease(ctx context.Context, h Holder, ttl time.Duration) error
	// EndLease ends a lease at once, on proof that its process is gone or by
	// the process itself. Ending one that has ended is fine.
	EndLease(ctx context.Context, h Holder) error
	// LeaseAlive reports whether a lease runs.
	LeaseAlive(ctx context.Context, h Holder) (bool, error)

	// Claim takes rooms over whose holder is the caller or has no lease alive.
	Claim(ctx context.Context, reqs []ClaimRequest) ([]ClaimResult, error)
	// Check reports for each claim whether it still stands: nil, ErrFenced or
	// ErrMissing.
	Check(ctx context.Context, claims []Claim) ([]error, error)
	// Save stores checkpoints: nil, ErrFenced, ErrMissing or ErrTooBig each. The
	// one that stood before is kept beside it, for Mend.
	Save(ctx context.Context, reqs []SaveRequest) ([]error, error)
	// Append adds to journals: nil, ErrFenced, ErrMissing, ErrGap or ErrTooBig
	// each. A room's entries are appended all or none.
	Append(ctx context.Context, reqs []AppendRequest) ([]error, error)
	// Note puts notes to rooms: nil, ErrFenced, ErrMissing or ErrTooBig each.
	Note(ctx context.Context, reqs []NoteRequest) ([]error, error)
	// Close writes tombstones: nil, ErrFenced or ErrMissing each.
	Close(ctx context.Context, reqs []CloseRequest) ([]error, error)
	// Hold puts claims under a later lease of their process: nil, ErrFenced or
	// ErrMissing each. A claim that is under a later one already stays there.
	Hold(ctx context.Context, reqs []HoldRequest) ([]error, error)
	// HandOff passes claims on, each with a higher epoch.
	HandOff(ctx context.Context, reqs []HandOffRequest) ([]HandOffResult, error)
	// Mend sets damaged checkpoints and journals aside.
	Mend(ctx context.Context, reqs []MendRequest) ([]MendResult, error)
	// Load reads checkpoints without claiming: Data is nil where there is none.
	Load(ctx context.Context, rooms []wire.RoomID) ([]LoadResult, error)
	// List pages through all rooms in no particular order: start with "", end
	// when next is "". A page may be empty.
	List(ctx context.Context, cursor string, most int) (page []Entry, next string, err error)

	// Beat counts a process's n-th beat, from 1, and says which generation of the
	// store counted it. Beats rise; one at or below the stored one changes
	// nothing, and 0 only asks. From the answers the process learns that the
	// store lost all of its data, or the last of it.
	Beat(ctx context.Context, process string, n uint64) (Beat, error)
	// Shut releases the store's connections.
	Shut() error
}

// Beat is what the store knew when it counted a beat.
type Beat struct {
	// Mark is the store's generation: drawn once when the store is first used,
	// gone with its data. Another one than before is another store.
	Mark string
	// Last is the process's beat before this one, as far as the store knows. Where
	// it is below one that was acknowledged, the store has come back without the
	// writes since that one.
	Last uint64
}

// LoadResult is one room's state in the store. Err is nil or ErrNoRoom.
type LoadResult struct {
	Claim  Claim
	Holder Holder
	Closed bool
	Data   []byte

	Journal Journal
	Note    []byte
	Err     error
}
