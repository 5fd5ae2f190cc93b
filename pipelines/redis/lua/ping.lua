-- A small write; the server refuses it when it would refuse others.

call('SET', P .. 'ping', '')
return 'ok'
