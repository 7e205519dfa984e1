package snapshot

import (
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// compressFrom is the smallest state worth the attempt, in bytes.
const compressFrom = 512

// The codecs hold buffers for as many concurrent calls as there are CPUs and
// start no goroutines for whole-buffer calls.
var (
	encoder = sync.OnceValues(func() (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithEncoderCRC(false), zstd.WithWindowSize(256<<10), zstd.WithLowerEncoderMem(true))
	})
	decoder = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(MaxState), zstd.WithDecodeAllCapLimit(true))
	})
)

// appendCompressed appends the body to store for a state, and gives the flags
// that say so.
func appendCompressed(b, state []byte) ([]byte, uint8) {
	if len(state) < compressFrom {
		return append(b, state...), 0
	}
	enc, err := encoder()
	if err != nil { // the options are constants: a state is stored as it is
		return append(b, state...), 0
	}
	at := len(b)
	b = enc.EncodeAll(state, b)
	if len(b)-at > len(state)-len(state)/10 {
		return append(b[:at], state...), 0
	}
	return b, flagCompressed
}

// decompress gives a state of exactly size bytes, which the caller has
// bounded, and allocates no more than that for it.
func decompress(body []byte, size int) ([]byte, error) {
	dec, err := decoder()
	if err != nil {
		return nil, fmt.Errorf("start zstd: %w", err)
	}
	state, err := dec.DecodeAll(body, make([]byte, 0, size))
	if err != nil {
		return nil, fmt.Errorf("%w: zstd: %w", ErrDamaged, err)
	}
	if len(state) != size {
		return nil, fmt.Errorf("%w: state of %d bytes, want %d", ErrDamaged, len(state), size)
	}
	return state, nil
}
