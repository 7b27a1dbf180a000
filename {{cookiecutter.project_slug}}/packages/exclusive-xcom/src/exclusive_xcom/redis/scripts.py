"""The steps that Redis carries out in one piece, in Lua. Each may be repeated when its reply was lost.

A claim is "<task instance> <try>". A lease is JSON; who holds it is told by its whole text. It may be taken
over `length` milliseconds after it was last renewed, but is kept for `grace` longer: as long as nobody has
taken it over, its holder may go on.
"""

from __future__ import annotations

# Take a lease (KEYS[1]), renew it, or seize it from another try: {claim, whose lease it is then}. Only the
# owner of the claim (KEYS[2], if there is one) may seize, who has asked Airflow: so nobody has to wait for a
# try that he replaces.
LEASE = """
local holder, claim = redis.call('GET', KEYS[1]) or '', KEYS[2] and redis.call('GET', KEYS[2]) or ''
local lease, length, grace, how = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local free = holder == '' or redis.call('PTTL', KEYS[1]) <= grace
if not free and how == 'seize' and string.match(claim, '^%S+') == cjson.decode(lease).ti_id then
  local known, other = pcall(cjson.decode, holder)
  free = known and other.ti_id ~= '' and other.ti_id ~= cjson.decode(lease).ti_id
end
if holder == lease or (free and how ~= 'renew') then
  redis.call('SET', KEYS[1], lease, 'PX', length + grace)
  holder = lease
end
return {claim, holder}
"""

# Number the holder of a lease; 0 if it does not hold it. The number is the server's time in microseconds, or
# one more than the last (KEYS[2]): it grows even if what is kept has expired or Redis forgot it.
NUMBER = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
local last = tonumber(redis.call('HGET', KEYS[2], 'fence') or '0')
if redis.call('HGET', KEYS[2], 'holder') ~= ARGV[1] then
  local now = redis.call('TIME')
  last = math.max(now[1] * 1000000 + now[2], last + 1)
  redis.call('HSET', KEYS[2], 'fence', string.format('%.0f', last), 'holder', ARGV[1])
end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return last
"""

# Give a lease back; 0 if it was lost. Of a numbered one that is noted (KEYS[2]), so that a repeated release
# is not taken for a loss.
RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  if KEYS[2] then
    redis.call('HSET', KEYS[2], 'released', ARGV[1])
    redis.call('PEXPIRE', KEYS[2], ARGV[2])
  end
  redis.call('DEL', KEYS[1])
  return 1
end
return KEYS[2] and redis.call('HGET', KEYS[2], 'released') == ARGV[1] and 1 or 0
"""

# Act as the owner of a claim (KEYS[1]), be it by compare-and-set on what was read: make a payload current,
# whose lease, head and chunks are the other keys; or, without a head, delete the other keys. {'done', ''}, or
# what stands against it and what was found instead. A claim's time never gets shorter, so that it outlives
# every payload that it covers.
OWN = """
local claim = redis.call('GET', KEYS[1]) or ''
local me, claim_of_mine, claim_seen, claim_kept, lease, head, kept = unpack(ARGV)
local mine = string.match(claim, '^%S+') == me
if me ~= '' and not mine and claim ~= claim_seen then
  return {'claim', claim}
end
if head then
  local holder = redis.call('GET', KEYS[2]) or ''
  if redis.call('EXISTS', KEYS[3]) == 0 then  -- otherwise it is done, and only the reply was lost
    if holder ~= lease then
      return {'lease', holder}
    end
    for i = 4, #KEYS do
      if redis.call('EXISTS', KEYS[i]) == 0 then
        return {'staged', ''}
      end
    end
  end
  -- Written in any case: WAIT after us counts only what its own connection has written.
  redis.call('SET', KEYS[3], head, 'PX', kept)
  for i = 4, #KEYS do
    redis.call('PEXPIRE', KEYS[i], kept)
  end
  if holder == lease then
    redis.call('DEL', KEYS[2])
  end
else
  for i = 2, #KEYS do
    redis.call('UNLINK', KEYS[i])
  end
end
if me ~= '' and (head or not mine) then
  redis.call('SET', KEYS[1], claim_of_mine, 'PX', math.max(claim_kept, redis.call('PTTL', KEYS[1])))
end
return {'done', ''}
"""
