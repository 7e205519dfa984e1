package web

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func TestDemoServesPageAndClient(t *testing.T) {
	srv := httptest.NewServer(http.FileServerFS(Demo()))
	defer srv.Close()
	for path, kind := range map[string]string{
		"/": "text/html", "/main.js": "text/javascript", "/style.css": "text/css",
		"/icon.svg": "image/svg+xml", "/client/limpet.js": "text/javascript",
	} {
		res, err := http.Get(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if got := res.Header.Get("Content-Type"); res.StatusCode != 200 || !strings.HasPrefix(got, kind) {
			t.Errorf("%s: status %d, type %q, want 200 and %s", path, res.StatusCode, got, kind)
		}
	}
	if res, err := http.Get(srv.URL + "/embed.go"); err != nil || res.StatusCode != 404 {
		t.Errorf("/embed.go: %v, status %d, want 404", err, res.StatusCode)
	}
}

// A strict policy only works while nothing is inline and nothing foreign.
func TestPageLivesWithItsPolicy(t *testing.T) {
	for _, site := range []fs.FS{Demo(), Console()} {
		page, err := fs.ReadFile(site, "index.html")
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []string{`<script>`, `<style`, ` style="`, ` on[a-z]+="`, `https?://`} {
			if m := regexp.MustCompile(bad).Find(page); m != nil {
				t.Errorf("index.html holds %q", m)
			}
		}
	}
}

// Every module that a module imports is there.
func TestImportsResolve(t *testing.T) {
	imports := regexp.MustCompile(`from '(\./[^']+)'`)
	for _, root := range []string{"demo", "client", "console"} {
		entries, err := files.ReadDir(root)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), ".js") {
				continue
			}
			src, _ := files.ReadFile(root + "/" + e.Name())
			for _, m := range imports.FindAllStringSubmatch(string(src), -1) {
				name := strings.TrimPrefix(m[1], "./")
				site := Demo()
				switch root {
				case "client":
					name = "client/" + name
				case "console":
					site = Console()
				}
				if _, err := fs.Stat(site, name); err != nil {
					t.Errorf("%s/%s imports %s: %v", root, e.Name(), m[1], err)
				}
			}
		}
	}
}
