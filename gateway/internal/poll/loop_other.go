//go:build !linux

package poll

import (
	"errors"
	"time"
)

// Loop exists on Linux only: elsewhere each connection has a goroutine.
type Loop[T comparable] struct{}

// New says that there is none.
func New[T comparable]() (*Loop[T], error) { return nil, errors.ErrUnsupported }

// Add watches nothing.
func (*Loop[T]) Add(int, T) bool { return false }

// Remove has nothing to stop.
func (*Loop[T]) Remove(int, T) bool { return false }

// Rouse rouses nobody.
func (*Loop[T]) Rouse(int, T) {}

// Len is 0.
func (*Loop[T]) Len() int { return 0 }

// Run returns.
func (*Loop[T]) Run(func(T, time.Time, bool), func(T)) error { return nil }

// Close does nothing.
func (*Loop[T]) Close() {}

// Free does nothing.
func (*Loop[T]) Free() {}
