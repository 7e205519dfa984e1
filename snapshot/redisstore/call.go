package redisstore

import (
	"context"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// call is one script's run on one room or lease, with the value that has to be
// set ahead of it, if any. Its memory is used again.
type call struct {
	script  *script
	keys    []string
	args    []any
	blobKey string
	blob    []byte
	cmd     *redis.Cmd

	numbers [6]uint64 // that args point to
	used    int       // of them
	data    payload   // that args point to
	line    []any     // the command that cmd was made of
}

var spareCalls = sync.Pool{New: func() any { return new(call) }}

// newCall is an empty call of a script.
func newCall(sc *script, keys ...string) *call {
	c := spareCalls.Get().(*call)
	c.script = sc
	c.keys = append(c.keys, keys...)
	return c
}

// free lets go of all that the call holds but its memory. What its answer was made
// of is no longer its.
func (c *call) free() {
	clear(c.keys)
	clear(c.args)
	c.script, c.keys, c.args, c.blobKey, c.blob, c.used, c.data = nil, c.keys[:0], c.args[:0], "", nil, 0, nil
	if c.cmd != nil {
		c.cmd.SetVal(nil)
	}
	spareCalls.Put(c)
}

// number adds a number to the arguments.
func (c *call) number(n uint64) {
	if c.used == len(c.numbers) {
		c.args = append(c.args, n)
		return
	}
	at := &c.numbers[c.used]
	c.used, *at = c.used+1, n
	c.args = append(c.args, at)
}

// bytes adds the one big argument.
func (c *call) bytes(b []byte) {
	c.data = b
	c.args = append(c.args, &c.data)
}

// payload is an argument that is written from where it is.
type payload []byte

// MarshalBinary is encoding.BinaryMarshaler's.
func (p *payload) MarshalBinary() ([]byte, error) { return *p, nil }

// command is the call for the client. Where again is set, the command before it
// may be used again: not in a Cluster, as it remembers the slot.
func (c *call) command(source, again bool) *redis.Cmd {
	was := len(c.line)
	name, what := any("evalsha"), c.script.byHash
	if source {
		name, what = "eval", c.script.bySource
	}
	clear(c.line)
	c.line = append(c.line[:0], name, what, len(c.keys))
	for i := range c.keys {
		c.line = append(c.line, &c.keys[i])
	}
	c.line = append(c.line, c.args...)
	if !again || c.cmd == nil || len(c.line) != was || &c.cmd.Args()[0] != &c.line[0] {
		c.cmd = redis.NewCmd(context.Background(), c.line...)
		if len(c.keys) > 0 {
			c.cmd.SetFirstKeyPos(3)
		}
	}
	c.cmd.SetErr(nil)
	return c.cmd
}

// unknownScript reports that the node does not have the script yet.
func (c *call) unknownScript() bool {
	err := c.cmd.Err()
	return err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT")
}

// confirms reports whether the call makes something durable: with WaitReplicas it
// counts once so many replicas have it.
func (c *call) confirms() bool {
	switch c.script {
	case saveScript, appendScript, handOffScript, closeScript, noteScript:
		return true
	}
	return false
}

// unconfirm takes the answer OK back: that the primary has it is not enough. The
// call is to be run again.
func (c *call) unconfirm(why error) {
	if !c.confirms() || c.cmd.Err() != nil {
		return
	}
	word := c.cmd.Val()
	if list, ok := word.([]any); ok && len(list) > 0 {
		word = list[0]
	}
	if word == "OK" || word == int64(1) {
		c.cmd.SetErr(why)
	}
}

// numbered are the words of scripts that answer with their numbers.
var numbered = [...]string{1: "OK", 2: "MISSING", 3: "FENCED", 4: "NOBLOB"}

// word is the answer of a script that gives one word, or its number.
func (c *call) word() (string, error) {
	if n, ok := c.cmd.Val().(int64); ok && c.cmd.Err() == nil && n > 0 && int(n) < len(numbered) {
		return numbered[n], nil
	}
	return c.cmd.Text()
}
