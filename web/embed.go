// Package web holds the demo and the JavaScript client, for a gateway that
// serves them.
package web

import (
	"embed"
	"io/fs"
	"path"
	"strings"
)

//go:embed demo client console
var files embed.FS

// CSP is the content security policy that the demo lives with: nothing inline,
// nothing from elsewhere.
const CSP = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
	"connect-src 'self' ws: wss:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// Demo is the demo at its root and the client under client/.
func Demo() fs.FS { return demo{} }

// ConsoleCSP is the policy that the operator's page lives with.
const ConsoleCSP = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Console is the operator's page.
func Console() fs.FS {
	console, err := fs.Sub(files, "console")
	if err != nil {
		panic(err) // the name is valid
	}
	return console
}

type demo struct{}

// Open maps a name onto the embedded folders.
func (demo) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	if name == "client" || strings.HasPrefix(name, "client/") {
		return files.Open(name)
	}
	return files.Open(path.Join("demo", name))
}
