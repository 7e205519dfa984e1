-- hold: put a claim that stands under a later lease of the same process.
-- KEYS 1 room
-- ARGV 1 epoch, 2 nonce, 3 process, 4 count of the lease
local r = redis.call('HMGET', KEYS[1], 'epoch', 'nonce', 'closed', 'holder')
if not r[1] or tonumber(r[1]) < tonumber(ARGV[1]) then return 'MISSING' end
if r[1] ~= ARGV[1] or r[2] ~= ARGV[2] or r[3] then return 'FENCED' end
local process, count = string.match(r[4] or '', '^(.+)/(%d+)$')
if process ~= ARGV[3] then return 'FENCED' end
if tonumber(count) < tonumber(ARGV[4]) then
	redis.call('HSET', KEYS[1], 'holder', ARGV[3] .. '/' .. ARGV[4])
end
return 'OK'
