package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/limpet-games/limpet/internal/link"
	"github.com/limpet-games/limpet/internal/query"
	"github.com/limpet-games/limpet/wire"
)

// ServeQueries answers other nodes' queries to this host's rooms, and serves
// POST /v1/query to operators. scan is nil on gateways. Call it before the
// parts run.
func (c *Cluster) ServeQueries(ops *Ops, reg prometheus.Registerer, scan Scan) {
	c.scan = scan
	q := &queries{c, NewQueryMetrics(reg), make(chan struct{}, maxQueries), make(chan struct{}, maxScans)}
	if scan != nil {
		c.Mesh.OnCall(callQuery, q.scanned)
	}
	ops.HandleRole(RoleRead, "POST /v1/query", q)
}

type queries struct {
	*Cluster
	*QueryMetrics
	composing, scanning chan struct{}
}

// QueryMetrics count queries.
type QueryMetrics struct {
	asked *prometheus.CounterVec
	took  prometheus.Histogram
	scans prometheus.Histogram
}

// NewQueryMetrics registers them, unless reg is nil.
func NewQueryMetrics(reg prometheus.Registerer) *QueryMetrics {
	m := &QueryMetrics{
		asked: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "limpet_queries_total",
			Help: "Operators' queries, by result."}, []string{"result"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "limpet_query_seconds",
			Help: "Time of an operator's query to all hosts.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 15)}),
		scans: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "limpet_query_scan_seconds",
			Help: "Time in which a query was put to this host's rooms.", Buckets: prometheus.ExponentialBuckets(0.0001, 2, 15)}),
	}
	if reg != nil {
		reg.MustRegister(m.asked, m.took, m.scans)
	}
	return m
}

// enter takes a slot, if one is free.
func enter(slots chan struct{}, what string) error {
	select {
	case slots <- struct{}{}:
		return nil
	default:
		return &wire.Error{Code: wire.CodeBusy, RetryMS: 100, Text: "too many queries at once " + what}
	}
}

// scanned puts another node's query to this host's rooms.
func (q *queries) scanned(ctx context.Context, _ *link.Link, body []byte) ([]byte, error) {
	ask, err := query.Parse(string(body))
	if err != nil {
		return nil, wire.Refuse(wire.CodeBadRequest, err.Error())
	}
	if err := enter(q.scanning, "here"); err != nil {
		return nil, err
	}
	defer func() { <-q.scanning }()
	begun := time.Now()
	p, err := q.scan(ctx, ask)
	if err != nil {
		return nil, fmt.Errorf("scan rooms: %w", err)
	}
	q.scans.Observe(time.Since(begun).Seconds())
	raw, err := p.Encode()
	if err != nil {
		return nil, wire.Refuse(wire.CodeTooBig, err.Error())
	}
	return raw, nil
}

// ServeHTTP answers an operator's query.
func (q *queries) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in QueryRequest
	err := readRequest(r, &in)
	if err == nil {
		err = q.answer(w, r, in)
	}
	var bad *query.Error
	switch {
	case err == nil:
		q.asked.WithLabelValues("answered").Inc()
	case errors.As(err, &bad):
		q.asked.WithLabelValues("bad_query").Inc()
		WriteJSON(w, http.StatusBadRequest, map[string]any{"error": err.Error(), "at": bad.At})
	default:
		q.asked.WithLabelValues("refused").Inc()
		WriteError(w, statusOf(err), err.Error())
	}
}

func (q *queries) answer(w http.ResponseWriter, r *http.Request, in QueryRequest) error {
	within := QueryDefault
	if in.Deadline != 0 {
		within = time.Duration(in.Deadline * float64(time.Millisecond))
	}
	if within < time.Millisecond || within > QueryWithin {
		return wire.Refuse(wire.CodeBadRequest, fmt.Sprintf("deadline of %s: want 1ms to %s", within, QueryWithin))
	}
	ask, err := query.Parse(in.Query)
	if err != nil {
		return err
	}
	if err := enter(q.composing, "at this node"); err != nil {
		return err
	}
	defer func() { <-q.composing }()
	begun := time.Now()
	ctx, cancel := context.WithTimeout(r.Context(), within-min(queryMargin, within/10))
	defer cancel()
	if in.Stream {
		q.stream(ctx, w, ask)
	} else {
		WriteJSON(w, http.StatusOK, q.Ask(ctx, ask, nil))
	}
	q.took.Observe(time.Since(begun).Seconds())
	return nil
}

// stream answers with JSON lines, the last of which is the answer.
func (q *queries) stream(ctx context.Context, w http.ResponseWriter, ask *query.Query) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	lines, flusher := json.NewEncoder(w), http.NewResponseController(w)
	// Who reads no more has gone: ctx ends, and so does this.
	say := func(a QueryAnswer) { _ = errors.Join(lines.Encode(a), flusher.Flush()) }
	say(q.Ask(ctx, ask, say))
}
