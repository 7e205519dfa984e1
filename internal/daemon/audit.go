package daemon

import (
	"bytes"
	"io"
	"net/http"
	"time"
)

// maxLogged bounds the bytes of a request that the audit log shows.
const maxLogged = 512

// audited serves a request and writes down who asked for what, and what came
// of it. A request that is too big is refused: it could not be told.
func (o *Ops) audited(w http.ResponseWriter, r *http.Request, who OpsToken, next http.Handler) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest+1))
	if err != nil || len(body) > maxRequest {
		o.refuse(w, r, "body", http.StatusRequestEntityTooLarge, "the request is too big or broke off")
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	began := time.Now()
	answer := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	next.ServeHTTP(answer, r)
	o.log.Info().Str("audit", r.Method+" "+short(r.URL.Path)).Str("by", who.Name).Stringer("role", who.Role).
		Stringer("from", remoteOf(r)).Str("query", logged([]byte(r.URL.RawQuery))).Str("body", logged(body)).
		Int("status", answer.status).Dur("took_ms", time.Since(began)).Msg("operator")
}

// logged is what the log shows of an operator's bytes. The log quotes it.
func logged(p []byte) string { return string(p[:min(len(p), maxLogged)]) }

// statusWriter remembers how a request was answered.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader is http.ResponseWriter's.
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController through.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// short is the beginning of a path that somebody asked for, as far as it is logged.
func short(path string) string { return path[:min(len(path), 40)] }
