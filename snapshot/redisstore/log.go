package redisstore

import (
	"context"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
)

// LogClient sends what the Redis client library has to say to log, at debug
// level; without it, it goes to standard error as plain text. The library has
// one logger a process: a daemon calls this once, before it opens a store. What
// matters of it comes back as errors too.
func LogClient(log zerolog.Logger) { redis.SetLogger(clientLog{log}) }

type clientLog struct{ log zerolog.Logger }

// Printf is called by the client library, by any goroutine.
func (l clientLog) Printf(_ context.Context, format string, v ...any) {
	l.log.Debug().Msgf(format, v...)
}
