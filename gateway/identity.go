package gateway

import (
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/gorilla/websocket"

	"github.com/limpet-games/limpet/wire"
)

// Identity is who the bearer of an authentication token is, and what it may do
// here.
type Identity struct {
	User   string // at most wire.MaxUserLen bytes
	Claims []byte // a JSON object for the room's code, at most peer.MaxClaims bytes
	// Kinds and Rooms, where they are not nil, are all that the bearer may
	// join. Rooms are named KIND/NAME.
	Kinds []string
	Rooms []string
}

// mayJoin says why a room is not open to the bearer. An empty name asks for
// any room of the kind, which a list of rooms can't allow.
func (id *Identity) mayJoin(kind, name string) *wire.Error {
	switch {
	case id.Kinds != nil && !slices.Contains(id.Kinds, kind):
		return wire.Refuse(wire.CodeUnauthorized, "the token does not allow rooms of this kind")
	case id.Rooms != nil && !slices.Contains(id.Rooms, kind+"/"+name):
		return wire.Refuse(wire.CodeUnauthorized, "the token does not allow this room")
	}
	return nil
}

// mayList says why the rooms of a kind are not for the bearer to see.
func (id *Identity) mayList(kind string) *wire.Error {
	if id.Rooms != nil || id.Kinds != nil && !slices.Contains(id.Kinds, kind) {
		return wire.Refuse(wire.CodeUnauthorized, "the token does not allow a list of these rooms")
	}
	return nil
}

// tokenProtocol begins the subprotocol that carries a token for clients that
// would rather send it with the handshake than in the hello.
const tokenProtocol = "limpet.token."

var errTokenProtocol = errors.New("a handshake may carry one token, as " + tokenProtocol + "BASE64URL")

// handshakeToken is the token among the subprotocols that a request offers.
func handshakeToken(r *http.Request) (token []byte, err error) {
	for _, p := range websocket.Subprotocols(r) {
		text, ok := strings.CutPrefix(p, tokenProtocol)
		if !ok {
			continue
		}
		if token != nil || len(text) > base64.RawURLEncoding.EncodedLen(wire.MaxToken) {
			return nil, errTokenProtocol
		}
		if token, err = base64.RawURLEncoding.Strict().DecodeString(text); err != nil || len(token) == 0 {
			return nil, errTokenProtocol
		}
	}
	return token, nil
}
