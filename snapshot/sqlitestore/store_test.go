package sqlitestore

import (
	"context"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/snapshot/storetest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		os.Exit(child(dir))
	}
	if dir := os.Getenv(lockedDir); dir != "" {
		os.Exit(readLocked(dir))
	}
	goleak.VerifyTestMain(m)
}

func mustOpen(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(context.Background(), dir, Config{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContract(t *testing.T) {
	var dirs sync.Map // a test's name to its directory
	storetest.Run(t, func(t *testing.T) snapshot.Store {
		dir, _ := dirs.LoadOrStore(t.Name(), t.TempDir())
		return mustOpen(t, dir.(string))
	})
}
