package link

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/limpet-games/limpet/wire"
)

// The handshake, each message behind a u16 length:
//
//	dialler:  "LIMPETLINK" | u8 version | str8 cluster | str8 node | 32B nonce
//	acceptor: the same of its own | 32B proof
//	dialler:  32B proof
//
// A proof is HMAC-SHA256 under the cluster's key over the prover's side and
// both openings, so that neither can be replayed nor reflected. The acceptor
// says nothing to a peer that fails; the dialler sees the link closed.
const (
	magic     = "LIMPETLINK"
	version   = 1
	proofSize = sha256.Size
	maxOpen   = 1024
)

type opening struct {
	cluster, node string
	raw           []byte
}

func (m *Mesh) open() []byte {
	b := append([]byte(magic), version)
	b = wire.AppendStr8(b, m.cfg.Cluster)
	b = wire.AppendStr8(b, m.cfg.Self)
	var nonce [32]byte
	rand.Read(nonce[:])
	return append(b, nonce[:]...)
}

func readOpening(p []byte) (opening, *wire.Reader, error) {
	r := wire.NewReader(p)
	if got := r.Fixed("magic", len(magic)); string(got) != magic {
		return opening{}, nil, errors.New("peer does not speak the link protocol")
	}
	if v := r.U8("version"); v != version {
		return opening{}, nil, fmt.Errorf("peer speaks link version %d, this build %d", v, version)
	}
	o := opening{cluster: r.Str8("cluster", 255), node: r.Str8("node", 255)}
	r.Fixed("nonce", 32)
	o.raw = p[:len(p)-r.Len()]
	return o, &r, r.Err()
}

func (m *Mesh) check(o opening) error {
	if o.cluster != m.cfg.Cluster {
		return fmt.Errorf("peer %q is of cluster %q, this is %q", o.node, o.cluster, m.cfg.Cluster)
	}
	if o.node == "" {
		return errors.New("peer has no name")
	}
	return nil
}

func (m *Mesh) proof(side string, dialler, acceptor []byte) []byte {
	h := hmac.New(sha256.New, m.cfg.Key)
	h.Write([]byte(side))
	h.Write(dialler)
	h.Write(acceptor)
	return h.Sum(nil)
}

var errKey = errors.New("peer does not hold the cluster's key")

func (m *Mesh) handshakeOut(conn net.Conn) (peer string, err error) {
	defer deadline(conn, m.cfg.DialWithin)()
	mine := m.open()
	if err := send(conn, mine); err != nil {
		return "", err
	}
	answer, err := receive(conn)
	if err != nil {
		return "", fmt.Errorf("peer closed the link during its handshake (cluster and key agree?): %w", err)
	}
	theirs, rest, err := readOpening(answer)
	if err != nil {
		return "", err
	}
	if err := m.check(theirs); err != nil {
		return "", err
	}
	if !hmac.Equal(rest.Fixed("proof", proofSize), m.proof("acceptor", mine, theirs.raw)) {
		return "", errKey
	}
	return theirs.node, send(conn, m.proof("dialler", mine, theirs.raw))
}

func (m *Mesh) handshakeIn(conn net.Conn) (peer string, err error) {
	defer deadline(conn, m.cfg.DialWithin)()
	p, err := receive(conn)
	if err != nil {
		return "", err
	}
	theirs, _, err := readOpening(p)
	if err != nil {
		return "", err
	}
	if err := m.check(theirs); err != nil {
		return "", err
	}
	mine := m.open()
	if err := send(conn, append(mine[:len(mine):len(mine)], m.proof("acceptor", theirs.raw, mine)...)); err != nil {
		return "", err
	}
	got, err := receive(conn)
	if err != nil {
		return "", err
	}
	if !hmac.Equal(got, m.proof("dialler", theirs.raw, mine)) {
		return "", errKey
	}
	return theirs.node, nil
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
