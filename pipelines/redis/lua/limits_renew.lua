-- Keeps a place for another while; one that ran out and was given away stays with who has it now.
--
-- KEYS: the prefix of the installation's keys
-- ARGV: now, place, for how long
-- Times are whole microseconds; an empty now is the server's.

local now = tonumber(ARGV[1])
if not now then
  local server = call('TIME')
  now = server[1] * 1000000 + server[2]
end
call('ZADD', P .. 'flight', 'XX', string.format('%.0f', now + ARGV[3]), ARGV[2])
