-- Gives up a place, taken or only wanted, and notes what GitHub said about its limits.
--
-- KEYS: the prefix of the installation's keys
-- ARGV: now, place, purpose, gap, resource, left, limit, reset, succeeded, limited, pause,
--       first penalty, longest penalty
-- Times are whole microseconds; an empty now is the server's. Left, limit and reset (from now) are
-- empty if the answer did not tell; pause (from now) is empty if GitHub did not say for how long.
-- Returns for how many microseconds the installation is paused.

local lane, flight, waiting, expiries =
  P .. 'lane', P .. 'flight', P .. 'waiting', P .. 'expiries'
local SECOND, KEPT, MOST_STRIKES = 1000000, 25 * 3600, 10

local now = tonumber(ARGV[1])
if not now then
  local server = call('TIME')
  now = server[1] * SECOND + server[2]
end
local place, gap, resource = ARGV[2], tonumber(ARGV[4]), ARGV[5]
local left, limit, reset = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])

local function whole(number) return string.format('%.0f', number) end

if place ~= '' then
  call('ZREM', flight, place)
  call('ZREM', waiting, place .. ' ' .. ARGV[3])
  call('ZREM', expiries, place .. ' ' .. ARGV[3])
  if call('HGET', lane, 'writer') == place then
    call('HSET', lane, 'writer', '', 'next', whole(now + gap))
  end
end

if left then
  -- What is under way may not have been counted by GitHub yet.
  left = left - call('ZCARD', flight)
  call(
    'HSET', lane, 'left ' .. resource, whole(left), 'limit ' .. resource, whole(limit),
    'reset ' .. resource, whole(now + reset))
end

if ARGV[9] == '1' then call('HDEL', lane, 'strikes') end

local paused = tonumber(call('HGET', lane, 'paused') or 0)
if ARGV[10] == '1' then
  local strikes = tonumber(call('HGET', lane, 'strikes') or 0)
  local pause = tonumber(ARGV[11])
    or math.min(tonumber(ARGV[12]) * 2 ^ strikes, tonumber(ARGV[13]))
  paused = math.max(paused, now + pause)
  call(
    'HSET', lane, 'strikes', math.min(strikes + 1, MOST_STRIKES), 'paused', whole(paused))
end
call('EXPIRE', lane, KEPT)
return math.max(0, math.ceil(paused - now))
