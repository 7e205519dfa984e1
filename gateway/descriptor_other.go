//go:build !linux

package gateway

import "net"

// descriptor is none: a goroutine reads each connection here.
func descriptor(*net.TCPConn) (uintptr, bool) { return 0, false }

func (*outbox) wrap() (net.Conn, error) { return nil, net.ErrClosed }

// cut is close.
func (o *outbox) cut() { o.close() }

func (*outbox) free() {}
