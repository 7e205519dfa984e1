// Package gatewayd is the gateway's process: its settings, and the wiring of
// links, directory and edge.
package gatewayd
