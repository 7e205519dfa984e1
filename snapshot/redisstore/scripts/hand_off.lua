-- hand off: pass a claim to another holder, with a checkpoint or without.
-- KEYS 1 room, 2 journal, 3 blob (big checkpoints only)
-- ARGV 1 epoch, 2 nonce, 3 next holder, 4 next nonce, 5 seq or 0, 6 length,
--      7 journal entry that the checkpoint covers, 8 data (small checkpoints only)
local r = redis.call('HMGET', KEYS[1], 'inc', 'epoch', 'nonce', 'holder', 'closed', 'blob', 'jbase', 'jlast', 'data', 'pblob')
local inc, epoch, nonce, holder, closed, current = r[1], r[2], r[3], r[4], r[5], r[6]
local blob, seq, previous = KEYS[3], ARGV[5], r[10]

local function answer(word, e)
	if blob and blob ~= current and blob ~= previous then redis.call('UNLINK', blob) end
	return {word, inc or '0', e or '0'}
end

if not epoch or tonumber(epoch) < tonumber(ARGV[1]) then return answer('MISSING') end
if closed then return answer('FENCED') end
-- The same again: its first answer was lost.
if nonce == ARGV[4] and holder == ARGV[3] then return answer('OK', epoch) end
if epoch ~= ARGV[1] or nonce ~= ARGV[2] then return answer('FENCED') end
if blob and redis.call('EXISTS', blob) == 0 then return {'NOBLOB'} end

local t = redis.call('TIME')
local ms = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local raised = string.format('%.0f', math.max(tonumber(epoch), ms) + 1)
-- One write for all, so that a Redis out of memory refuses all or nothing.
local set = {'epoch', raised, 'nonce', ARGV[4], 'created', '0', 'holder', ARGV[3], 'seq', seq}
local function also(k, v)
	set[#set + 1] = k
	set[#set + 1] = v
end
if seq ~= '0' then
	also('len', ARGV[6])
	-- What stood before is kept, as by save.
	if current then also('pblob', current) elseif r[9] then also('pdata', r[9]) end
	if blob then also('blob', blob) else also('data', ARGV[8]) end
end
-- What the checkpoint covers leaves the journal, as by save.
local base, last = tonumber(r[7] or '0'), tonumber(r[8] or r[7] or '0')
local covered = seq ~= '0' and tonumber(ARGV[7]) or 0
if covered > base then
	also('jbase', ARGV[7])
	if covered >= last then also('jlast', ARGV[7]) end
end
redis.call('HSET', KEYS[1], unpack(set))
if covered > base and covered >= last then
	redis.call('UNLINK', KEYS[2])
elseif covered > base then
	redis.call('LTRIM', KEYS[2], string.format('%.0f', covered - base), -1)
end
if seq ~= '0' then
	redis.call('HDEL', KEYS[1], blob and 'data' or 'blob', current and 'pdata' or 'pblob')
	if blob then redis.call('PERSIST', blob) end
	if previous and previous ~= current and previous ~= blob then redis.call('UNLINK', previous) end
end
return {'OK', inc, raised}
