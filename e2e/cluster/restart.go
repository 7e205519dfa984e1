package cluster

import (
	"context"
	"fmt"
)

// RestartStatus is what a host says of its restarts in place.
type RestartStatus struct {
	Node  string
	PID   int
	State string
	Last  *Adoption
}

// Adoption is how a restart in place went.
type Adoption struct {
	Restarts, Rooms, Shared, Stored, Other int
	Bytes                                  int64
	FrozenMS                               float64 `json:"frozen_ms"`
	AdoptMS                                float64 `json:"adopt_ms"`
	TotalMS                                float64 `json:"total_ms"`
	Error                                  string
}

// RestartState asks how a host stands to restarts.
func RestartState(ctx context.Context, by *Process, name string) (s RestartStatus, err error) {
	return s, by.Admin(ctx, "/v1/restart?host="+name, nil, &s)
}

// RestartInPlace has a host restart in place, by start, and waits until it has.
func RestartInPlace(ctx context.Context, by *Process, name string, start func() error) (RestartStatus, error) {
	before, err := RestartState(ctx, by, name)
	if err != nil {
		return before, err
	}
	if err := start(); err != nil {
		return before, err
	}
	for {
		s, err := RestartState(ctx, by, name)
		if err == nil && s.State == "serving" && (s.Node != before.Node || s.restarts() > before.restarts()) {
			return s, nil
		}
		if stop := pause(ctx, drainPoll); stop != nil {
			return s, fmt.Errorf("restart %s: %w; last: %w", name, stop, err)
		}
	}
}

func (s *RestartStatus) restarts() int {
	if s.Last == nil {
		return 0
	}
	return s.Last.Restarts
}
