package redisstore

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/snapshot/storetest"
	"github.com/limpet-games/limpet/wire"
)

// With wait_replicas a write is done once a replica has it, and not before: it is
// there after the primary is gone for good.
func TestWritesWaitForReplicas(t *testing.T) {
	url, primary := storetest.StartRedis(t)
	s, warnings, err := Open(t.Context(), url+"?wait_replicas=1", Config{Prefix: prefixOf(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Shut() })
	if !strings.Contains(strings.Join(warnings, "\n"), "0 replicas and wait_replicas is 1") {
		t.Errorf("warnings: %q", warnings)
	}
	if err := s.TakeLease(t.Context(), "n#1.1", time.Minute); err != nil {
		t.Fatal(err)
	}
	c := made(t, s, "k/a", 7)
	if err := trySave(t, s, c, 1, big); err == nil {
		t.Fatal("a save is confirmed without a replica")
	}
	handed, err := s.HandOff(t.Context(), []snapshot.HandOffRequest{{Claim: c, Holder: "n#1.1", Nonce: 8}})
	if err == nil && handed[0].Err == nil {
		t.Fatal("a hand-off is confirmed without a replica")
	}
	host, port, _ := net.SplitHostPort(primary.Addr)
	_, replica := storetest.StartRedis(t, "--replicaof", host+" "+port)
	for deadline := time.Now().Add(20 * time.Second); ; {
		// The hand-off was done all the same; asked again, it is confirmed.
		handed, err = s.HandOff(t.Context(), []snapshot.HandOffRequest{{Claim: c, Holder: "n#1.1", Nonce: 8}})
		if err == nil && handed[0].Err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no hand-off is confirmed with a replica: ", err, handed)
		}
	}
	c = handed[0].Claim
	if err := trySave(t, s, c, 1, []byte("last")); err != nil {
		t.Fatal(err)
	}
	primary.Kill()
	r := dialed(t, replica.URL())
	got, err := r.Load(t.Context(), []wire.RoomID{"k/a"})
	if err != nil || got[0].Err != nil || got[0].Claim != c || string(got[0].Data) != "last" {
		t.Errorf("the replica has %+v, %v, want %+v", got, err, c)
	}
	if err := trySave(t, s, c, 2, []byte("more")); err == nil {
		t.Error("a save is confirmed by nobody")
	}
}

// A claim that another has is told at once, whatever replicas there are.
func TestRefusalsWaitForNobody(t *testing.T) {
	url, _ := storetest.StartRedis(t)
	s := dialed(t, url+"?wait_replicas=1")
	if err := s.TakeLease(t.Context(), "n#1.1", time.Minute); err != nil {
		t.Fatal(err)
	}
	c := made(t, s, "k/a", 7)
	c.Nonce++
	if err := trySave(t, s, c, 1, big); !errors.Is(err, snapshot.ErrFenced) {
		t.Errorf("save under a wrong nonce: %v", err)
	}
}

func trySave(t *testing.T, s *Store, c snapshot.Claim, seq uint64, data []byte) error {
	errs, err := s.Save(t.Context(), []snapshot.SaveRequest{{Claim: c, Seq: seq, Data: data}})
	return errors.Join(append(errs, err)...)
}
