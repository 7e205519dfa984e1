-- save: store a checkpoint under a claim, in the room's hash or as a pointer to
-- the value that was set just before beside it. The one that stood before is
-- kept as pdata or pblob.
-- KEYS 1 room, 2 journal, 3 blob (big checkpoints only)
-- ARGV 1 epoch, 2 nonce, 3 seq, 4 length, 5 journal entry that it covers,
--      6 data (small checkpoints only)
-- Answers with the word's number.
local OK, MISSING, FENCED, NOBLOB = 1, 2, 3, 4
local r = redis.call('HMGET', KEYS[1], 'epoch', 'nonce', 'seq', 'closed', 'blob', 'jbase', 'jlast', 'data', 'pblob')
local blob, current, previous = KEYS[3], r[5], r[9]

-- A refused blob goes, unless a late repetition brings one that stands: the
-- room may have been claimed anew and still point to it.
local function refuse(word)
	if blob and blob ~= current and blob ~= previous then redis.call('UNLINK', blob) end
	return word
end

if not r[1] or tonumber(r[1]) < tonumber(ARGV[1]) then return refuse(MISSING) end
if r[1] ~= ARGV[1] or r[2] ~= ARGV[2] or r[4] then return refuse(FENCED) end
if tonumber(ARGV[3]) <= tonumber(r[3]) then return refuse(OK) end

if blob and redis.call('EXISTS', blob) == 0 then return NOBLOB end
-- One write for all, so that a Redis out of memory refuses all or nothing.
local set, gone = {'seq', ARGV[3], 'len', ARGV[4]}, {}
local function put(field, value)
	if value then
		set[#set + 1] = field
		set[#set + 1] = value
	else
		gone[#gone + 1] = field
	end
end
put('blob', blob)
put('data', not blob and ARGV[6])
put('pblob', current)
put('pdata', not current and r[8])
redis.call('HSET', KEYS[1], unpack(set))
redis.call('HDEL', KEYS[1], unpack(gone))
if blob then redis.call('PERSIST', blob) end
if previous and previous ~= current and previous ~= blob then redis.call('UNLINK', previous) end
-- What the checkpoint covers leaves the journal, entries that never came too.
local base, last = tonumber(r[6] or '0'), tonumber(r[7] or r[6] or '0')
local covered = tonumber(ARGV[5])
if covered > base then
	redis.call('HSET', KEYS[1], 'jbase', ARGV[5])
	if covered >= last then
		redis.call('HSET', KEYS[1], 'jlast', ARGV[5])
		redis.call('UNLINK', KEYS[2])
	else
		redis.call('LTRIM', KEYS[2], string.format('%.0f', covered - base), -1)
	end
end
return OK
