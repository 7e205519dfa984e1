//go:build linux

package load

import "net/netip"

// Config says what the clients do.
type Config struct {
	Protocol Protocol
	Addrs    []netip.AddrPort // clients are spread over them
	Clients  int
	PerRoom  int     // memberships in a room
	Seats    int     // rooms that each client joins; default 1
	Rate     float64 // inputs a second of each membership
	Echo     bool    // rooms answer each input and have no states
	PingPong bool    // each answer brings the next input
	Slow     float64 // share of the clients that hardly read once joined
	Churn    float64 // connections a second that end and come again
	Joining  int     // connections that are made at once; default 64
	Sources  int     // loopback addresses that connections come from; default 1
	TLS      bool
	Progress func(Stats) // each second, of Join and of Play
}
