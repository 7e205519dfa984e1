package host

import (
	"sync"

	"github.com/limpet-games/limpet/snapshot"
)

// submission is a checkpoint on its way to the store, in memory that is used again
// when the writer has answered.
type submission struct {
	room *room
	data []byte
	done func(snapshot.SaveRequest, error) // answered, for the writer
}

// keepSubmitted bounds the memory that one of them keeps.
const keepSubmitted = 256 << 10

var (
	submissions sync.Pool
	states      = sync.Pool{New: func() any { return new([]byte) }}
	stored      = &matter{} // of evSaved, where nothing went wrong; never changed
)

// takeSubmission is one with empty data.
func takeSubmission(r *room) *submission {
	s, _ := submissions.Get().(*submission)
	if s == nil {
		s = new(submission)
		s.done = s.answered
	}
	s.room = r
	return s
}

func (s *submission) giveBack() {
	if s.room, s.data = nil, s.data[:0]; cap(s.data) <= keepSubmitted {
		submissions.Put(s)
	}
}

// answered takes the writer's answer: nobody looks at the data any more.
func (s *submission) answered(_ snapshot.SaveRequest, err error) {
	r, m := s.room, stored
	if err != nil {
		m = &matter{err: err}
	}
	s.giveBack()
	r.post(event{kind: evSaved, matter: m})
}
