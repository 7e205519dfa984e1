package dev

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// stateFile, in the data directory, says where a running cluster is.
const stateFile = "dev.json"

// State is where a running cluster is, for other commands.
type State struct {
	PID      int    `json:"pid"`
	Ready    bool   `json:"ready"`
	Demo     string `json:"demo"` // its URL
	Gateways []Node `json:"gateways"`
	Hosts    []Node `json:"hosts"`
}

// Node is one process of a running cluster.
type Node struct {
	Name string `json:"name"`
	URL  string `json:"url,omitempty"` // for players; gateways only
	Ops  string `json:"ops"`           // URL of its operations listener
}

// DefaultData is the data directory where none is given.
func DefaultData() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a place for data: %w", err)
	}
	return filepath.Join(cache, "limpet-dev"), nil
}

// ReadState reads the state of the cluster that uses the data directory, or of
// the one in DefaultData.
func ReadState(data string) (State, error) {
	if data == "" {
		var err error
		if data, err = DefaultData(); err != nil {
			return State{}, err
		}
	}
	raw, err := os.ReadFile(filepath.Join(data, stateFile))
	if err != nil {
		return State{}, fmt.Errorf("read state of limpet dev: %w", err)
	}
	var s State
	if err := json.Unmarshal(raw, &s); err != nil {
		return State{}, fmt.Errorf("read state of limpet dev: %w", err)
	}
	return s, nil
}

func (c *Cluster) writeState(ready bool) error {
	s := State{PID: os.Getpid(), Ready: ready, Demo: c.demo()}
	for _, ch := range c.gateways {
		s.Gateways = append(s.Gateways, Node{Name: ch.name, URL: "ws://" + ch.ports.players, Ops: "http://" + ch.ports.ops})
	}
	for _, ch := range c.hosts {
		s.Hosts = append(s.Hosts, Node{Name: ch.name, Ops: "http://" + ch.ports.ops})
	}
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	// A reader must never see half of it.
	half := c.path(stateFile + ".new")
	if err := os.WriteFile(half, append(raw, '\n'), 0o600); err != nil {
		return setup("write state: %v", cause(err))
	}
	if err := os.Rename(half, c.path(stateFile)); err != nil {
		return setup("write state: %v", cause(err))
	}
	return nil
}

func (c *Cluster) demo() string { return "http://" + c.gateways[0].ports.players + "/" }
