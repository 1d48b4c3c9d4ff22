--- Where a master key comes from, and how it is written there: 32 bytes as they are; or lines, each a key as 64
-- hexadecimal digits or in Base64, of which the first is in use and the others still open what they have sealed.
--
-- A line of data_dir/master.key may go on with what is known of a key that is not in use any more: until=VERSION, the
-- version from which nothing new needs it, and at=MILLISECONDS, when that was.
local ffi = require "ffi"
local crypto = require "veloflux.pdk.crypto"
local encoding = require "veloflux.pdk.encoding"

ffi.cdef [[
struct vf_command { int32_t pid, fd; };
int vf_command_start(const char *const *argv, struct vf_command *out);
int vf_command_read(struct vf_command *command, uint32_t wait_ms, char *buffer, size_t room, size_t *used,
                    int32_t *status);
void vf_command_kill(struct vf_command *command);
int vf_file_mode(const char *path);
uint64_t vf_clock_ns(void);
]]
local C = ffi.C

local M = {}

local KEY_BYTES = 32
local MAX_OUTPUT = 64 * 1024
local STEP_MS = 20 -- how often a command is asked
local OTHERS = tonumber("77", 8) -- permissions of group and others
local EXPECTED = "expected 32 bytes, or lines of 64 hexadecimal digits or of their Base64"

-- How keys are written --------------------------------------------------------------------------------------

local function decode(word)
  if #word == 2 * KEY_BYTES and word:find "^%x+$" then return crypto.hex_decode(word:lower()) end
  local bytes = encoding.base64_decode(word)
  return bytes and #bytes == KEY_BYTES and bytes or nil
end

--- Reads keys.
-- @return list of {bytes, until_version, at_ms}, the one in use first; or nil and what is wrong
function M.parse(text)
  if #text == KEY_BYTES then return { { bytes = text } } end
  local keys = {}
  for line in text:gmatch "[^\r\n]+" do
    local word, rest = line:match "^%s*(%S+)(.*)$"
    if word and word:sub(1, 1) ~= "#" then
      local bytes = decode(word)
      if not bytes then return nil, ("%s, got %d bytes"):format(EXPECTED, #text) end
      keys[#keys + 1] = { bytes = bytes, until_version = tonumber(rest:match "%suntil=(%d+)"),
        at_ms = tonumber(rest:match "%sat=(%d+)") }
    end
  end
  if not keys[1] then return nil, ("%s, got %d bytes"):format(EXPECTED, #text) end
  return keys
end

--- Writes keys.
function M.format(keys)
  local lines = {}
  for i, key in ipairs(keys) do
    lines[i] = crypto.hex_encode(key.bytes) .. (key.until_version and (" until=%d"):format(key.until_version) or "")
      .. (key.at_ms and (" at=%d"):format(key.at_ms) or "") .. "\n"
  end
  return table.concat(lines)
end

-- Where they come from --------------------------------------------------------------------------------------

--- Reads the keys of a file, which nobody else may read.
function M.of_file(path)
  local mode = C.vf_file_mode(path)
  if mode < 0 then return nil, ("%s: cannot be read (error %d)"):format(path, -mode) end
  if bit.band(mode, OTHERS) ~= 0 then
    return nil, ("%s: others may read it, its mode is %04o: chmod 600"):format(path, mode)
  end
  local file, problem = io.open(path, "rb")
  if not file then return nil, problem end
  local text = file:read "*a"
  file:close()
  local keys, wrong = M.parse(text or "")
  if not keys then return nil, ("%s: %s"):format(path, wrong) end
  return keys
end

--- Reads the keys of a variable of the environment.
function M.of_env(name)
  local text = os.getenv(name)
  if not text or text == "" then return nil, ("master_key.env: the variable %s is not set"):format(name) end
  local keys, wrong = M.parse(text)
  if not keys then return nil, ("master_key.env: %s: %s"):format(name, wrong) end
  return keys
end

-- Commands ----------------------------------------------------------------------------------------------------

local Command = {}
Command.__index = Command

local function now_ms() return tonumber(C.vf_clock_ns()) / 1e6 end

--- Starts the command of a setting: a list of arguments, or a text for the shell. Returns it, or nil and a message.
local function start(setting)
  local words = setting.command
  if type(words) == "string" then words = { "/bin/sh", "-c", words } end
  local argv = ffi.new("const char *[?]", #words + 1)
  for i, word in ipairs(words) do argv[i - 1] = word end
  local self = setmetatable({ handle = ffi.new "struct vf_command", buffer = ffi.new("char[?]", MAX_OUTPUT),
    used = ffi.new("size_t[1]", 0), status = ffi.new("int32_t[1]", 0), name = words[1], limit_ms = setting.timeout,
    due_ms = now_ms() + setting.timeout }, Command)
  local rc = C.vf_command_start(argv, self.handle)
  if rc < 0 then return nil, ("master_key.command: %s cannot be started (error %d)"):format(words[1], -rc) end
  return self
end

--- Its output, which is not kept.
function Command:output()
  local text = ffi.string(self.buffer, self.used[0])
  ffi.fill(self.buffer, MAX_OUTPUT)
  return text
end

local function failed(...) return { message = "master_key.command: " .. select(1, ...):format(select(2, ...)) } end

function Command:ended()
  local status, text = self.status[0], self:output()
  if status < 0 then return failed("it was ended by signal %d", -status) end
  if status > 0 then return failed("it ended with exit code %d", status) end
  local keys, wrong = M.parse(text)
  return keys and { keys = keys } or failed("its output is no key: %s", wrong)
end

--- Looks how far it is. Returns nil while it runs, else {keys} or {message}.
function Command:step(wait_ms)
  local rc = C.vf_command_read(self.handle, wait_ms, self.buffer, MAX_OUTPUT, self.used, self.status)
  if rc == 1 then return self:ended() end
  if rc == 0 and now_ms() < self.due_ms then return nil end
  C.vf_command_kill(self.handle)
  self:output()
  if rc == 0 then return failed("it took longer than %d ms and was ended", self.limit_ms) end
  return failed("it writes too much, or its output cannot be read (error %d)", -rc)
end

--- Runs the command of a setting and waits for it: where there is no loop.
-- @return keys, or nil and a message
function M.of_command(setting)
  local command, problem = start(setting)
  if not command then return nil, problem end
  local result
  repeat result = command:step(STEP_MS) until result
  return result.keys, result.message
end

--- The same without waiting.
-- @param alarms control/alarms.lua
-- @param callback function(keys, message)
function M.ask_command(setting, alarms, callback)
  local command, problem = start(setting)
  if not command then return callback(nil, problem) end
  local function look()
    local result = command:step(0)
    if result then return callback(result.keys, result.message) end
    alarms.after(STEP_MS, look)
  end
  look()
end

return M
