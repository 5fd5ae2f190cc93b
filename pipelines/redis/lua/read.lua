-- ARGV: now, then keys of records. Answers value and version of each, or two nils' worth of false.

local now = time(ARGV[1])
local found = {}
for i = 2, #ARGV do
  local record = call('HMGET', P .. 'record:' .. ARGV[i], 'value', 'version', 'expires')
  local live = record[1] and not (record[3] and tonumber(record[3]) <= now)
  found[#found + 1] = live and record[1] or false
  found[#found + 1] = live and record[2] or false
end
return found
