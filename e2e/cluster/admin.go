package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// Admin asks a process's operations listener, with a body by POST, and decodes
// its answer into out. An answer that is not 200 is an error with its text.
func (p *Process) Admin(ctx context.Context, path string, body, out any) error {
	method, in := http.MethodGet, io.Reader(http.NoBody)
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		method, in = http.MethodPost, bytes.NewReader(raw)
	}
	raw, err := p.fetch(ctx, method, path, in)
	if err != nil || out == nil {
		return err
	}
	return json.Unmarshal(raw, out)
}

// Metrics is the text of a process's metrics.
func (p *Process) Metrics(ctx context.Context) (string, error) {
	raw, err := p.fetch(ctx, http.MethodGet, "/metrics", http.NoBody)
	return string(raw), err
}

func (p *Process) fetch(ctx context.Context, method, path string, body io.Reader) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, p.Ops(path), body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+Secret) // not asked for on loopback
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s of %s: %w", path, p.Name, err)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s of %s: %s: %s", path, p.Name, resp.Status, bytes.TrimSpace(raw))
	}
	return raw, nil
}

// Drain empties a host by way of another process, and waits until that is over.
func Drain(ctx context.Context, by *Process, name string, order map[string]any) (DrainStatus, error) {
	if order == nil {
		order = map[string]any{}
	}
	order["host"] = name
	if err := by.Admin(ctx, "/v1/drain", order, nil); err != nil {
		return DrainStatus{}, err
	}
	return AwaitDrain(ctx, by, name)
}

// AwaitDrain waits until a host's drain is over.
func AwaitDrain(ctx context.Context, by *Process, name string) (DrainStatus, error) {
	for {
		var s DrainStatus
		if err := by.Admin(ctx, "/v1/drain?host="+name, nil, &s); err != nil {
			return s, err
		}
		if s.State != "draining" {
			return s, nil
		}
		if err := pause(ctx, drainPoll); err != nil {
			return s, fmt.Errorf("drain %s, %d rooms left: %w", name, s.Left, err)
		}
	}
}

const drainPoll = 20 * 1e6 // nanoseconds

// DrainStatus is what a host says of its drain.
type DrainStatus struct {
	State              string
	Error              string
	Total, Left, Moved int
	Failures           int
	Elapsed            float64
	Pause              Pauses `json:"pause_ms"`
	Waits              string
	Blockers           []struct{ Room, Error string }
}

// Pauses are how long rooms stood still, in milliseconds.
type Pauses struct{ P50, P99, Max float64 }
