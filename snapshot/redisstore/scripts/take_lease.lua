-- take_lease: start a lease that was never seen before.
-- KEYS 1 lease, 2 its mark
-- ARGV 1 milliseconds to live, 2 milliseconds to remember it
if redis.call('EXISTS', KEYS[1], KEYS[2]) > 0 then return 'ENDED' end
redis.call('SET', KEYS[2], '1', 'PX', ARGV[2])
redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
return 'OK'
