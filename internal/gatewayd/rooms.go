package gatewayd

import (
	"context"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/gateway"
)

// rooms is the directory as the gateway asks it.
type rooms struct {
	*directory.Resolver
	coroner *directory.Coroner
	members *directory.Members
}

var _ gateway.Directory = rooms{}

// Suspect looks into whether a node is gone.
func (r rooms) Suspect(ctx context.Context, node directory.NodeID) bool {
	return r.coroner.Suspect(ctx, node)
}

// Up reports whether gossip finds the node alive.
func (r rooms) Up(node directory.NodeID) bool { return r.members.View().Node(node) != nil }

// Restarting is until when the node restarts in place.
func (r rooms) Restarting(node directory.NodeID) time.Time { return r.coroner.Restarting(node) }
