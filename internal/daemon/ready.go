package daemon

import (
	"net/http"
	"sync"
)

// Readiness says whether the process takes new work. The zero value is ready.
// Safe for concurrent use.
type Readiness struct {
	mu     sync.Mutex
	checks []readyCheck // guarded by mu
}

type readyCheck struct {
	name  string
	check func() error
}

// Add adds a condition: nil means that it holds, an error says why not. It is
// called at every question and must answer at once.
func (r *Readiness) Add(name string, check func() error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checks = append(r.checks, readyCheck{name, check})
}

// Reasons lists what speaks against readiness, by the condition's name.
func (r *Readiness) Reasons() map[string]string {
	r.mu.Lock()
	checks := r.checks[:len(r.checks):len(r.checks)]
	r.mu.Unlock()
	reasons := map[string]string{}
	for _, c := range checks {
		if err := c.check(); err != nil {
			reasons[c.name] = err.Error()
		}
	}
	return reasons
}

// ServeHTTP answers 200 or 503, with the reasons.
func (r *Readiness) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	reasons := r.Reasons()
	status := http.StatusOK
	if len(reasons) > 0 {
		status = http.StatusServiceUnavailable
	}
	WriteJSON(w, status, map[string]any{"ready": len(reasons) == 0, "reasons": reasons})
}
