-- ARGV: log, the number to start above, most items. Answers {number, item, ...}.

local found = {}
for _, entry in ipairs(call('XRANGE', P .. 'log:' .. ARGV[1], '(' .. ARGV[2] .. '-0', '+', 'COUNT', ARGV[3])) do
  found[#found + 1] = tonumber(string.match(entry[1], '^%d+'))
  found[#found + 1] = entry[2][2]
end
return found
