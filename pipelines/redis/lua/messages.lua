-- A page of unsettled messages in the order in which they were enqueued.
-- ARGV: the order to start above, most messages.
-- Answers {order of the last or '' after the last page, {id, body, attempts, ...}}.

local most = tonumber(ARGV[2])
local page = call('ZRANGE', P .. 'messages', '(' .. ARGV[1], '+inf', 'BYSCORE', 'LIMIT', 0, most, 'WITHSCORES')
local found = {}
for i = 1, #page, 2 do
  local m = call('HMGET', message_of(page[i]), 'body', 'attempts')
  for _, value in ipairs({ page[i], m[1], m[2] }) do found[#found + 1] = value end
end
return { #page == 2 * most and page[#page] or '', found }
