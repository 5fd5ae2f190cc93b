-- One batch, all or nothing: writes, appends, settled leases and messages.
-- ARGV: now, the commit's id, five counts, then writes (key, expected version or '', milliseconds
-- to live or '' or 'gone', value), appends (log, keep, item), settled leases (id, token, number or
-- 0 for the token alone), messages (id, shelf, tenant, priority, attempts, due or '', body) and
-- reminders, which are like messages.
-- Answers ok, conflict KEY VERSION, or lost ID.

local now = time(ARGV[1])
local once = P .. 'once:' .. ARGV[2]
-- The answer to an earlier copy of this very commit was lost on its way.
if call('EXISTS', once) == 1 then return { 'ok' } end

local at = 8
local function take(how_many, width)
  local items = {}
  for _ = 1, tonumber(how_many) do
    items[#items + 1] = { unpack(ARGV, at, at + width - 1) }
    at = at + width
  end
  return items
end
local writes, appends = take(ARGV[3], 4), take(ARGV[4], 3)
local settled, messages, reminders = take(ARGV[5], 3), take(ARGV[6], 7), take(ARGV[7], 7)

-- What is there, and whether it may change. Reading it also finds a key of another type.

for _, write in ipairs(writes) do
  local found = call('HMGET', P .. 'record:' .. write[1], 'version', 'expires')
  write.there, write.expires = found[1], found[2]
  local live = found[1] and not (found[2] and tonumber(found[2]) <= now)
  write.version = live and tonumber(found[1]) or 0
  if write[2] ~= '' and tonumber(write[2]) ~= write.version then
    return { 'conflict', write[1], write.version }
  end
end
for _, lease in ipairs(settled) do
  local m = load_message(lease[1])
  if not m or m.attempts ~= lease[2] then return { 'lost', lease[1] } end
  if lease[3] ~= '0' and not is_held(m, lease[2], lease[3], now) then
    return { 'lost', lease[1] }
  end
  lease.message = m
end

-- A reminder is put where its message is settled or gone, and noted where that is leased.

local gone, noted, put = {}, {}, {}
for _, message in ipairs(messages) do put[message[1]] = true end
for _, lease in ipairs(settled) do
  local m = lease.message
  gone[m.id] = true
  if m.reminder and not put[m.id] then
    messages[#messages + 1] = { m.id, m.shelf, m.tenant, m.priority, 0, '', m.reminder }
  end
end
for _, reminder in ipairs(reminders) do
  local m = load_message(reminder[1])
  if not m or (gone[m.id] and not m.reminder) then
    messages[#messages + 1] = reminder
  elseif m.state == 'h' and not gone[m.id] then
    noted[#noted + 1] = reminder
  end
end
if #writes > 0 then
  call('ZCARD', P .. 'records')
  call('ZCARD', P .. 'expiry')
end
for _, append in ipairs(appends) do
  call('XLEN', P .. 'log:' .. append[1])
end
if #messages > 0 then
  call('HLEN', P .. 'counters')
  call('HLEN', P .. 'depth')
  call('ZCARD', P .. 'messages')
end
for _, message in ipairs(messages) do
  message.before = load_message(message[1])
  call('ZCARD', lane_of(message[2], message[3]))
  call('ZCARD', tenants_of(message[2], owner_of(message[3])))
  call('ZCARD', ring_of(message[2]))
  call('ZCARD', delayed_of(message[2]))
end

-- From here on nothing fails.

call('SET', once, '', 'PX', 120000)
for _, write in ipairs(writes) do
  local key, record = write[1], P .. 'record:' .. write[1]
  if write[3] == 'gone' then
    call('DEL', record)
    call('ZREM', P .. 'records', key)
    if write.expires then call('ZREM', P .. 'expiry', key) end
  else
    call('HSET', record, 'value', write[4], 'version', write.version + 1)
    if not write.there then call('ZADD', P .. 'records', 0, key) end
    if write[3] ~= '' then
      local expires = now + write[3]
      call('HSET', record, 'expires', expires)
      call('ZADD', P .. 'expiry', expires, key)
    elseif write.expires then
      call('HDEL', record, 'expires')
      call('ZREM', P .. 'expiry', key)
    end
  end
end
for _, append in ipairs(appends) do
  local log = P .. 'log:' .. append[1]
  local last = call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
  local number = last and tonumber(string.match(last[1], '^%d+')) or 0
  call('XADD', log, string.format('%.0f-0', number + 1), 'item', append[3])
  call('XTRIM', log, 'MAXLEN', append[2])
end
for _, reminder in ipairs(noted) do
  call('HSET', message_of(reminder[1]), 'reminder', reminder[7])
end
for _, lease in ipairs(settled) do
  local m = lease.message
  withdraw(m)
  call('DEL', message_of(m.id))
  call('ZREM', P .. 'messages', m.id)
  count(P .. 'depth', queue_of(m.shelf), -1)
end
for _, message in ipairs(messages) do
  local before = not gone[message[1]] and message.before or nil
  local number = call('HINCRBY', P .. 'counters', 'number', 1)
  local m = { id = message[1], shelf = message[2], tenant = message[3], priority = message[4],
    order = before and before.order or number, due = message[6] }
  if before then
    withdraw(before)
    count(P .. 'depth', queue_of(before.shelf), -1)
    call('DEL', message_of(m.id))
  end
  call('HSET', message_of(m.id), 'shelf', m.shelf, 'tenant', m.tenant, 'priority', m.priority,
    'order', m.order, 'number', number, 'attempts', message[5], 'due', m.due, 'body', message[7])
  call('ZADD', P .. 'messages', m.order, m.id)
  count(P .. 'depth', queue_of(m.shelf), 1)
  place(m, now)
end
publish_bells()
return { 'ok' }
