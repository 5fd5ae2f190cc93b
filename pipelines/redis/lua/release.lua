-- Give a leased message back, claimable after a delay.
-- ARGV: now, '1' if this is sent again, message id, token, number, milliseconds of the delay.
-- Answers ok or lost.

local now = time(ARGV[1])
local m = load_message(ARGV[3])
if not is_held(m, ARGV[4], ARGV[5], now) then
  -- Lost by an earlier copy of this release, as far as anybody can tell: it is not held any more.
  return ARGV[2] == '1' and 'ok' or 'lost'
end
unhold(m)
call('HDEL', message_of(m.id), 'until', 'entry', 'consumer', 'reminder')
m.due = string.format('%.0f', now + ARGV[6])
call('HSET', message_of(m.id), 'due', m.due)
place(m, now)
publish_bells()
return 'ok'
