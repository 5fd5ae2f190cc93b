-- Lets one request of an installation through to GitHub, or says how long it has to wait and why.
--
-- KEYS: the prefix of the installation's keys
-- ARGV: now, place, purpose, resource, write, content, urgent, waited, concurrency, gap, points a
--       minute, content a minute, content an hour, reserve, patience, head start, how long a place
--       lasts
-- Times are whole microseconds, which a double holds exactly and which keep a gap of a second from
-- being rounded to less; an empty now is the server's time.
-- Returns go, wait or park; microseconds; the reason.

local lane = P .. 'lane'
local flight = P .. 'flight' -- places that are taken, by when they run out
local points, minute, hour = P .. 'points', P .. 'minute', P .. 'hour' -- spent, the oldest first
local waiting, parked = P .. 'waiting', P .. 'parked' -- turns to write, by order
local expiries = P .. 'expiries' -- of turns
local SECOND = 1000000
local MINUTE, HOUR = 60 * SECOND, 3600 * SECOND
local LINE, TURN = 5 * SECOND, 60 * SECOND
local LONGEST_LINE, CROWDED, SLOWNESS, SHORTEST_PARK = 500, SECOND / 4, 1.25, SECOND
local KEPT = 25 * 3600

local now = tonumber(ARGV[1])
if not now then
  local server = call('TIME')
  now = server[1] * SECOND + server[2]
end
local place, purpose, resource = ARGV[2], ARGV[3], ARGV[4]
local write, content, urgent = ARGV[5] == '1', ARGV[6] == '1', ARGV[7] == '1'
local waited, concurrency, gap = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local points_allowed, minute_allowed = tonumber(ARGV[11]), tonumber(ARGV[12])
local hour_allowed, reserve = tonumber(ARGV[13]), tonumber(ARGV[14])
local patience, head_start, lasts = tonumber(ARGV[15]), tonumber(ARGV[16]), tonumber(ARGV[17])
local cost = write and 5 or 1
local mine = place .. ' ' .. purpose

local function whole(number) return string.format('%.0f', number) end

-- Frees the places of those who died, as if they had ended when their places ran out.
local function forget()
  for _, dead in ipairs(call('ZRANGEBYSCORE', flight, '-inf', whole(now))) do
    if call('HGET', lane, 'writer') == dead then
      local ended = tonumber(call('ZSCORE', flight, dead))
      call('HSET', lane, 'writer', '', 'next', whole(ended + gap))
    end
    call('ZREM', flight, dead)
  end
  for _, dead in ipairs(call('ZRANGEBYSCORE', expiries, '-inf', whole(now))) do
    call('ZREM', waiting, dead)
    call('ZREM', parked, dead)
    call('ZREM', expiries, dead)
  end
end

-- How long GitHub's own limits last, which no short waiting changes.
local function stop()
  local told = call(
    'HMGET', lane, 'paused', 'left ' .. resource, 'limit ' .. resource, 'reset ' .. resource)
  local paused, left, limit, reset =
    tonumber(told[1] or 0), tonumber(told[2] or 1), tonumber(told[3] or 0), tonumber(told[4] or 0)
  if paused > now then return paused - now, 'PAUSE' end
  if reset > now and left <= math.min(reserve, math.floor(limit / 20)) then
    return reset - now, 'RESERVE'
  end
  return 0, ''
end

-- How long until so much fits into a window; its entries are "microseconds cost".
local function window(key, name, length, price, allowed)
  local total = tonumber(call('HGET', lane, name) or 0)
  local before, oldest = total, call('LINDEX', key, 0)
  while oldest do
    local at, spent = string.match(oldest, '(%d+) (%d+)')
    if at + length > now then break end
    call('LPOP', key)
    total, oldest = total - spent, call('LINDEX', key, 0)
  end
  if not oldest then total = 0 end
  if total ~= before then call('HSET', lane, name, total) end
  local over = total + price - allowed
  if over <= 0 then return 0 end
  for _, entry in ipairs(call('LRANGE', key, 0, -1)) do
    local at, spent = string.match(entry, '(%d+) (%d+)')
    over = over - spent
    if over <= 0 then return at + length - now end
  end
  return 0
end

local function spend(key, name, length, price)
  call('RPUSH', key, whole(now) .. ' ' .. price)
  call('HINCRBY', lane, name, price)
  call('EXPIRE', key, length / SECOND + 60)
end

-- How long until there is room for the request, and what fills it until then.
local function room()
  local wait = window(points, 'points', MINUTE, cost, points_allowed)
  if content then
    wait = math.max(
      wait, window(minute, 'minute', MINUTE, 1, minute_allowed),
      window(hour, 'hour', HOUR, 1, hour_allowed))
  end
  if wait <= 0 and call('ZCARD', flight) >= concurrency then return CROWDED, 'FLIGHT' end
  return wait, 'BUDGET'
end

local function enter()
  spend(points, 'points', MINUTE, cost)
  if content then
    spend(minute, 'minute', MINUTE, 1)
    spend(hour, 'hour', HOUR, 1)
  end
  if call('HEXISTS', lane, 'left ' .. resource) == 1 then
    call('HINCRBY', lane, 'left ' .. resource, -1)
  end
  call('ZADD', flight, whole(now + lasts), place)
  call('EXPIRE', flight, KEPT)
  if write then call('HSET', lane, 'writer', place) end
  call('EXPIRE', lane, KEPT)
  return {'go', 0, ''}
end

local function taken(line, order)
  return call('ZCOUNT', line, whole(order), whole(order)) > 0
end

-- Takes the caller's turn out of the line, its own, its parked one or a new one; returns its order.
local function turn()
  local order, found = call('ZSCORE', waiting, mine), mine
  if not order then
    for _, member in ipairs(call('ZRANGE', parked, 0, -1)) do
      if string.sub(member, string.find(member, ' ', 1, true) + 1) == purpose then
        order, found = call('ZSCORE', parked, member), member
        break
      end
    end
  end
  call('ZREM', waiting, found)
  call('ZREM', parked, found)
  call('ZREM', expiries, found)
  if order then return tonumber(order) end
  order = now + (urgent and 0 or head_start)
  while taken(waiting, order) or taken(parked, order) do order = order + 1 end
  return order
end

local function keep(line, order, expires)
  call('ZADD', line, whole(order), mine)
  call('ZADD', expiries, whole(expires), mine)
  call('EXPIRE', line, KEPT)
  call('EXPIRE', expiries, KEPT)
end

-- Sends a write away until about its turn, which it finds kept for it.
local function park(order, away, reason)
  local length = call('ZCARD', waiting) + call('ZCARD', parked)
  if purpose ~= '' and length < LONGEST_LINE then keep(parked, order, now + away + TURN) end
  return {'park', math.ceil(away), reason}
end

-- Lets a write in if it is its turn; a turn is kept while it waits and while it is parked.
local function queue(stopped, why)
  local order = turn()
  local ahead = call('ZCOUNT', waiting, '-inf', whole(order))
  local before = ahead + call('ZCOUNT', parked, '-inf', whole(order))
  if stopped > 0 then return park(order, stopped + before * gap * SLOWNESS, why) end
  local free
  if (call('HGET', lane, 'writer') or '') ~= '' then
    free = math.max(gap, CROWDED)
  else
    free = math.max(0, tonumber(call('HGET', lane, 'next') or 0) - now)
  end
  local needed, reason = room()
  local wait = math.max(free + ahead * gap, needed)
  if wait <= 0 then return enter() end
  if wait ~= needed then reason = 'TURN' end
  local likely = math.max(free + before * gap, needed)
  if likely <= patience and waited + wait <= 2 * patience then
    keep(waiting, order, now + wait + LINE)
    return {'wait', math.ceil(wait), reason}
  end
  local away = math.max(free, needed) + before * gap * SLOWNESS
  return park(order, math.max(away, SHORTEST_PARK), reason)
end

forget()
if call('ZSCORE', flight, place) then return {'go', 0, ''} end
local stopped, why = stop()
if write then return queue(stopped, why) end
if stopped > 0 then return {'park', math.ceil(stopped), why} end
local wait, reason = room()
if wait <= 0 then return enter() end
if waited + wait <= patience then return {'wait', math.ceil(wait), reason} end
return {'park', math.ceil(math.max(wait, SHORTEST_PARK)), reason}
