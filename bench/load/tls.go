//go:build linux

package load

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// tunnel makes a connection whose far part is under TLS: the descriptor is one
// end of a pair of sockets, and goroutines seal and open what passes. It costs
// the clients' CPU, not the server's.
func (l *Loop) tunnel(to netip.AddrPort, from [4]byte) (int, error) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("make pair of sockets: %w", err)
	}
	f := os.NewFile(uintptr(pair[1]), "tunnel")
	near, err := net.FileConn(f)
	f.Close()
	if err != nil {
		syscall.Close(pair[0])
		return -1, fmt.Errorf("make pair of sockets: %w", err)
	}
	l.tunnels.Go(func() {
		defer near.Close()
		d := net.Dialer{Timeout: time.Minute}
		if from != [4]byte{} {
			d.LocalAddr = &net.TCPAddr{IP: from[:]}
		}
		// The server's certificate is of this run, and signed by itself.
		far, err := tls.DialWithDialer(&d, "tcp", to.String(), &tls.Config{ServerName: "bench", InsecureSkipVerify: true})
		if err != nil {
			return // the client sees its end closed
		}
		defer far.Close()
		l.tunnels.Go(func() { io.Copy(far, near); far.Close() })
		io.Copy(near, far)
	})
	return pair[0], nil
}
