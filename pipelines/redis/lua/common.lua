-- What the scripts share: the keys, the time, and where a message is. Prepended to each of them.
-- Every key starts with KEYS[1], which holds the hash tag, so all of them are in one slot.
-- A script checks everything before its first write: an error in between would leave half of it.

local P = KEYS[1]
local call = redis.call
local GROUP = 'workers'
local SPAN = 281474976710656 -- 2^48: orders below it and ten priorities fit into a double

-- Milliseconds since 1970: the server's own, as machines differ, unless a test gives them.
local function time(given)
  if given ~= '' then return tonumber(given) end
  local now = call('TIME')
  return now[1] * 1000 + math.floor(now[2] / 1000)
end

-- A shelf is a queue's messages of one schema version: VERSION:QUEUE.
local function queue_of(shelf) return string.sub(shelf, string.find(shelf, ':', 1, true) + 1) end
local function owner_of(tenant) return string.match(tenant, '^[^/]*') end
local function within(kind, shelf, name) return P .. kind .. #shelf .. ':' .. shelf .. ':' .. name end

local function lane_of(shelf, tenant) return within('lane:', shelf, tenant) end
local function tenants_of(shelf, owner) return within('tenants:', shelf, owner) end
local function ring_of(shelf) return P .. 'ring:' .. shelf end
local function delayed_of(shelf) return P .. 'delayed:' .. shelf end
local function held_of(shelf) return P .. 'held:' .. shelf end
local function counts_of(shelf) return P .. 'leased:' .. shelf end
-- Shelves with work that was passed by until something of this one is given up.
local function waited_for(shelf) return P .. 'waited-for:' .. shelf end
local function stream_of(shelf) return P .. 'stream:' .. shelf end
local function message_of(id) return P .. 'message:' .. id end

local bells = {}
local function ring_bell(shelf)
  local queue = queue_of(shelf)
  bells[queue] = (bells[queue] or 0) + 1
end

-- Tell every process how many messages of which queues can be claimed.
local function publish_bells()
  if next(bells) then call('PUBLISH', P .. 'bell', cjson.encode(bells)) end
end

local function count(key, field, by)
  if call('HINCRBY', key, field, by) == 0 then call('HDEL', key, field) end
end

-- state: r(eady), d(elayed) or h(eld); reminder: the body of what follows once it is settled
local FIELDS = { 'shelf', 'tenant', 'priority', 'order', 'number', 'attempts', 'due', 'state',
  'until', 'entry', 'consumer', 'body', 'reminder' }

local function load_message(id)
  local found = call('HMGET', message_of(id), unpack(FIELDS))
  if not found[1] then return nil end
  local m = { id = id }
  for i, name in ipairs(FIELDS) do m[name] = found[i] end
  return m
end

-- The ring has each installation by the earliest turn of its tenants.
local function mend_ring(shelf, owner)
  local first = call('ZRANGE', tenants_of(shelf, owner), 0, 0, 'WITHSCORES')
  if first[1] then
    call('ZADD', ring_of(shelf), first[2], owner)
  else
    call('ZREM', ring_of(shelf), owner)
  end
end

local function next_turn() return call('HINCRBY', P .. 'counters', 'turn', 1) end

local function make_ready(m)
  call('HSET', message_of(m.id), 'state', 'r')
  local lane = lane_of(m.shelf, m.tenant)
  call('ZADD', lane, m.priority * SPAN + m.order, m.id)
  if call('ZCARD', lane) == 1 then
    local turn, owner = next_turn(), owner_of(m.tenant)
    call('ZADD', tenants_of(m.shelf, owner), turn, m.tenant)
    call('ZADD', ring_of(m.shelf), 'NX', turn, owner)
  end
end

-- Answers whether the lane has others.
local function leave_lane(m)
  local lane, owner = lane_of(m.shelf, m.tenant), owner_of(m.tenant)
  call('ZREM', lane, m.id)
  if call('EXISTS', lane) == 1 then return true end
  call('ZREM', tenants_of(m.shelf, owner), m.tenant)
  mend_ring(m.shelf, owner)
  return false
end

-- Make the message claimable as soon as it is due.
local function place(m, now)
  if m.due and m.due ~= '' and tonumber(m.due) > now then
    call('HSET', message_of(m.id), 'state', 'd')
    call('ZADD', delayed_of(m.shelf), m.due, m.id)
    -- Whoever waits has set its alarm for another message.
    if call('ZRANK', delayed_of(m.shelf), m.id) == 0 then ring_bell(m.shelf) end
  else
    make_ready(m)
    ring_bell(m.shelf)
  end
end

local function is_held(m, token, number, now)
  return m and m.state == 'h' and m.attempts == token and m.number == number
    and tonumber(m['until']) > now
end

-- Take the message off the ledger of its holder.
local function unhold(m)
  call('XACK', stream_of(m.shelf), GROUP, m.entry)
  call('XDEL', stream_of(m.shelf), m.entry)
  call('ZREM', held_of(m.shelf), m.id)
  count(counts_of(m.shelf), 't' .. m.tenant, -1)
  count(counts_of(m.shelf), 'i' .. owner_of(m.tenant), -1)
  local waiting = call('SMEMBERS', waited_for(m.shelf))
  if waiting[1] then
    for _, shelf in ipairs(waiting) do ring_bell(shelf) end
    call('DEL', waited_for(m.shelf))
  end
end

-- Take the message from wherever it is.
local function withdraw(m)
  if m.state == 'h' then
    unhold(m)
  elseif m.state == 'd' then
    call('ZREM', delayed_of(m.shelf), m.id)
  else
    leave_lane(m)
  end
end
