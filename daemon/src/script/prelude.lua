-- Run once in each new state, before the script: takes away what reaches outside or cannot be
-- interrupted, keeps a stopped run from going on, and gives the functions of the program.
local stopped, given = ...
local error, type, tostring, rawget, select = error, type, tostring, rawget, select
local pcall_, resume, close = pcall, coroutine.resume, coroutine.close
local getmetatable, setmetatable_ = getmetatable, setmetatable
local rep, format, concat, unpack = string.rep, string.format, table.concat, table.unpack
local charge = given.charge

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

-- A coroutine begins to count anew, so it is charged when it is made.
for _, name in ipairs { "create", "wrap" } do
  local make = coroutine[name]
  coroutine[name] = function(f)
    charge(1000)
    return make(f)
  end
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

-- These run with the guard off.
function setmetatable(t, meta)
  if type(meta) == "table" then
    if rawget(meta, "__gc") ~= nil then error("a script cannot have finalizers (__gc)", 2) end
    if rawget(meta, "__close") ~= nil then error("a script cannot have closers (__close)", 2) end
  end
  return (called(pcall_(setmetatable_, t, meta)))
end

-- Of nothing, this would count to the end within one instruction.
function string.rep(s, n, sep)
  if s == "" and (sep == nil or sep == "") then return "" end
  local text = called(pcall_(rep, s, n, sep))
  if #text > 1000 then charge(#text // 8) end
  return text
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

-- The next three are loops within one instruction, which each call of Lua breaks up.
local sort, insert, remove, tointeger = table.sort, table.insert, table.remove, math.tointeger

local function less(a, b) return a < b end

function table.sort(t, before)
  if before == nil then before = less end
  if type(before) ~= "function" then return sort(t, before) end
  return sort(t, function(a, b) return before(a, b) end)
end

local function out_of_bounds(name)
  error("bad argument #2 to '" .. name .. "' (position out of bounds)", 3)
end

function table.insert(t, ...)
  if select("#", ...) ~= 2 or type(t) ~= "table" then return insert(t, ...) end
  local at, value = ...
  local last = #t + 1
  at = tointeger(at)
  if not at or at < 1 or at > last then out_of_bounds("insert") end
  for i = last, at + 1, -1 do t[i] = t[i - 1] end
  t[at] = value
end

function table.remove(t, at)
  if at == nil or type(t) ~= "table" then return remove(t, at) end
  local size = #t
  at = tointeger(at)
  if not at or at ~= size and (at < 1 or at > size + 1) then out_of_bounds("remove") end
  local value = t[at]
  for i = at, size - 1 do t[i] = t[i + 1] end
  t[at < size and size or at] = nil
  return value
end

-- What goes through a list or a text within one instruction is charged for its length.
local LONG = 1000

local function charge_for(text)
  if type(text) == "string" and #text > LONG then charge(#text // 8) end
end

function table.concat(t, ...)
  if type(t) == "table" then
    -- It could have any number of elements, made when they are asked for.
    if getmetatable(t) ~= nil then error("table.concat takes no table with a metatable", 2) end
    if #t > LONG then charge(#t) end
  end
  return concat(t, ...)
end

function table.unpack(t, i, j)
  local count = (tointeger(j) or type(t) == "table" and #t or 0) - (tointeger(i) or 1)
  -- Lua refuses more than a million.
  if count > LONG then charge(count < 1000000 and count or 1000000) end
  return unpack(t, i, j)
end

for library, names in pairs {
  [string] = { "lower", "reverse", "upper" },
  [utf8] = { "len", "offset" },
  [_G] = { "tonumber" },
} do
  for _, name in ipairs(names) do
    local f = library[name]
    library[name] = function(text, ...)
      charge_for(text)
      return f(text, ...)
    end
  end
end

function string.format(...)
  for i = 1, select("#", ...) do charge_for((select(i, ...))) end
  return format(...)
end

-- A pattern that could take long is matched by the program, which looks at the clock meanwhile.
local find, match, gmatch = string.find, string.match, string.gmatch
local gsub, sub, pack, tonumber = string.gsub, string.sub, table.pack, tonumber

-- The level is that of who made the call: a call in place of a return has none of its own.
local function results(level, ok, ...)
  if not ok then error((...), level) end
  return ...
end

local function costly(s, p)
  return type(s) == "string" and type(p) == "string" and given.costly(s, p)
end

-- Where a search begins; nil behind the end.
local function place(s, init)
  init = init or 1
  if init < 0 then init = #s + init + 1 end
  if init < 1 then init = 1 end
  if init <= #s + 1 then return init end
end

-- What a match gives: its captures, or else all of it.
local function captured(s, begin, finish, ...)
  if begin and select("#", ...) == 0 then return sub(s, begin, finish) end
  return ...
end

function string.find(s, p, init, plain)
  local texts = type(s) == "string" and type(p) == "string"
  if not texts or plain and #s * #p < 1000000 or not plain and not given.costly(s, p) then
    return results(2, pcall_(find, s, p, init, plain))
  end
  local begin = place(s, init)
  if not begin then return nil end
  if not plain and not given.is_plain(p) then return results(2, given.search(s, p, begin)) end
  charge_for(s)
  return given.locate(s, p, begin)
end

function string.match(s, p, init)
  if not costly(s, p) then return results(2, pcall_(match, s, p, init)) end
  local begin = place(s, init)
  if not begin then return nil end
  return captured(s, results(3, given.search(s, p, begin)))
end

function string.gmatch(s, p, init)
  -- Here `^` stands for itself.
  local tried = type(p) == "string" and sub(p, 1, 1) == "^" and "%" .. p or p
  if not costly(s, tried) then return results(2, pcall_(gmatch, s, p, init)) end
  local at, last = place(s, init) or #s + 2, nil
  return function()
    while at <= #s + 1 do
      local found = pack(results(3, given.match_at(s, p, at)))
      local finish = found[2]
      if finish and finish ~= last then
        at, last = finish + 1, finish
        return captured(s, unpack(found, 1, found.n))
      end
      at = at + 1
    end
  end
end

-- What stands for a match; nil for the match itself.
local function replacement(s, by, begin, finish, ...)
  local whole = sub(s, begin, finish)
  local first = captured(s, begin, finish, ...)
  local value
  if type(by) == "function" then
    value = by(captured(s, begin, finish, ...))
  elseif type(by) == "table" then
    value = by[first]
  else
    local captures = { ... }
    captures[0] = whole
    if #captures == 0 then captures[1] = whole end
    return (gsub(by, "%%(.?)", function(c)
      if c == "%" then return "%" end
      local capture = captures[tonumber(c)]
      if capture == nil then error("invalid use of '%' in replacement string", 0) end
      return capture
    end))
  end
  if not value then return whole end
  if type(value) ~= "string" and type(value) ~= "number" then
    error("invalid replacement value (a " .. type(value) .. ")", 0)
  end
  return tostring(value)
end

function string.gsub(s, p, by, most)
  if not costly(s, p) then
    if type(by) == "function" then return gsub(s, p, by, most) end
    return results(2, pcall_(gsub, s, p, by, most))
  end
  if type(by) == "number" then by = tostring(by) end
  if type(by) ~= "string" and type(by) ~= "function" and type(by) ~= "table" then
    error("bad argument #3 to 'gsub' (string/function/table expected)", 2)
  end
  local anchored = sub(p, 1, 1) == "^"
  if anchored then p = sub(p, 2) end
  local out, count, at, last = {}, 0, 1, nil
  while count < (most or math.huge) do
    local found = pack(results(3, given.match_at(s, p, at)))
    local finish = found[2]
    if finish and finish ~= last then
      count = count + 1
      out[#out + 1] = replacement(s, by, unpack(found, 1, found.n))
      at, last = finish + 1, finish
    elseif at <= #s then
      out[#out + 1] = sub(s, at, at)
      at = at + 1
    else
      break
    end
    if anchored then break end
  end
  out[#out + 1] = sub(s, at)
  return concat(out), count
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
local date = os.date
os = { time = os.time, clock = os.clock, difftime = os.difftime }

-- A long format takes long within one instruction.
function os.date(format, ...)
  if type(format) == "string" and #format > 100 then
    error("the format of os.date is longer than 100 bytes", 2)
  end
  return (called(pcall_(date, format, ...)))
end

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
