package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/limpet-games/limpet/internal/daemon"
)

// opsFlags name the nodes that a command may ask.
type opsFlags struct {
	psFlags
	bearer string
}

// parse reads a command's arguments, and the token file if there is one. Where it
// returns false the command is to end with the status.
func (o *opsFlags) parse(f *daemon.Flags, args []string, std streams) (status int, ok bool) {
	f.Out, f.Err = std.out, std.err
	if status, ok := f.Parse(args); !ok {
		return status, false
	}
	var err error
	if o.bearer, err = o.token(); err != nil {
		return f.Bad(err), false
	}
	return 0, true
}

const opsWithin = 20 * time.Second

// call asks the nodes one after the other until one answers; any may answer
// for any host. in is nil for a question.
func (o *opsFlags) call(ctx context.Context, path string, in, out any) error {
	err := errors.New("no limpet dev runs with that data directory")
	for _, url := range o.nodes() {
		var unreachable *net.OpError
		if err = o.callNode(ctx, strings.TrimSuffix(url, "/")+path, in, out); !errors.As(err, &unreachable) {
			return err
		}
	}
	return fmt.Errorf("no node answers: is a cluster running? (limpet dev runs one; --ops URL names another): %w", err)
}

func (o *opsFlags) callNode(ctx context.Context, url string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, opsWithin)
	defer cancel()
	method, body := http.MethodGet, io.Reader(http.NoBody)
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		method, body = http.MethodPost, bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return fmt.Errorf("ask %s: %w", url, err)
	}
	req.Header.Set("Content-Type", "application/json")
	if o.bearer != "" {
		req.Header.Set("Authorization", "Bearer "+o.bearer)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask %s: %w", url, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("ask %s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		var e struct{ Error string }
		if json.Unmarshal(raw, &e) == nil && e.Error != "" {
			return errors.New(e.Error)
		}
		return fmt.Errorf("ask %s: %s", url, resp.Status)
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("ask %s: %w", url, err)
	}
	return nil
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
