package auth

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"github.com/limpet-games/limpet/gateway"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// claims are those that this package reads.
type claims struct {
	jwt.RegisteredClaims
	Limpet *grant `json:"limpet"`
}

// grant says what a token's bearer may join, and the seat there that it is held
// to. What is left out is not limited; an empty list allows nothing.
type grant struct {
	Kinds []string `json:"kinds"`
	Rooms []string `json:"rooms"`
	Seat  *string  `json:"seat"` // the room holds its bearer to it
}

// Bounds of a grant: each list of it, and the bytes of a seat's name.
const (
	maxGranted = 64
	maxSeat    = 64
)

var (
	errNoToken  = errors.New("no token")
	errNoKey    = errors.New("no such key")
	errAudience = errors.New("the token is for an audience, and none is set here")
)

// Verify checks a token and tells whose it is. Its errors say what is wrong,
// without the token.
func (v *Verifier) Verify(_ context.Context, token []byte) (gateway.Identity, error) {
	if len(token) == 0 {
		return gateway.Identity{}, errNoToken
	}
	if len(token) > wire.MaxToken {
		return gateway.Identity{}, fmt.Errorf("token of %d bytes", len(token))
	}
	var c claims
	if err := v.parse(string(token), &c); err != nil {
		return gateway.Identity{}, err
	}
	raw, err := payload(token)
	if err != nil {
		return gateway.Identity{}, err
	}
	return identity(&c, raw)
}

// parse tries each key that the token may be signed with.
func (v *Verifier) parse(token string, c *claims) error {
	options := []jwt.ParserOption{
		jwt.WithValidMethods(algorithms), jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
		jwt.WithLeeway(v.cfg.Leeway), jwt.WithStrictDecoding(),
	}
	if v.cfg.Issuer != "" {
		options = append(options, jwt.WithIssuer(v.cfg.Issuer))
	}
	if v.cfg.Audience != "" {
		options = append(options, jwt.WithAudience(v.cfg.Audience))
	}
	_, err := jwt.NewParser(options...).ParseWithClaims(token, c, v.candidates)
	switch {
	case err != nil:
		return reason(err)
	case v.cfg.Audience == "" && len(c.Audience) > 0:
		return errAudience
	}
	return nil
}

// candidates are the keys for a token's algorithm, and of its key id where that
// is one of a key set's.
func (v *Verifier) candidates(t *jwt.Token) (any, error) {
	if _, ok := t.Header["crit"]; ok {
		return nil, errors.New("token asks for extensions")
	}
	alg, _ := t.Header["alg"].(string)
	id, _ := t.Header["kid"].(string)
	if len(id) > maxKeyID {
		return nil, errNoKey
	}
	set := jwt.VerificationKeySet{Keys: v.keys.Load().find(alg, id)}
	if len(set.Keys) == 0 {
		if v.cfg.JWKS != "" {
			v.want()
		}
		return nil, errNoKey
	}
	return set, nil
}

// reason words a parser's error without anything of the token in it.
func reason(err error) error {
	for _, known := range []error{
		jwt.ErrTokenExpired, jwt.ErrTokenNotValidYet, jwt.ErrTokenUsedBeforeIssued, jwt.ErrTokenInvalidAudience,
		jwt.ErrTokenInvalidIssuer, jwt.ErrTokenRequiredClaimMissing, errNoKey, jwt.ErrTokenSignatureInvalid,
		jwt.ErrTokenUnverifiable, jwt.ErrTokenMalformed,
	} {
		if errors.Is(err, known) {
			return known
		}
	}
	return jwt.ErrTokenInvalidClaims
}

// payload is a good token's claims as JSON.
func payload(token []byte) ([]byte, error) {
	parts := bytes.Split(token, []byte("."))
	raw, err := base64.RawURLEncoding.Strict().AppendDecode(nil, parts[1])
	if err != nil {
		return nil, jwt.ErrTokenMalformed
	}
	if len(raw) > peer.MaxClaims {
		return nil, fmt.Errorf("claims of %d bytes: want at most %d", len(raw), peer.MaxClaims)
	}
	return raw, nil
}

func identity(c *claims, raw []byte) (gateway.Identity, error) {
	switch {
	case c.Subject == "":
		return gateway.Identity{}, errors.New("token without a subject")
	case len(c.Subject) > wire.MaxUserLen || !utf8.ValidString(c.Subject) || strings.ContainsFunc(c.Subject, unprintable):
		return gateway.Identity{}, fmt.Errorf("subject of %d bytes: want at most %d, without control characters", len(c.Subject), wire.MaxUserLen)
	case !json.Valid(raw):
		return gateway.Identity{}, jwt.ErrTokenMalformed
	}
	id := gateway.Identity{User: c.Subject, Claims: raw}
	if g := c.Limpet; g != nil {
		if len(g.Kinds) > maxGranted || len(g.Rooms) > maxGranted {
			return gateway.Identity{}, fmt.Errorf("grant of %d kinds and %d rooms: want at most %d", len(g.Kinds), len(g.Rooms), maxGranted)
		}
		if s := g.Seat; s != nil && (*s == "" || len(*s) > maxSeat || !utf8.ValidString(*s) || strings.ContainsFunc(*s, unprintable)) {
			return gateway.Identity{}, fmt.Errorf("seat of %d bytes: want 1 to %d, without control characters", len(*s), maxSeat)
		}
		id.Kinds, id.Rooms = slices.Clone(g.Kinds), slices.Clone(g.Rooms)
	}
	return id, nil
}

func unprintable(r rune) bool { return r < ' ' || r == 0x7f }
