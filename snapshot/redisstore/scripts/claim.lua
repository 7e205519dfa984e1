-- claim: take a room.
-- KEYS 1 room, 2 journal
-- ARGV 1 holder, 2 nonce, 3 mode (join|create|either), 4 floor,
--      5 incarnation of a live copy or 0, 6 nonce whose holder is known to have
--      ended or "", 7.. holders known to have ended
local r = redis.call('HMGET', KEYS[1], 'inc', 'epoch', 'nonce', 'created', 'holder', 'closed', 'data', 'blob',
	'jbase', 'jlast', 'pblob', 'note', 'owed')
local inc, epoch = tonumber(r[1] or '0'), tonumber(r[2] or '0')
local held, owner, closed, data, blob = r[3], r[5], r[6], r[7], r[8]
local note = r[12] or ''
local holder, nonce, mode, floor = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local wanted = tonumber(ARGV[5])
local open = epoch > 0 and not closed

local function number(n) return string.format('%.0f', n) end
local base, last, entries = r[9] or '0', r[10] or r[9] or '0', {}
local function take(created)
	return {'OK', number(inc), number(epoch), created and '1' or '0', base, entries, note, data or false}
end
local function fetch()
	if blob then data = redis.call('GET', blob) end
	if last ~= base then entries = redis.call('LRANGE', KEYS[2], 0, -1) end
	return (data or not blob) and #entries == tonumber(last) - tonumber(base)
end

-- The same claim again: its first answer was lost.
if held == nonce and owner == holder then
	if closed then return {'NOROOM'} end
	if not fetch() and wanted == 0 then return {'LOST'} end
	return take(r[4] == '1')
end

-- A live copy claimed it again after the store had lost it, and ended before it
-- could save: there is a record, and no state. Only to create it is an answer.
local owed = r[13] == '1' and wanted == 0 and last == '0' and not data and not blob

-- A room that was seen and has left no record is lost, not new.
if epoch == 0 and floor > 0 and wanted == 0 and mode ~= 'create' then return {'LOST'} end

local fresh
if wanted > 0 then
	if inc > wanted or (inc == wanted and closed) then return {'NOROOM'} end
	fresh = inc < wanted
else
	fresh = not open or owed and mode == 'create'
	if not fresh and mode == 'create' then return {'EXISTS'} end
	if fresh and mode == 'join' then return {'NOROOM'} end
end

if open and owner ~= holder and held ~= ARGV[6] then
	local ended = false
	for i = 7, #ARGV do ended = ended or owner == ARGV[i] end
	if not ended then return {'HELD', owner, number(epoch), held} end
end

if not fresh and (owed or not fetch() and wanted == 0) then return {'LOST'} end

local t = redis.call('TIME')
local ms = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
epoch = math.max(epoch, floor, ms) + 1
-- The first write is the one that an out-of-memory Redis refuses: nothing is
-- half done then.
if not fresh then
	redis.call('HSET', KEYS[1], 'epoch', number(epoch), 'nonce', nonce, 'created', '0',
		'holder', holder, 'seq', '0')
	return take(false)
end
inc = wanted > 0 and wanted or epoch
redis.call('HSET', KEYS[1], 'inc', number(inc), 'epoch', number(epoch), 'nonce', nonce, 'created', '1',
	'holder', holder, 'seq', '0', 'owed', wanted > 0 and '1' or '0')
redis.call('HDEL', KEYS[1], 'closed', 'data', 'blob', 'pdata', 'pblob', 'len', 'jbase', 'jlast', 'note', 'noted')
redis.call('PERSIST', KEYS[1])
redis.call('UNLINK', KEYS[2])
if blob then redis.call('UNLINK', blob) end
if r[11] then redis.call('UNLINK', r[11]) end
data, base, entries, note = false, '0', {}, ''
return take(true)
