-- note: put a note to a room under a claim.
-- KEYS 1 room
-- ARGV 1 epoch, 2 nonce, 3 number of the note, 4 note
local r = redis.call('HMGET', KEYS[1], 'epoch', 'nonce', 'closed', 'noted')
if not r[1] or tonumber(r[1]) < tonumber(ARGV[1]) then return 'MISSING' end
if r[1] ~= ARGV[1] or r[2] ~= ARGV[2] or r[3] then return 'FENCED' end
if tonumber(r[4] or '0') < tonumber(ARGV[3]) then
	redis.call('HSET', KEYS[1], 'noted', ARGV[3], 'note', ARGV[4])
end
return 'OK'
