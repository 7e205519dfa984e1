package gateway

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/alarm"
	"github.com/limpet-games/limpet/internal/link"
	"github.com/limpet-games/limpet/internal/pressure"
	"github.com/limpet-games/limpet/wire"
)

// Directory is what a gateway asks where rooms are. All methods may be called
// concurrently; those without a context don't wait.
type Directory interface {
	// Resolve finds where a room lives, or makes it live somewhere. Errors
	// carry a *wire.Error.
	Resolve(ctx context.Context, req directory.Request) (directory.Location, error)
	// Learn tells of a place that a room's host has confirmed.
	Learn(at directory.Location)
	// Forget tells that the room is not to be found at this epoch any more.
	Forget(room wire.RoomID, epoch wire.Epoch)
	// Suspect looks into whether a node is gone, true where that is proven.
	Suspect(ctx context.Context, node directory.NodeID) bool
	// List asks hosts for open rooms, and says how complete the answer is.
	List(ctx context.Context, q directory.Query) (directory.Listing, error)
	// Up reports whether others seem to find the node alive.
	Up(node directory.NodeID) bool
	// Restarting is until when the node restarts in place, with its rooms; zero
	// if it does not.
	Restarting(node directory.NodeID) time.Time
}

// Config says what a gateway works with.
type Config struct {
	Name      string // shown to clients in the welcome
	Mesh      *link.Mesh
	Directory Directory

	// TLS is what clients speak on the listener; nil: they speak in the clear.
	TLS *tls.Config

	// Cluster and Keys make resume tokens: the first key signs, all verify, so
	// that keys can be changed one gateway at a time. Every gateway of a cluster
	// needs the same. Without keys one is drawn, and only this process takes its
	// tokens.
	Cluster string
	Keys    [][]byte

	// Origins lists the web origins that may connect, as scheme://host[:port].
	// Pages of the gateway's own host and clients that name no origin always
	// may.
	Origins []string
	// Authenticate checks a client's token and tells whose it is. It must return
	// within ctx, and its errors must not hold the token. Nil: everybody may
	// come, without a name.
	Authenticate func(ctx context.Context, token []byte) (Identity, error)
	// Proxies are the addresses whose X-Forwarded-For is believed.
	Proxies []netip.Prefix
	// Static answers requests that are no WebSockets. Nil: 404.
	Static http.Handler

	// Pressure says what the process must not take on any more; nil: nothing.
	Pressure func() pressure.Level

	Limits  Limits
	Log     zerolog.Logger
	Metrics prometheus.Registerer // nil: none
	Alarms  *alarm.Clock          // for what is done again and again; it runs for longer than the gateway; nil: timers of Go's
}
