package redisstore

import (
	"errors"
	"fmt"

	"github.com/limpet-games/limpet/snapshot"
)

// outcome gathers a batch's answers. Rooms whose outcome is not known are told
// apart from the answered ones; where that is all of them, the call as a whole
// has failed.
type outcome struct {
	errs  []error
	first error // of those that are not known
}

func newOutcome(n int) *outcome { return &outcome{errs: make([]error, n)} }

// answer is the store's word on one room.
func (o *outcome) answer(i int, err error) { o.errs[i] = err }

// unknown takes back an answer that was only noted, if any.
func (o *outcome) unknown(i int, err error) {
	o.errs[i] = fmt.Errorf("%w: %w", snapshot.ErrUnknown, err)
	if o.first == nil {
		o.first = err
	}
}

// whole is the error of the call.
func (o *outcome) whole() error {
	if o.first == nil {
		return nil
	}
	for _, err := range o.errs {
		if !errors.Is(err, snapshot.ErrUnknown) {
			return nil
		}
	}
	return o.first
}

// fields takes a script's array answer apart. The first failure sticks.
type fields struct {
	all []any
	err error
}

func (c *call) fields() *fields {
	all, err := c.cmd.Slice()
	return &fields{all: all, err: err}
}

func (f *fields) next() any {
	if f.err != nil || len(f.all) == 0 {
		if f.err == nil {
			f.err = fmt.Errorf("%w: it is too short", errScriptAnswer)
		}
		return nil
	}
	v := f.all[0]
	f.all = f.all[1:]
	return v
}

func (f *fields) text() string {
	v, ok := f.next().(string)
	if !ok && f.err == nil {
		f.err = fmt.Errorf("%w: a field is not text", errScriptAnswer)
	}
	return v
}

func (f *fields) number() uint64 {
	s := f.text()
	if f.err != nil {
		return 0
	}
	n, err := parse(s)
	f.err = err
	return n
}

func (f *fields) flag() bool { return f.text() == "1" }

// journal is the number of the entry that a checkpoint covers, and the entries
// after it.
func (f *fields) journal() (j snapshot.Journal) {
	j.Base = f.number()
	list, ok := f.next().([]any)
	if !ok && f.err == nil {
		f.err = fmt.Errorf("%w: a journal is no list", errScriptAnswer)
	}
	for _, v := range list {
		e, ok := v.(string)
		if !ok && f.err == nil {
			f.err = fmt.Errorf("%w: a journal's entry is not text", errScriptAnswer)
		}
		j.Entries = append(j.Entries, []byte(e))
	}
	return j
}

// note is nil where there is none.
func (f *fields) note() []byte {
	if s := f.text(); s != "" {
		return []byte(s)
	}
	return nil
}

// bytes is nil where the script answered false, or ended its answer with it.
func (f *fields) bytes() []byte {
	if f.err != nil || len(f.all) == 0 || f.all[0] == nil {
		return nil
	}
	return []byte(f.text())
}

// otherwise is the error that a word stands for.
func (f *fields) otherwise(word string) error {
	if f.err != nil {
		return nil // told apart by the caller
	}
	err, ok := words[word]
	if !ok {
		f.err = fmt.Errorf("%w: %q", errScriptAnswer, word)
	}
	return err
}
