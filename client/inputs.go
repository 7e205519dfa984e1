package client

import "github.com/limpet-games/limpet/wire"

// inputs are those of one membership, numbered from 1 and kept until they are
// durable: the only queue between a client and a room. Payloads lie one behind
// the other in data, so that a steady flow allocates nothing.
type inputs struct {
	maxCount, maxBytes int

	next   wire.Input // number of the next input
	first  wire.Input // number of the oldest that is kept; next where none is
	cursor wire.Input // number of the next to go over the wire
	leave  wire.Input // number of the leave, which is the last input; 0 before

	applied, durable wire.Input

	sizes []int // of first, first+1, ..., from index head
	head  int
	data  []byte // their payloads, from index start
	start int
	at    int // where the cursor's payload lies in data, if the cursor >= first
}

func newInputs(maxCount, maxBytes int) inputs {
	return inputs{maxCount: maxCount, maxBytes: maxBytes, next: 1, first: 1, cursor: 1}
}

func (q *inputs) count() int { return len(q.sizes) - q.head }

func (q *inputs) bytes() int { return len(q.data) - q.start }

// push numbers a payload and keeps a copy. from to to are given up for it;
// none where from is 0.
func (q *inputs) push(payload []byte) (n, from, to wire.Input) {
	q.compact()
	n = q.next
	q.next++
	q.sizes = append(q.sizes, len(payload))
	q.data = append(q.data, payload...)
	for q.count() > 1 && (q.count() > q.maxCount || q.bytes() > q.maxBytes) {
		if from == 0 {
			from = q.first
		}
		to = q.first
		q.drop()
	}
	return n, from, to
}

// pushLeave numbers the leave.
func (q *inputs) pushLeave() {
	q.leave, _, _ = q.push(nil)
}

func (q *inputs) drop() {
	if q.cursor == q.first {
		q.at += q.sizes[q.head]
	}
	q.start += q.sizes[q.head]
	q.head++
	q.first++
	if q.cursor < q.first {
		q.at = q.start
	}
}

// compact moves what is kept to the front once more than half is free.
func (q *inputs) compact() {
	if q.head > 32 && q.head*2 > len(q.sizes) {
		q.sizes = q.sizes[:copy(q.sizes, q.sizes[q.head:])]
		q.head = 0
	}
	if q.start > 1024 && q.start*2 > len(q.data) {
		q.at -= q.start
		q.data = q.data[:copy(q.data, q.data[q.start:])]
		q.start = 0
	}
}

// forget drops what is durable.
func (q *inputs) forget(durable wire.Input) {
	q.durable = max(q.durable, durable)
	for q.count() > 0 && q.first <= durable {
		q.drop()
	}
}

// rewind sends again from number n.
func (q *inputs) rewind(n wire.Input) {
	if n < 1 || n > q.next {
		return
	}
	q.cursor, q.at = n, q.start
	for i := q.first; i < n; i++ {
		q.at += q.sizes[q.head+int(i-q.first)]
	}
}

// pending says whether something is to be sent.
func (q *inputs) pending() bool { return q.cursor < q.next }

// take returns the next frame to send, without its handle: an Input, a Leave,
// or a Skip of what the room still wants and is no longer kept. The payload is
// valid until the next push. Only while pending.
func (q *inputs) take(handle wire.Handle, b []byte) []byte {
	if q.cursor < q.first {
		skip := wire.Skip{Handle: handle, From: q.cursor, To: q.first - 1}
		q.cursor, q.at = q.first, q.start
		return skip.Append(b)
	}
	n, size := q.cursor, q.sizes[q.head+int(q.cursor-q.first)]
	payload := q.data[q.at : q.at+size]
	q.cursor++
	q.at += size
	if n == q.leave {
		return wire.Leave{Handle: handle, N: n}.Append(b)
	}
	return wire.InputFrame{Handle: handle, N: n, Payload: payload}.Append(b)
}

// release frees what is kept.
func (q *inputs) release() {
	q.sizes, q.data, q.head, q.start = nil, nil, 0, 0
	q.first, q.cursor = q.next, q.next
}
