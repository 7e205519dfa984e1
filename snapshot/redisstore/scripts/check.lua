-- check: does a claim stand?
-- KEYS 1 room
-- ARGV 1 epoch, 2 nonce
local r = redis.call('HMGET', KEYS[1], 'epoch', 'nonce', 'closed')
if not r[1] or tonumber(r[1]) < tonumber(ARGV[1]) then return 'MISSING' end
if r[1] ~= ARGV[1] or r[2] ~= ARGV[2] or r[3] then return 'FENCED' end
return 'OK'
