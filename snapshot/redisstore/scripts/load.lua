-- load: read a room and its checkpoint at one moment.
-- KEYS 1 room
local r = redis.call('HMGET', KEYS[1], 'inc', 'epoch', 'nonce', 'holder', 'closed', 'data', 'blob')
if not r[2] then return {'NOROOM'} end
local data, blob = r[6], r[7]
if blob then
	data = redis.call('GET', blob)
	if not data then return {'LOST', r[1], r[2], r[3], r[4], '0', false} end
end
return {'OK', r[1], r[2], r[3], r[4], r[5] and '1' or '0', data}
