//go:build !linux

package alarm

import (
	"context"
	"time"
)

// Clock is nil here: alarms ring by timers of Go's.
type Clock struct{ base time.Time }

// NewClock makes none.
func NewClock() (*Clock, error) { return nil, nil }

// Run waits.
func (c *Clock) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func (c *Clock) set(*Alarm, time.Duration) {}
func (c *Clock) stop(*Alarm)               {}
