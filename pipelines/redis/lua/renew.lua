-- Extend a lease that its holder still has.
-- ARGV: now, message id, token, number, consumer, milliseconds from now. Answers ok or lost.

local now = time(ARGV[1])
local m = load_message(ARGV[2])
local consumer = ARGV[5]
if not is_held(m, ARGV[3], ARGV[4], now) then return 'lost' end
-- XCLAIM takes an entry from whoever has it, so ask first who that is.
local stream = stream_of(m.shelf)
if #call('XPENDING', stream, GROUP, m.entry, m.entry, 1, consumer) == 0 then return 'lost' end
call('XCLAIM', stream, GROUP, consumer, 0, m.entry, 'JUSTID')
local ends = now + ARGV[6]
call('HSET', message_of(m.id), 'until', ends)
call('ZADD', held_of(m.shelf), ends, m.id)
return 'ok'
