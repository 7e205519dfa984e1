-- mend: set aside a checkpoint that can't be read, or a journal from one entry
-- on, and give what is left.
-- KEYS 1 room, 2 journal, 3 what is set aside
-- ARGV 1 epoch, 2 nonce, 3 first bad entry or 0, 4 milliseconds to keep it
local r = redis.call('HMGET', KEYS[1], 'epoch', 'nonce', 'closed', 'data', 'blob', 'pdata', 'pblob', 'jbase',
	'jlast', 'mended')
if not r[1] or tonumber(r[1]) < tonumber(ARGV[1]) then return {'MISSING'} end
if r[1] ~= ARGV[1] or r[2] ~= ARGV[2] or r[3] then return {'FENCED'} end
local data, blob, pdata, pblob = r[4], r[5], r[6], r[7]
local base, last = r[8] or '0', r[9] or r[8] or '0'
local entry = tonumber(ARGV[3])

local function keep(field, value)
	redis.call('HSET', KEYS[3], field, value)
	redis.call('PEXPIRE', KEYS[3], ARGV[4])
end

if entry == 0 and r[10] ~= ARGV[1] then
	if not pdata and not pblob then return {'MISSING'} end
	keep('checkpoint', blob and (redis.call('GET', blob) or '') or data or '')
	local set = {'mended', ARGV[1], 'jbase', last, 'jlast', last}
	set[7], set[8] = pblob and 'blob' or 'data', pblob or pdata
	redis.call('HSET', KEYS[1], unpack(set))
	redis.call('HDEL', KEYS[1], 'pdata', 'pblob', pblob and 'data' or 'blob')
	redis.call('UNLINK', KEYS[2])
	if blob then redis.call('UNLINK', blob) end
	data, blob, base = not pblob and pdata, pblob, last
elseif entry > tonumber(base) and entry <= tonumber(last) then
	local n = entry - 1 - tonumber(base)
	keep('journal from ' .. ARGV[3], cjson.encode(redis.call('LRANGE', KEYS[2], n, -1)))
	last = string.format('%.0f', entry - 1)
	redis.call('HSET', KEYS[1], 'jlast', last)
	if n == 0 then redis.call('UNLINK', KEYS[2]) else redis.call('LTRIM', KEYS[2], 0, n - 1) end
end

if blob then data = redis.call('GET', blob) end
local entries = {}
if last ~= base then entries = redis.call('LRANGE', KEYS[2], 0, -1) end
if (blob and not data) or #entries ~= tonumber(last) - tonumber(base) then return {'MISSING'} end
return {'OK', base, entries, data or false}
