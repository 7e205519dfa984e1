package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
)

// Filter says which rooms a find or a browse wants. The zero value takes all
// rooms of the kind that have a seat and no pool.
type Filter struct {
	// Pool is one of the parts into which a game divides the rooms of a kind,
	// like a region or a league: their label "pool". Each is searched on its own.
	Pool string `json:"pool,omitempty"`
	// Labels are what the room's labels must have, among others.
	Labels map[string]string `json:"labels,omitempty"`
	Seats  int               `json:"seats,omitempty"` // open ones, at least; 0: one
	Build  string            `json:"build,omitempty"` // of the host's program
}

// Bounds of a filter.
const (
	MaxFilter      = 2048 // bytes of its JSON
	MaxLabels      = 16   // of a room, and of a filter
	MaxLabelBytes  = 64   // of a label's key, its value, and a pool
	MaxFilterSeats = 1000
	maxBuildBytes  = 64
)

// PoolLabel is the label that holds a room's pool.
const PoolLabel = "pool"

// ParseFilter reads a filter's JSON, one object; empty text is the zero filter.
// A key that is not known is an error: a condition must not go unheard.
func ParseFilter(text []byte) (Filter, error) {
	var f Filter
	if len(text) == 0 {
		return f, nil
	}
	if len(text) > MaxFilter {
		return f, fmt.Errorf("filter of %d bytes: want at most %d", len(text), MaxFilter)
	}
	if !bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{")) {
		return f, errors.New("filter: want a JSON object")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return Filter{}, fmt.Errorf("filter: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return Filter{}, errors.New("filter: something behind the JSON object")
	}
	if len(f.Labels) == 0 {
		f.Labels = nil
	}
	if err := f.Check(); err != nil {
		return f, err
	}
	if n := len(f.JSON()); n > MaxFilter { // it is sent on in this form, where more may be escaped
		return f, fmt.Errorf("filter of %d bytes, written out: want at most %d", n, MaxFilter)
	}
	return f, nil
}

// Check says what is wrong with a filter.
func (f *Filter) Check() error {
	switch {
	case len(f.Pool) > MaxLabelBytes:
		return fmt.Errorf("filter: pool of %d bytes: want at most %d", len(f.Pool), MaxLabelBytes)
	case len(f.Build) > maxBuildBytes:
		return fmt.Errorf("filter: build of %d bytes: want at most %d", len(f.Build), maxBuildBytes)
	case f.Seats < 0 || f.Seats > MaxFilterSeats:
		return fmt.Errorf("filter: %d seats: want 0 to %d", f.Seats, MaxFilterSeats)
	case f.Pool != "" && f.Labels[PoolLabel] != "" && f.Labels[PoolLabel] != f.Pool:
		return errors.New("filter: two pools")
	}
	return CheckLabels(f.Made())
}

// CheckLabels says what is wrong with a room's labels.
func CheckLabels(labels map[string]string) error {
	if len(labels) > MaxLabels {
		return fmt.Errorf("%d labels: a room has at most %d", len(labels), MaxLabels)
	}
	for k, v := range labels {
		if len(k) > MaxLabelBytes || len(v) > MaxLabelBytes {
			return fmt.Errorf("label %.70q: keys and values have at most %d bytes", k, MaxLabelBytes)
		}
	}
	return nil
}

// JSON is the filter as it travels, empty for the zero filter.
func (f *Filter) JSON() []byte {
	if f.IsZero() {
		return nil
	}
	b, err := json.Marshal(f)
	if err != nil { // it holds strings and numbers
		panic(err)
	}
	return b
}

// IsZero reports whether nothing is asked for.
func (f *Filter) IsZero() bool {
	return f.Pool == "" && len(f.Labels) == 0 && f.Seats == 0 && f.Build == ""
}

// Places is how many seats are asked for, at least one.
func (f *Filter) Places() int { return max(f.Seats, 1) }

// Matches reports whether a room with these labels is one that a find wants:
// one of the filter's pool, or of none where it names none.
func (f *Filter) Matches(labels map[string]string) bool {
	return labels[PoolLabel] == f.pool() && f.Lists(labels)
}

// Lists is Matches for a browse, which sees all pools where the filter names
// none.
func (f *Filter) Lists(labels map[string]string) bool {
	if p := f.pool(); p != "" && labels[PoolLabel] != p {
		return false
	}
	for k, v := range f.Labels {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

func (f *Filter) pool() string {
	if f.Pool == "" {
		return f.Labels[PoolLabel]
	}
	return f.Pool
}

// Normal is the same filter with the pool in one place.
func (f Filter) Normal() Filter {
	f.Pool = f.pool()
	if _, ok := f.Labels[PoolLabel]; ok {
		f.Labels = maps.Clone(f.Labels)
		delete(f.Labels, PoolLabel)
	}
	return f
}

// Made are the labels of a room that is made for the filter.
func (f *Filter) Made() map[string]string {
	labels := make(map[string]string, len(f.Labels)+1)
	maps.Copy(labels, f.Labels)
	if f.Pool != "" {
		labels[PoolLabel] = f.Pool
	}
	return labels
}

// Key is the same text for filters that ask for the same.
func (f *Filter) Key() string {
	n := f.Normal()
	b := strconv.AppendQuote(nil, n.Pool)
	b = strconv.AppendInt(b, int64(n.Places()), 10)
	b = strconv.AppendQuote(b, n.Build)
	for _, k := range slices.Sorted(maps.Keys(n.Labels)) {
		b = strconv.AppendQuote(strconv.AppendQuote(b, k), n.Labels[k])
	}
	return string(b)
}
