-- Remove consumers that hold nothing; one that is alive comes back with its next claim.
-- Removing one that holds something would take it off the ledger.

for _, shelf in ipairs(call('SMEMBERS', P .. 'shelves')) do
  local stream = stream_of(shelf)
  local consumers = redis.pcall('XINFO', 'CONSUMERS', stream, GROUP)
  for _, fields in ipairs(consumers.err and {} or consumers) do
    local consumer = {}
    for i = 1, #fields, 2 do consumer[fields[i]] = fields[i + 1] end
    if consumer.pending == 0 then call('XGROUP', 'DELCONSUMER', stream, GROUP, consumer.name) end
  end
end
return 'ok'
