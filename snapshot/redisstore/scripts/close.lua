-- close: leave a tombstone, which keeps incarnation, epoch and nonce for a time.
-- KEYS 1 room, 2 journal
-- ARGV 1 epoch, 2 nonce, 3 milliseconds to keep the tombstone
local r = redis.call('HMGET', KEYS[1], 'epoch', 'nonce', 'closed', 'blob', 'pblob')
if not r[1] or tonumber(r[1]) < tonumber(ARGV[1]) then return 'MISSING' end
if r[1] ~= ARGV[1] or r[2] ~= ARGV[2] then return 'FENCED' end
if r[3] then return 'OK' end
redis.call('HSET', KEYS[1], 'closed', '1')
redis.call('HDEL', KEYS[1], 'data', 'blob', 'pdata', 'pblob', 'len', 'jbase', 'jlast', 'note', 'noted')
redis.call('UNLINK', KEYS[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if r[4] then redis.call('UNLINK', r[4]) end
if r[5] then redis.call('UNLINK', r[5]) end
return 'OK'
