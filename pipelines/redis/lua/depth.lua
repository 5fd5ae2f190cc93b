-- Answers {queue, unsettled messages, ...}.

return call('HGETALL', P .. 'depth')
