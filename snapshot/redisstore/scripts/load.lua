-- load: read a room and its checkpoint at one moment.
-- KEYS 1 room, 2 journal
local r = redis.call('HMGET', KEYS[1], 'inc', 'epoch', 'nonce', 'holder', 'closed', 'data', 'blob', 'jbase', 'jlast', 'note', 'owed')
if not r[2] then return {'NOROOM'} end
local data, blob = r[6], r[7]
if blob then
	data = redis.call('GET', blob)
	if not data then return {'LOST', r[1], r[2], r[3], r[4], '0', '0', {}, '', false} end
end
local base, last, entries = r[8] or '0', r[9] or r[8] or '0', {}
if last ~= base then entries = redis.call('LRANGE', KEYS[2], 0, -1) end
local owed = r[11] == '1' and last == '0' and not data and not r[5] -- see claim
if owed or #entries ~= tonumber(last) - tonumber(base) then
	return {'LOST', r[1], r[2], r[3], r[4], '0', '0', {}, '', false}
end
return {'OK', r[1], r[2], r[3], r[4], r[5] and '1' or '0', base, entries, r[10] or '', data}
