package redisstore

import (
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// tune sets what the client's defaults get wrong for a store: it retries on
// its own and runs a script several times for one error; it ignores a context's
// deadline; it says things on connecting that Redis before 7.2 and many proxies
// answer with errors; and its pool grows without a bound.
func tune(o *redis.UniversalOptions, poolSize int) *redis.UniversalOptions {
	o.MaxRetries = -1
	o.DialerRetries = 1
	o.ContextTimeoutEnabled = true
	o.DialTimeout = time.Second
	o.ReadTimeout = time.Second
	o.WriteTimeout = time.Second
	o.PoolTimeout = time.Second
	o.PoolSize = poolSize
	o.MaxActiveConns = poolSize
	o.PipelinePoolSize = -1     // all calls share one pool, and its bound
	o.ReadBufferSize = 16 << 10 // what is larger passes them by
	o.WriteBufferSize = 16 << 10
	o.Protocol = 2
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	o.ReadOnly, o.RouteByLatency, o.RouteRandomly = false, false, false // leases are read where they are written
	return o
}
