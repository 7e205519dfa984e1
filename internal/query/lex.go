package query

import (
	"fmt"
	"strings"
)

// token is a word, a quoted text, or a sign.
type token struct {
	at   int
	text string // without quotes
	kind tokenKind
}

type tokenKind uint8

const (
	end tokenKind = iota
	word
	quotedText
	sign // , ( ) = != < <= > >= ~ !~
)

// String names the token in errors.
func (t token) String() string {
	if t.kind == end {
		return "the end"
	}
	return fmt.Sprintf("%q", t.text)
}

// is reports whether the token is a keyword or a sign; keywords in any case.
func (t token) is(text string) bool {
	return t.kind == sign && t.text == text || t.kind == word && strings.EqualFold(t.text, text)
}

func wordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_.-/*:+#@", c) >= 0 || c >= 0x80
}

// lex takes a text apart. The last token is the end.
func lex(text string) ([]token, error) {
	var tokens []token
	for at := 0; at < len(text); {
		c := text[at]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			at++
			continue
		case c == '\'' || c == '"':
			n := strings.IndexByte(text[at+1:], c)
			if n < 0 {
				return nil, &Error{at, "the quote does not end"}
			}
			tokens = append(tokens, token{at, text[at+1 : at+1+n], quotedText})
			at += n + 2
		case wordByte(c):
			n := at
			for n < len(text) && wordByte(text[n]) {
				n++
			}
			tokens = append(tokens, token{at, text[at:n], word})
			at = n
		default:
			n := signLen(text[at:])
			if n == 0 {
				return nil, &Error{at, fmt.Sprintf("%q has no meaning here; put texts into quotes", c)}
			}
			tokens = append(tokens, token{at, text[at : at+n], sign})
			at += n
		}
	}
	return append(tokens, token{at: len(text)}), nil
}

func signLen(s string) int {
	for _, two := range []string{"!=", "<=", ">=", "!~"} {
		if strings.HasPrefix(s, two) {
			return 2
		}
	}
	if strings.IndexByte(",()=<>~", s[0]) >= 0 {
		return 1
	}
	return 0
}
