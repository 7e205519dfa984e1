-- append: add entries to a room's journal under a claim.
-- KEYS 1 room, 2 journal
-- ARGV 1 epoch, 2 nonce, 3 number of the first entry, 4 entries that a journal
--      may have, 5.. entries
local r = redis.call('HMGET', KEYS[1], 'epoch', 'nonce', 'closed', 'jbase', 'jlast')
if not r[1] or tonumber(r[1]) < tonumber(ARGV[1]) then return 'MISSING' end
if r[1] ~= ARGV[1] or r[2] ~= ARGV[2] or r[3] then return 'FENCED' end

local base, last = tonumber(r[4] or '0'), tonumber(r[5] or r[4] or '0')
local first, n = tonumber(ARGV[3]), #ARGV - 4
-- A list that is shorter than the hash says was lost: a checkpoint mends that.
if first > last + 1 or redis.call('LLEN', KEYS[2]) ~= last - base then return 'GAP' end
local skip = last + 1 - first
if skip >= n then return 'OK' end
if last - base + n - skip > tonumber(ARGV[4]) then return 'FULL' end
-- The first write is the one that an out-of-memory Redis refuses. RPUSH takes
-- as many values as Lua can unpack.
for from = 5 + skip, #ARGV, 1000 do
	redis.call('RPUSH', KEYS[2], unpack(ARGV, from, math.min(from + 999, #ARGV)))
end
redis.call('HSET', KEYS[1], 'jlast', string.format('%.0f', first + n - 1))
return 'OK'
