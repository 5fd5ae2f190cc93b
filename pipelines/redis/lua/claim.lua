-- Lease the next messages of some shelves to a consumer.
-- ARGV: now, '1' if this is sent again, the claim's id, the consumer, milliseconds of the lease,
-- the most messages, the most leased at once of one tenant and of one installation ('' for no
-- cap), then the shelves.
-- Answers {now, whether more may be claimed, {time of the next change or '' by shelf},
-- {body, attempts, number, ...}}.

local now = time(ARGV[1])
local again, claim, consumer = ARGV[2] == '1', ARGV[3], ARGV[4]
local ends, limit = now + ARGV[5], tonumber(ARGV[6])
local caps = { t = tonumber(ARGV[7]), i = tonumber(ARGV[8]) }
local shelves = { unpack(ARGV, 9) }
local PAGE = 500

local leases = {}
-- By shelf: when its next message comes due or its next lease runs out.
local changes = {}
local function changes_at(shelf, score)
  score = tonumber(score)
  if score and (changes[shelf] == nil or score < changes[shelf]) then changes[shelf] = score end
end

local function answer(more)
  local times = {}
  for i, shelf in ipairs(shelves) do times[i] = changes[shelf] or '' end
  publish_bells()
  return { now, more and 1 or 0, times, leases }
end

local function lease_out(m)
  for _, value in ipairs({ m.body, m.attempts, m.number }) do leases[#leases + 1] = value end
end

-- The answer to an earlier copy of this claim was lost on its way: what it leased is on the ledger.
if again then
  for _, shelf in ipairs(shelves) do
    local found = redis.pcall('XREADGROUP', 'GROUP', GROUP, consumer, 'STREAMS', stream_of(shelf), '0')
    local entries = found and not found.err and found[1][2] or {}
    for _, entry in ipairs(entries) do
      local fields = entry[2]
      local m = fields and fields[4] == claim and load_message(fields[2])
      if m and m.entry == entry[1] and tonumber(m['until']) > now then lease_out(m) end
    end
  end
  if #leases > 0 then return answer(true) end
end

-- Take back what its holder lost, and what has come due.

local function take_back(id)
  local m = load_message(id)
  unhold(m)
  call('HDEL', message_of(id), 'until', 'entry', 'consumer', 'reminder')
  make_ready(m)
  -- A consumer whose last entry was taken from it is dead, or comes back with its next claim.
  if #call('XPENDING', stream_of(m.shelf), GROUP, '-', '+', 1, m.consumer) == 0 then
    call('XGROUP', 'DELCONSUMER', stream_of(m.shelf), GROUP, m.consumer)
  end
end

-- Do this with the members of a sorted set whose time has come, and note the next one's.
local function ripen(shelf, key, act)
  local first = call('ZRANGE', key, 0, 0, 'WITHSCORES')
  if first[1] and tonumber(first[2]) <= now then
    for _, id in ipairs(call('ZRANGE', key, '-inf', now, 'BYSCORE', 'LIMIT', 0, PAGE)) do act(id) end
    first = call('ZRANGE', key, 0, 0, 'WITHSCORES')
  end
  changes_at(shelf, first[2])
end

for _, shelf in ipairs(shelves) do
  ripen(shelf, held_of(shelf), take_back)
  ripen(shelf, delayed_of(shelf), function(id)
    call('ZREM', delayed_of(shelf), id)
    make_ready(load_message(id))
  end)
end

-- Whose turn is it?

local leased = {}
local function has_room(kind, name)
  if not caps[kind] then return true end
  local field = kind .. name
  if not leased[field] then
    leased[field] = 0
    for _, shelf in ipairs(shelves) do
      leased[field] = leased[field] + (call('HGET', counts_of(shelf), field) or 0)
    end
  end
  return leased[field] < caps[kind]
end

-- Visit a sorted set's members in order until ``visit`` says that it has seen enough.
local function walk(key, visit)
  local start, size = 0, 1
  while true do
    local page = call('ZRANGE', key, start, start + size - 1, 'WITHSCORES')
    for i = 1, #page, 2 do
      if visit(page[i], tonumber(page[i + 1])) then return end
    end
    if #page < 2 * size then return end
    start, size = start + size, 16
  end
end

-- The tenant with the earliest turn of those that the caps leave room for. Who has no room holds
-- leases, so what is passed over is bounded by what is in flight, whatever the backlog.
local function next_tenant()
  local tenant, earliest
  for _, shelf in ipairs(shelves) do
    local function pass_by()
      for _, other in ipairs(shelves) do call('SADD', waited_for(other), shelf) end
    end
    walk(ring_of(shelf), function(owner, turn)
      if earliest and turn >= earliest then return true end
      if not has_room('i', owner) then return pass_by() end
      walk(tenants_of(shelf, owner), function(name, its_turn)
        if earliest and its_turn >= earliest then return true end
        if not has_room('t', name) then return pass_by() end
        tenant, earliest = name, its_turn
        return true
      end)
    end)
  end
  return tenant
end

-- Also finds a stream of another type, before anything is changed.
local enrolled = {}
local function enroll(shelf)
  if enrolled[shelf] then return end
  enrolled[shelf] = true
  local group = redis.pcall('XGROUP', 'CREATECONSUMER', stream_of(shelf), GROUP, consumer)
  if type(group) == 'table' and group.err then
    call('XGROUP', 'CREATE', stream_of(shelf), GROUP, '$', 'MKSTREAM')
    call('SADD', P .. 'shelves', shelf)
  end
end

-- The tenant's most urgent message on these shelves; its lanes here go to the end of their rings.
local function take_from(tenant)
  local owner, lanes, best, urgency, from = owner_of(tenant), {}, nil, nil, nil
  for _, shelf in ipairs(shelves) do
    local first = call('ZRANGE', lane_of(shelf, tenant), 0, 0, 'WITHSCORES')
    if first[1] then
      lanes[#lanes + 1] = shelf
      local score = tonumber(first[2])
      if not best or score < urgency then best, urgency, from = first[1], score, shelf end
    end
  end
  enroll(from)
  local m = load_message(best)
  local more = leave_lane(m)
  for _, shelf in ipairs(lanes) do
    if more or shelf ~= from then
      call('ZADD', tenants_of(shelf, owner), next_turn(), tenant)
      mend_ring(shelf, owner)
    end
  end
  return m
end

local handed = {}
local function hand_out(m)
  local owner = owner_of(m.tenant)
  m.attempts = m.attempts + 1
  local entry = call('XADD', stream_of(m.shelf), '*', 'id', m.id, 'claim', claim)
  call('HSET', message_of(m.id), 'attempts', m.attempts, 'state', 'h', 'until', ends,
    'entry', entry, 'consumer', consumer, 'due', '')
  call('ZADD', held_of(m.shelf), ends, m.id)
  changes_at(m.shelf, ends)
  for _, field in ipairs({ 't' .. m.tenant, 'i' .. owner }) do
    count(counts_of(m.shelf), field, 1)
    if leased[field] then leased[field] = leased[field] + 1 end
  end
  handed[m.shelf] = (handed[m.shelf] or 0) + 1
  lease_out(m)
end

local more = false
while limit > 0 do
  local tenant = next_tenant()
  if not tenant then break end
  hand_out(take_from(tenant))
  limit = limit - 1
end
for shelf, number in pairs(handed) do
  call('XREADGROUP', 'GROUP', GROUP, consumer, 'COUNT', number, 'STREAMS', stream_of(shelf), '>')
end
-- What is left may be for nobody's caps; whoever is woken for it finds out.
for _, shelf in ipairs(limit == 0 and shelves or {}) do
  more = more or call('EXISTS', ring_of(shelf)) == 1
end
return answer(more)
