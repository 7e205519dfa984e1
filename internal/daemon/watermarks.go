package daemon

import (
	"cmp"
	"os"
	"runtime/debug"

	"github.com/limpet-games/limpet/internal/pressure"
)

// MemoryFlags say how much memory a process may use.
type MemoryFlags struct{ mib int }

// Register adds --memory.
func (m *MemoryFlags) Register(f *Flags) {
	f.Int(&m.mib, "memory", 0, 0, 1<<30, "memory that the process may use, in MiB; 0: what its container or the machine has. At 70 percent of it, or of the "+
		"file descriptors, new rooms are refused, at 80 new connections, at 90 the slowest are cut")
}

// Watch adds a part that watches memory and descriptors.
func (m *MemoryFlags) Watch(w *Wiring) *pressure.Monitor {
	given := int64(m.mib) << 20
	if given > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(given / 10 * 9)
	}
	p := pressure.New(pressure.Config{
		Memory: cmp.Or(given, containerMemory(os.DirFS("/"))), Log: w.Log, Metrics: w.Metrics,
	})
	w.Parts.Add("pressure", p.Run)
	return p
}
