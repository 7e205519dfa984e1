-- beat: count a process's beat, and draw the store's mark where there is none.
-- KEYS 1 mark, 2 the process's beat
-- ARGV 1 mark to draw, 2 number of the beat, 3 milliseconds to remember it
local mark, last = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2]) or '0'
if not mark then
	mark = ARGV[1]
	redis.call('SET', KEYS[1], mark)
end
if tonumber(last) < tonumber(ARGV[2]) then redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3]) end
return mark .. ' ' .. last
