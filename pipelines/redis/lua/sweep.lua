-- Delete records that have expired. ARGV: now, most records. Answers how many that was.

local keys = call('ZRANGE', P .. 'expiry', '-inf', time(ARGV[1]), 'BYSCORE', 'LIMIT', 0, ARGV[2])
for _, key in ipairs(keys) do
  call('DEL', P .. 'record:' .. key)
  call('ZREM', P .. 'records', key)
  call('ZREM', P .. 'expiry', key)
end
return #keys
