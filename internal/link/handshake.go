package link

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/limpet-games/limpet/internal/certs"
	"github.com/limpet-games/limpet/internal/socket"
	"github.com/limpet-games/limpet/wire"
)

// The handshake begins with TLS 1.3, where the process has an identity: both
// ends show a certificate of their cluster, and what follows can't be read,
// changed, replayed or reflected. Then each message behind a u16 length:
//
//	dialler:  "LIMPETLINK" | u8 version | str8 cluster | str8 node
//	acceptor: the same of its own
//
// where the node is the one that the certificate names. The acceptor says
// nothing to a peer that fails; the dialler sees the link closed.
const (
	magic   = "LIMPETLINK"
	version = 2
	maxOpen = 1024
)

type opening struct{ cluster, node string }

func (m *Mesh) open() []byte {
	b := append([]byte(magic), version)
	b = wire.AppendStr8(b, m.cfg.Cluster)
	return wire.AppendStr8(b, m.cfg.Self)
}

func readOpening(p []byte) (opening, error) {
	r := wire.NewReader(p)
	if got := r.Fixed("magic", len(magic)); string(got) != magic {
		return opening{}, errors.New("peer does not speak the link protocol")
	}
	if v := r.U8("version"); v != version {
		return opening{}, fmt.Errorf("peer speaks link version %d, this build %d", v, version)
	}
	o := opening{cluster: r.Str8("cluster", 255), node: r.Str8("node", 255)}
	return o, r.Err()
}

// check holds what a peer says of itself against what it has proved.
func (m *Mesh) check(o opening, proved certs.Name) error {
	if o.cluster != m.cfg.Cluster {
		return fmt.Errorf("peer %q is of cluster %q, this is %q", o.node, o.cluster, m.cfg.Cluster)
	}
	if o.node == "" {
		return errors.New("peer has no name")
	}
	if name, _, _ := strings.Cut(o.node, "#"); m.cfg.Identity != nil && !proved.Covers(name) {
		return fmt.Errorf("peer calls itself %q, its certificate is %s's", o.node, proved)
	}
	return nil
}

// handshakeOut takes a connection that was dialled through its handshake.
func (m *Mesh) handshakeOut(conn net.Conn) (*handshaken, error) {
	defer deadline(conn, m.cfg.DialWithin)()
	h := &handshaken{conn: socket.Direct(conn)}
	if m.cfg.Identity != nil {
		cfg, err := m.cfg.Identity.Client()
		if err != nil {
			return nil, err
		}
		if err := h.secure(tls.Client(h.conn, cfg)); err != nil {
			return nil, fmt.Errorf("peer of another cluster, or without the same key or CA: %w", err)
		}
	}
	if err := send(h.conn, m.open()); err != nil {
		return nil, err
	}
	answer, err := receive(h.conn)
	if err != nil {
		return nil, fmt.Errorf("peer closed the link during its handshake (cluster, key or CA agree?): %w", err)
	}
	return h, m.meet(h, answer)
}

// handshakeIn is handshakeOut for the end that was dialled.
func (m *Mesh) handshakeIn(conn net.Conn) (*handshaken, error) {
	defer deadline(conn, m.cfg.DialWithin)()
	h := &handshaken{conn: socket.Direct(conn)}
	if m.cfg.Identity != nil {
		cfg, err := m.cfg.Identity.Server()
		if err != nil {
			return nil, err
		}
		if err := h.secure(tls.Server(h.conn, cfg)); err != nil {
			return nil, err
		}
	}
	p, err := receive(h.conn)
	if err != nil {
		return nil, err
	}
	if err := m.meet(h, p); err != nil {
		return nil, err
	}
	return h, send(h.conn, m.open())
}

// handshaken is a connection on its way through the handshake.
type handshaken struct {
	conn   net.Conn // TLS, where the process has an identity
	proved certs.Name
	peer   string // NAME#BOOT
}

func (h *handshaken) secure(c *tls.Conn) (err error) {
	if err := c.Handshake(); err != nil { // within the connection's deadline
		return err
	}
	h.conn = c
	h.proved, err = certs.Peer(c)
	return err
}

// meet takes the peer's opening in.
func (m *Mesh) meet(h *handshaken, p []byte) error {
	o, err := readOpening(p)
	if err == nil {
		err = m.check(o, h.proved)
	}
	h.peer = o.node
	return err
}

func deadline(conn net.Conn, d time.Duration) (clear func()) {
	conn.SetDeadline(time.Now().Add(d))
	return func() { conn.SetDeadline(time.Time{}) }
}

func send(w io.Writer, p []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(p))), p...))
	return err
}

func receive(r io.Reader) ([]byte, error) {
	var n [2]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint16(n[:]))
	if size > maxOpen {
		return nil, fmt.Errorf("handshake message of %d bytes: want at most %d", size, maxOpen)
	}
	p := make([]byte, size)
	_, err := io.ReadFull(r, p)
	return p, err
}
