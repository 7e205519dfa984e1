package redis

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/limpet-games/limpet/client"
	"github.com/limpet-games/limpet/e2e/cluster"
	"github.com/limpet-games/limpet/e2e/load"
	"github.com/limpet-games/limpet/wire"
)

// stage is a cluster with players in rooms of three kinds.
type stage struct {
	dir    string
	c      *cluster.Cluster
	redis  *redis.Client
	guest  *client.Client
	fleets map[string]*load.Fleet // by what their rooms do without a store

	stopPlaying func()

	mu    sync.Mutex
	store map[*load.Player]word // what each was told last; guarded by mu
}

// word is what a member was told of the store.
type word struct {
	running bool
	at      time.Time
}

const (
	roomsOfAKind = 8
	perRoom      = 3
	rate         = 4
)

var kinds = map[string]string{"checkpoint": "ledger", "journal": "ledger-journal", "degrading": "ledger-degrading"}

func open(t *testing.T) *stage {
	s := &stage{dir: t.TempDir(), fleets: map[string]*load.Fleet{}, store: map[*load.Player]word{}}
	if keep := os.Getenv("LIMPET_E2E_LOGS"); keep != "" {
		s.dir = keep
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cfg, err := cluster.Build(ctx, s.dir, 3, 2)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Log = t.Output()
	if s.c, err = cluster.Start(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.c.Stop() })
	url, err := redis.ParseURL(s.c.RedisURL())
	if err != nil {
		t.Fatal(err)
	}
	s.redis = redis.NewClient(url)
	t.Cleanup(func() { s.redis.Close() })
	if s.guest, err = client.Dial(ctx, client.Config{URLs: s.c.URLs()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.guest.Close)
	s.play(ctx, t)
	return s
}

func (s *stage) play(ctx context.Context, t *testing.T) {
	playing, stop := context.WithCancel(context.Background())
	var done sync.WaitGroup
	s.stopPlaying = sync.OnceFunc(func() { stop(); done.Wait() })
	began := time.Now()
	for name, kind := range kinds {
		f, err := load.Join(ctx, load.Config{
			URLs: s.c.URLs(), Kind: kind, Rooms: roomsOfAKind, PerRoom: perRoom,
			OnEvent: s.event, Record: true, Began: began, Journaled: name == "journal",
		})
		if err != nil {
			t.Fatal(err)
		}
		s.fleets[name] = f
		t.Cleanup(f.Close)
	}
	for _, f := range s.fleets {
		done.Go(func() {
			if err := f.Play(playing, rate); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(s.stopPlaying)
}

func (s *stage) event(p *load.Player, e client.Event) {
	if w, ok := e.(*client.Store); ok {
		s.mu.Lock()
		s.store[p] = word{w.Running, time.Now()}
		s.mu.Unlock()
	}
}

// told waits until every member has been told, after since, that the store runs
// or does not, and fails where the last was told later than within.
func (s *stage) told(t *testing.T, running bool, since time.Time, within time.Duration) {
	t.Helper()
	for {
		late, missing := time.Duration(0), 0
		s.mu.Lock()
		for _, f := range s.fleets {
			for _, p := range f.Players {
				if w := s.store[p]; w.running != running || w.at.Before(since) {
					missing++
				} else {
					late = max(late, w.at.Sub(since))
				}
			}
		}
		s.mu.Unlock()
		switch {
		case missing == 0 && late <= within+slack:
			t.Logf("all were told within %.2f s that the store runs: %v", late.Seconds(), running)
			return
		case missing == 0 || time.Since(since) > within+slack:
			t.Fatalf("%d members were not told that the store runs: %v within %s; the last of the others after %s", missing, running, within+slack, late)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// durable is what the members of checkpointed rooms were confirmed.
func (s *stage) durable() map[*load.Player]wire.Input {
	all := map[*load.Player]wire.Input{}
	for _, p := range s.fleets["checkpoint"].Players {
		all[p] = p.Room.Status().Durable
	}
	return all
}

// caughtUp waits until all that was sent up to now is durable.
func (s *stage) caughtUp(ctx context.Context, t *testing.T) {
	t.Helper()
	sent := map[*load.Player]wire.Input{}
	for _, f := range s.fleets {
		for _, p := range f.Players {
			sent[p] = p.Room.Status().Sent
		}
	}
	for p, n := range sent {
		for p.Room.Status().Durable < n {
			if pause(ctx, 5*time.Millisecond); ctx.Err() != nil {
				t.Fatalf("%s in %s: input %d is not durable: %+v", p.Name, p.RoomName, n, p.Room.Status())
			}
		}
	}
}

// playsOn checks that all members of rooms have just heard something.
func (s *stage) playsOn(t *testing.T, name string, began time.Time) {
	t.Helper()
	for _, p := range s.fleets[name].Players {
		if !p.Silence.HeardSince(time.Now().Add(-slack)) {
			t.Errorf("%s in %s %s: heard nothing for %s, %s into the trouble", p.Name, name, p.RoomName, slack, time.Since(began))
		}
	}
}

// standsStill checks that no member of rooms hears anything: they can't write
// down what they do.
func (s *stage) standsStill(t *testing.T, name string, began time.Time) {
	t.Helper()
	for _, p := range s.fleets[name].Players {
		if p.Silence.HeardSince(began.Add(slack)) {
			t.Errorf("%s in %s %s: the room said something, %s into the trouble", p.Name, name, p.RoomName, time.Since(began))
		}
	}
}

// rooms are the fleets' rooms.
func (s *stage) rooms() (all []string) {
	for _, kind := range kinds {
		for i := range roomsOfAKind {
			all = append(all, kind+"/"+load.RoomName(i))
		}
	}
	return all
}

// save is a room's record in the store.
type save struct{ epoch, seq, journal uint64 }

func (a save) before(b save) bool {
	return a.epoch < b.epoch || a.epoch == b.epoch && (a.seq < b.seq || a.journal < b.journal)
}

// saved are the rooms that the store has a checkpoint or a journal of.
func (s *stage) saved(ctx context.Context, t *testing.T) map[string]save {
	t.Helper()
	pipe := s.redis.Pipeline()
	asked := map[string]*redis.MapStringStringCmd{}
	for _, room := range s.rooms() {
		asked[room] = pipe.HGetAll(ctx, "{limpet:"+room+"}")
	}
	if _, err := pipe.Exec(ctx); err != nil {
		t.Fatal(err)
	}
	saves := map[string]save{}
	for room, r := range asked {
		h := r.Val()
		n := func(field string) uint64 { v, _ := strconv.ParseUint(h[field], 10, 64); return v }
		if n("seq") > 0 {
			saves[room] = save{n("epoch"), n("seq"), n("jlast")}
		}
	}
	return saves
}

// live are the rooms in memory.
func (s *stage) live(ctx context.Context, t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, h := range s.c.Hosts {
		var list struct{ Rooms []struct{ Room string } }
		if err := h.Admin(ctx, "/v1/rooms", nil, &list); err != nil {
			t.Fatal(err)
		}
		for _, r := range list.Rooms {
			all[r.Room] = true
		}
	}
	return all
}

// restartRedis kills Redis, does something to its files, and starts it.
func (s *stage) restartRedis(ctx context.Context, t *testing.T, between func(t *testing.T)) {
	t.Helper()
	s.c.Redis.Signal(syscall.SIGKILL)
	between(t)
	if err := s.c.StartRedis(ctx); err != nil {
		t.Fatal(err)
	}
	for s.redis.Ping(ctx).Err() != nil && ctx.Err() == nil {
		pause(ctx, 5*time.Millisecond)
	}
}

const files = "appendonlydir"

func (s *stage) keepCopy(t *testing.T) {
	t.Helper()
	replace(t, filepath.Join(s.dir, files), filepath.Join(s.dir, "copy"))
}

func (s *stage) useCopy(t *testing.T) {
	t.Helper()
	replace(t, filepath.Join(s.dir, "copy"), filepath.Join(s.dir, files))
}

func replace(t *testing.T, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-r", from, to).CombinedOutput(); err != nil {
		t.Fatalf("copy Redis' files: %v: %s", err, out)
	}
}
