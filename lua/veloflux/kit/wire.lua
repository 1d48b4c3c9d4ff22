--- The spec's end of a connection: of a client, or of a host that the gateway has connected to. What waits here
-- waits as a task of kit/world.lua.
local ffi = require "ffi"
local native = require "veloflux.kit.native"
local world = require "veloflux.kit.world"

local C = native.C

local M = {}

local Wire = {}
Wire.__index = Wire

local ROOM = 65536
local buffer = ffi.new("char[?]", ROOM)

--- Takes over a descriptor.
-- @param kit struct vf_kit *
function M.new(kit, fd) return setmetatable({ kit = kit, fd = fd, input = "" }, Wire) end

--- Reads what is there. Returns true when something has come: bytes, or the end.
function Wire:poll()
  if self.ended or self.fd < 0 then return true end
  local n = tonumber(C.vf_wire_read(self.fd, buffer, ROOM))
  if n == native.EAGAIN then return false end
  if n > 0 then
    self.input = self.input .. ffi.string(buffer, n)
  else
    self.ended = n == 0 and "closed" or "reset"
  end
  return true
end

--- Waits for more. Returns true, or nil and how it ended: "closed" or "reset".
local function fill(self)
  local before = #self.input
  while #self.input == before do
    if self.ended then return nil, self.ended end
    if self.fd < 0 then return nil, "closed" end
    world.wait(function() return self:poll() end)
  end
  return true
end

--- Returns the next bytes, whatever has come; or nil and "closed" or "reset".
function Wire:receive()
  while self.input == "" do
    local ok, why = fill(self)
    if not ok then return nil, why end
  end
  local text = self.input
  self.input = ""
  return text
end

--- Returns exactly `count` bytes; or nil, why, and what has come of them.
function Wire:read(count)
  while #self.input < count do
    local ok, why = fill(self)
    if not ok then
      local rest = self.input
      self.input = ""
      return nil, why, rest
    end
  end
  local text = self.input:sub(1, count)
  self.input = self.input:sub(count + 1)
  return text
end

--- Returns everything before the next `mark`, which is taken too; or nil, why, and what has come.
function Wire:read_to(mark)
  local from = 1
  while true do
    local first, last = self.input:find(mark, from, true)
    if first then
      local text = self.input:sub(1, first - 1)
      self.input = self.input:sub(last + 1)
      return text
    end
    from = math.max(1, #self.input - #mark + 2)
    local ok, why = fill(self)
    if not ok then return nil, why, self.input end
  end
end

--- Returns a line without its end (LF or CRLF); or nil and why.
function Wire:read_line()
  local line, why = self:read_to "\n"
  if not line then return nil, why end
  return (line:gsub("\r$", ""))
end

--- Sends a text; waits while there is no room.
-- @return true, or nil and why not
function Wire:send(text)
  while #text > 0 do
    local n
    if self.fd < 0 then return nil, "closed" end
    n = tonumber(C.vf_wire_write(self.fd, text, #text))
    if n == native.EAGAIN then
      world.wait(function()
        n = tonumber(C.vf_wire_write(self.fd, text, #text))
        return n ~= native.EAGAIN
      end)
    end
    if n < 0 then return nil, ffi.string(C.uv_strerror(n)) end
    text = text:sub(n + 1)
  end
  return true
end

--- Sends pieces: the gateway has read each before the next one comes.
-- @param interval seconds between two, or nil
function Wire:send_pieces(pieces, interval)
  for i, piece in ipairs(pieces) do
    if i > 1 and interval then world.sleep(interval) end
    local ok, why = self:send(piece)
    if not ok then return nil, why end
    if i < #pieces then world.pass() end
  end
  return true
end

--- Sends the end of file; reading goes on.
function Wire:finish()
  if self.fd >= 0 then C.vf_wire_finish(self.fd) end
end

--- Sends the end of file and waits for the other's.
function Wire:hang_up()
  self:finish()
  while self:receive() do end
  self:close()
end

local function close(self, reset)
  if self.fd >= 0 then C.vf_wires_close(C.vf_kit_wires(self.kit), self.fd, reset) end
  self.fd = -1
end

function Wire:close() close(self, false) end

--- Breaks the connection off: the gateway sees a reset.
function Wire:reset() close(self, true) end

return M
