-- A page of live records under a prefix in key order.
-- ARGV: now, prefix, the key to start above, most keys to look at, most bytes to answer.
-- Answers {last key looked at or '' after the last page, {key, value, version, ...}}.

local now = time(ARGV[1])
local prefix, after, most, room = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local from = after < prefix and '[' .. prefix or '(' .. after
local keys = call('ZRANGE', P .. 'records', from, '(' .. prefix .. '\127', 'BYLEX', 'LIMIT', 0, most)
local found = {}
for _, key in ipairs(keys) do
  local record = call('HMGET', P .. 'record:' .. key, 'value', 'version', 'expires')
  if record[1] and not (record[3] and tonumber(record[3]) <= now) then
    for _, value in ipairs({ key, record[1], record[2] }) do found[#found + 1] = value end
    room = room - #record[1]
    if room <= 0 then return { key, found } end
  end
end
return { #keys == most and keys[#keys] or '', found }
