-- Run once in each new state, before the script: takes away what reaches outside or cannot be
-- interrupted, keeps a stopped run from going on, and gives the functions of the program.
local stopped, given = ...
local error, type, tostring, rawget, select = error, type, tostring, rawget, select
local pcall_, resume, close = pcall, coroutine.resume, coroutine.close
local setmetatable_, rep = setmetatable, string.rep
local concat = table.concat

local function pass(ok, problem, ...)
  if stopped() then error("stopped", 0) end
  -- Errors of the program are objects; scripts expect texts.
  if not ok and type(problem) == "userdata" then problem = tostring(problem) end
  return ok, problem, ...
end

function pcall(f, ...)
  return pass(pcall_(f, ...))
end

-- Lua runs a message handler where the error is, with the guard off; here it runs after.
function xpcall(f, handler, ...)
  local function answer(ok, ...)
    if ok then return ok, ... end
    return ok, handler(...)
  end
  return answer(pcall(f, ...))
end

function coroutine.resume(...)
  return pass(resume(...))
end

function coroutine.close(...)
  return pass(close(...))
end

-- What is wrong with a call is said of the line that makes it.
local function called(ok, result)
  if not ok then error(result, 3) end
  return result
end

-- Finalizers run with the guard off.
function setmetatable(t, meta)
  if type(meta) == "table" and rawget(meta, "__gc") ~= nil then
    error("a script cannot have finalizers (__gc)", 2)
  end
  return (called(pcall_(setmetatable_, t, meta)))
end

-- Of nothing, this would count to the end within one instruction.
function string.rep(s, n, sep)
  if s == "" and (sep == nil or sep == "") then return "" end
  return (called(pcall_(rep, s, n, sep)))
end

-- So would this, of an empty table.
function table.move(from, first, last, to, into)
  into = into or from
  if type(from) ~= "table" or type(into) ~= "table" then
    error("table.move takes tables", 2)
  end
  local backward = into == from and to > first and to <= last
  for i = 0, last - first do
    local at = backward and last - first - i or i
    into[to + at] = from[first + at]
  end
  return into
end

function print(...)
  local words = {}
  for i = 1, select("#", ...) do
    words[i] = tostring((select(i, ...)))
  end
  given.log("info", concat(words, "\t"))
end

-- What these refuse is an error where they were called.
local function settle(ok, ...)
  if not ok then error((...), 2) end
  return ...
end

for _, name in ipairs { "raise_event", "subscribe_event", "timer_route", "log" } do
  local f = given[name]
  _G[name] = function(...) return settle(f(...)) end
end

event_route = {}
os = { time = os.time, date = os.date, clock = os.clock, difftime = os.difftime }
string.dump = nil
collectgarbage, dofile, load, loadfile, require, warn = nil, nil, nil, nil, nil, nil

-- Called when the script was loaded.
return function()
  setmetatable_(event_route, {
    __newindex = function()
      error("event routes are defined when the script is loaded", 2)
    end,
  })
end
