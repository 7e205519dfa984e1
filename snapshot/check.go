package snapshot

import (
	"context"
	"fmt"

	"github.com/limpet-games/limpet/wire"
)

// maxNumber bounds epochs, incarnations and save counts: scripts in Redis
// compute with floats.
const maxNumber = 1<<53 - 1

const maxHolderLen = 200

// Check says what no store takes as a holder: it is 1 to 200 bytes of
// printable ASCII without spaces and braces.
func (h Holder) Check() error {
	if len(h) == 0 || len(h) > maxHolderLen {
		return fmt.Errorf("%w: holder of %d bytes: want 1 to %d", ErrBadRequest, len(h), maxHolderLen)
	}
	for i := range len(h) {
		if c := h[i]; c <= ' ' || c >= 0x7f || c == '{' || c == '}' {
			return fmt.Errorf("%w: holder %q: byte %d is not allowed", ErrBadRequest, string(h), i)
		}
	}
	return nil
}

// Check says what no store takes as a claim.
func (c Claim) Check() error {
	if err := checkRoom(c.Room); err != nil {
		return err
	}
	return checkNumber("epoch", uint64(c.Epoch))
}

// Check says what no store takes as a request to claim.
func (r ClaimRequest) Check() error {
	if err := checkRoom(r.Room); err != nil {
		return err
	}
	if err := r.Holder.Check(); err != nil {
		return err
	}
	if r.Mode > wire.ModeJoinOrCreate {
		return fmt.Errorf("%w: claim with mode %d", ErrBadRequest, r.Mode)
	}
	if r.Floor >= MaxFloor {
		return fmt.Errorf("%w: floor %d: want below %d", ErrBadRequest, r.Floor, uint64(MaxFloor))
	}
	if r.Incarnation == 0 {
		return nil
	}
	return checkNumber("incarnation", uint64(r.Incarnation))
}

// Check says what no store takes as a save, given its limit of a checkpoint.
func (r SaveRequest) Check(maxBytes int) error {
	if err := r.Claim.Check(); err != nil {
		return err
	}
	if len(r.Data) > maxBytes {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooBig, len(r.Data), maxBytes)
	}
	if r.Journal > maxNumber {
		return fmt.Errorf("%w: journal entry %d: want at most %d", ErrBadRequest, r.Journal, uint64(maxNumber))
	}
	return checkNumber("save count", r.Seq)
}

// Check says what no store takes as an append.
func (r AppendRequest) Check() error {
	if err := r.Claim.Check(); err != nil {
		return err
	}
	for _, e := range r.Entries {
		if len(e) > MaxEntryBytes {
			return fmt.Errorf("%w: journal entry of %d bytes, at most %d", ErrTooBig, len(e), MaxEntryBytes)
		}
	}
	if len(r.Entries) > MaxJournalEntries {
		return fmt.Errorf("%w: %d journal entries, at most %d", ErrTooBig, len(r.Entries), MaxJournalEntries)
	}
	return checkNumber("journal entry", r.First)
}

// Check says what no store takes as a request to mend.
func (r MendRequest) Check() error {
	if r.Entry > maxNumber {
		return fmt.Errorf("%w: journal entry %d: want at most %d", ErrBadRequest, r.Entry, uint64(maxNumber))
	}
	return r.Claim.Check()
}

// Check says what no store takes as a note.
func (r NoteRequest) Check() error {
	if err := r.Claim.Check(); err != nil {
		return err
	}
	if len(r.Note) > MaxNoteBytes {
		return fmt.Errorf("%w: note of %d bytes, at most %d", ErrTooBig, len(r.Note), MaxNoteBytes)
	}
	return checkNumber("note", r.Number)
}

// Check says what no store takes as a hand-off, given its limit of a
// checkpoint.
func (r HandOffRequest) Check(maxBytes int) error {
	if err := r.Holder.Check(); err != nil {
		return err
	}
	if r.Nonce == r.Claim.Nonce {
		return fmt.Errorf("%w: hand-off to the nonce that it comes from", ErrBadRequest)
	}
	if r.Seq == 0 {
		return r.Claim.Check()
	}
	return SaveRequest{Claim: r.Claim, Seq: r.Seq, Data: r.Data, Journal: r.Journal}.Check(maxBytes)
}

// Check says what no store takes as a claim to hold.
func (r HoldRequest) Check() error {
	if err := r.Claim.Check(); err != nil {
		return err
	}
	if err := r.Holder.Check(); err != nil {
		return err
	}
	if _, _, ok := r.Holder.Split(); !ok {
		return fmt.Errorf("%w: holder %s: want NAME/COUNT", ErrBadRequest, r.Holder)
	}
	return nil
}

func checkRoom(r wire.RoomID) error {
	if _, err := wire.ParseRoom(string(r)); err != nil {
		return fmt.Errorf("%w: %w", ErrBadRequest, err)
	}
	return nil
}

func checkNumber(what string, n uint64) error {
	if n == 0 || n > maxNumber {
		return fmt.Errorf("%w: %s %d: want 1 to %d", ErrBadRequest, what, n, uint64(maxNumber))
	}
	return nil
}

// WithDeadline gives a store's call the deadline that the contract promises.
func WithDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, DefaultTimeout)
}
