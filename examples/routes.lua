-- Event routes for `bellwire serve`. In the configuration:
--
--   [routes]
--   script = "routes.lua"
--
-- Counts how often each address was blocked, raises an event of our own at the third time, and
-- tells once a minute who is worst.

local ALARM_AT = 3
local MOST_ADDRESSES = 10000

local blocked = {}
local addresses = 0

-- Once, before the first event: also after a reload, which begins with empty variables.
function startup_route()
  log("watching for blocked addresses")
end

-- Subscribed by itself, as in OpenSIPS; listed as route:E_PIKE_BLOCKED.
event_route["E_PIKE_BLOCKED"] = function(ev)
  local ip = ev:param("ip") or ev:param(1)
  if not ip then
    log("warn", "E_PIKE_BLOCKED without an address: " .. ev.json)
    return
  end
  if not blocked[ip] then
    -- What an attacker can make grow needs a limit.
    if addresses >= MOST_ADDRESSES then
      blocked, addresses = {}, 0
    end
    addresses = addresses + 1
  end
  blocked[ip] = (blocked[ip] or 0) + 1
  if blocked[ip] == ALARM_AT then
    raise_event("E_REPEAT_OFFENDER", { { "ip", ip }, { "times", ALARM_AT } })
  end
end

-- Any event: name and place of each parameter.
event_route["E_DISPATCHER_STATUS"] = function(ev)
  for name, value in ev:params() do
    log("debug", ev.name .. ": " .. name .. " = " .. tostring(value))
  end
end

timer_route(60, function()
  local worst, most = nil, 0
  for ip, times in pairs(blocked) do
    if times > most then
      worst, most = ip, times
    end
  end
  if worst then
    log("blocked most often: " .. worst .. ", " .. most .. " times")
  end
end)
