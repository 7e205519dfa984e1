-- end_lease: end a lease for good, or find that it has ended.
-- KEYS 1 lease, 2 its mark
-- ARGV 1 milliseconds to remember it, 2 "probe" to leave a running one alone
if ARGV[2] == 'probe' and redis.call('EXISTS', KEYS[1]) == 1 then return 'ALIVE' end
redis.call('SET', KEYS[2], '1', 'PX', ARGV[1])
redis.call('DEL', KEYS[1])
return 'ENDED'
