package gatewayd

import (
	"net/http"

	"github.com/limpet-games/limpet/web"
)

// demo serves the demo and the JavaScript client.
func demo() http.Handler {
	files := http.FileServerFS(web.Demo())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", web.CSP)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache") // a new build is another page
		files.ServeHTTP(w, r)
	})
}
