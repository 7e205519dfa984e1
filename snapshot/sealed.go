package snapshot

import (
	"context"
	"errors"
	"fmt"

	"github.com/limpet-games/limpet/wire"
)

// Sealed keeps checkpoints and journals in s under keys: each is bound to its
// room, incarnation and epoch, so that a changed or exchanged one is found when
// it is read. One that stood in the same room earlier can't be told from a store
// that lost writes. Methods are those of s, and what they promise.
func Sealed(s Store, keys *Keyring) Store { return &sealedStore{Store: s, keys: keys} }

type sealedStore struct {
	Store
	keys *Keyring
}

func (s *sealedStore) checkpoint(c Claim, seq uint64, data []byte) ([]byte, error) {
	return s.keys.seal(sealed{room: c.Room, incarnation: c.Incarnation, epoch: c.Epoch, number: seq}, data)
}

// Save seals checkpoints and stores them.
func (s *sealedStore) Save(ctx context.Context, reqs []SaveRequest) ([]error, error) {
	out := make([]SaveRequest, len(reqs))
	for i, r := range reqs {
		data, err := s.checkpoint(r.Claim, r.Seq, r.Data)
		if err != nil {
			return nil, fmt.Errorf("seal checkpoint of %s: %w", r.Claim.Room, err)
		}
		out[i], out[i].Data = r, data
	}
	return s.Store.Save(ctx, out)
}

// HandOff seals the checkpoints that go with it. Their seal tells the epoch of
// the claim that is handed off.
func (s *sealedStore) HandOff(ctx context.Context, reqs []HandOffRequest) ([]HandOffResult, error) {
	out := make([]HandOffRequest, len(reqs))
	for i, r := range reqs {
		out[i] = r
		if r.Seq == 0 {
			continue
		}
		data, err := s.checkpoint(r.Claim, r.Seq, r.Data)
		if err != nil {
			return nil, fmt.Errorf("seal checkpoint of %s: %w", r.Claim.Room, err)
		}
		out[i].Data = data
	}
	return s.Store.HandOff(ctx, out)
}

// Append seals entries and adds them.
func (s *sealedStore) Append(ctx context.Context, reqs []AppendRequest) ([]error, error) {
	out := make([]AppendRequest, len(reqs))
	for i, r := range reqs {
		out[i] = r
		out[i].Entries = make([][]byte, len(r.Entries))
		for n, e := range r.Entries {
			is := sealed{
				room: r.Claim.Room, incarnation: r.Claim.Incarnation, epoch: r.Claim.Epoch,
				entry: true, number: r.First + uint64(n),
			}
			e, err := s.keys.seal(is, e)
			if err != nil {
				return nil, fmt.Errorf("seal journal of %s: %w", r.Claim.Room, err)
			}
			out[i].Entries[n] = e
		}
	}
	return s.Store.Append(ctx, out)
}

// Claim takes rooms and opens what they hold.
func (s *sealedStore) Claim(ctx context.Context, reqs []ClaimRequest) ([]ClaimResult, error) {
	res, err := s.Store.Claim(ctx, reqs)
	for i := range res {
		if r := &res[i]; r.Err == nil {
			r.Data, r.Journal, r.Damage = s.open(r.Claim, r.Data, r.Journal)
		}
	}
	return res, err
}

// Mend sets aside what is damaged and opens what is left.
func (s *sealedStore) Mend(ctx context.Context, reqs []MendRequest) ([]MendResult, error) {
	res, err := s.Store.Mend(ctx, reqs)
	for i := range res {
		if r := &res[i]; r.Err == nil {
			r.Data, r.Journal, r.Damage = s.open(reqs[i].Claim, r.Data, r.Journal)
		}
	}
	return res, err
}

// Load reads rooms; what can't be opened is the room's error.
func (s *sealedStore) Load(ctx context.Context, rooms []wire.RoomID) ([]LoadResult, error) {
	res, err := s.Store.Load(ctx, rooms)
	for i := range res {
		if r := &res[i]; r.Err == nil {
			r.Data, r.Journal, r.Err = s.open(r.Claim, r.Data, r.Journal)
		}
	}
	return res, err
}

// open unwraps what a room holds.
func (s *sealedStore) open(c Claim, data []byte, j Journal) ([]byte, Journal, error) {
	if data != nil {
		var err error
		is := sealed{room: c.Room, incarnation: c.Incarnation, epoch: c.Epoch}
		if data, err = s.keys.open(is, data); err != nil {
			return nil, Journal{}, damage(0, err)
		}
		if data == nil {
			data = []byte{}
		}
	}
	opened := Journal{Base: j.Base, Entries: make([][]byte, len(j.Entries))}
	for i, e := range j.Entries {
		is := sealed{
			room: c.Room, incarnation: c.Incarnation, epoch: c.Epoch, entry: true, number: j.Base + 1 + uint64(i),
		}
		e, err := s.keys.open(is, e)
		if err != nil {
			return nil, Journal{}, damage(is.number, err)
		}
		opened.Entries[i] = e
	}
	if len(j.Entries) == 0 {
		opened.Entries = nil
	}
	return data, opened, nil
}

// damage makes what can be mended a *Damage. A value that another key would
// open, or that was never sealed, is no damage.
func damage(entry uint64, err error) error {
	if errors.Is(err, ErrDamaged) {
		return &Damage{Entry: entry, Err: err}
	}
	return err
}
