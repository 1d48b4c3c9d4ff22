--- JSON (RFC 8259), strict both ways: what two parsers could read differently is refused.
--
-- Decoding refuses a name that occurs twice in an object, bytes that are no UTF-8, lone surrogates, control
-- characters, NaN, infinity and numbers beyond a double, more than one value, and deep nesting. Objects and
-- arrays become tables; an array keeps its mark, so an empty one stays one when it is encoded again; null is
-- `json.null`. Integers above 2^53 lose digits as they do in JavaScript, unless `exact` is asked for.
--
-- Encoding takes strings, numbers, booleans, json.null, int64_t and uint64_t, and tables: an array is what has
-- an element 1, or was marked by `json.array` or by decoding; names are strings.
local ffi = require "ffi"
local buffer = require "string.buffer"
local cjson = require "cjson"

ffi.cdef [[
struct vf_json_node {
  union { double number; int64_t integer; const char *text; } value;
  uint32_t len, at, kind, unused;
};
struct vf_json { const struct vf_json_node *nodes; const char *error; uint32_t error_at; };
struct vf_json *vf_json_new(void);
void vf_json_free(struct vf_json *json);
int vf_json_read(struct vf_json *json, const char *text, size_t len, int max_depth, int exact);
int vf_json_is_plain(const char *text, size_t len);
int vf_json_quote(const char *text, size_t len, char *out, int repair);
int vf_json_number(double number, char out[32]);
]]
local C = ffi.C

-- enum vf_json_kind
local NULL, FALSE, TRUE, NUMBER, SIGNED, STRING, NAME, ARRAY, END = 0, 1, 2, 3, 4, 6, 7, 9, 10
local MAX_DEPTH, MOST_DEPTH = 128, 1000
local MOST_BYTES = 2 ^ 30
local KEPT_BYTES = 64 * 1024 -- of the buffer, from one text to the next
local UV_EINVAL = -22

---@class pdk.json
---@field null userdata stands for null in tables; the same as that of lua-cjson
local M = {}

--- Stands for null in tables; the same as that of lua-cjson.
M.null = cjson.null
local null = M.null

local Array = { __name = "json.array" }

--- Marks a table as an array: it is encoded as one when it is empty.
---@generic T: table
---@param list? T
---@return T
function M.array(list)
  if list ~= nil and type(list) ~= "table" then error("expected a table, got " .. type(list), 2) end
  return setmetatable(list or {}, Array)
end

--- Returns true when a table is marked as an array.
---@param value any
---@return boolean
function M.is_array(value)
  return type(value) == "table" and getmetatable(value) == Array
end

-- --- Decoding ---------------------------------------------------------------------------------------------------

local shared_reader
local own_tables, own_counts = {}, {} -- for `build`
local SOME = 256                      -- nodes between two pauses

local function leaf(node, kind)
  if kind == STRING then return ffi.string(node.value.text, node.len) end
  if kind == NUMBER then return node.value.number end
  if kind == TRUE then return true end
  if kind == FALSE then return false end
  if kind == NULL then return null end
  if kind == SIGNED then return node.value.integer end
  return ffi.cast("uint64_t", node.value.integer)
end

-- Turns nodes into tables. Returns the value, or nil and the offset of a name that occurs twice. `count` is
-- the number of elements of the innermost table, -1 when that is an object.
-- @param tables, counts those around the innermost one: nobody else's meanwhile
-- @param pause nil, or a function that is called now and then and may yield
local function build(nodes, n, tables, counts, pause)
  local top, count, depth, name = {}, 0, 0, ""
  for i = 0, n - 1 do
    if pause and i % SOME == 0 then pause() end
    local node = nodes[i]
    local kind = node.kind
    if kind == END then
      top, count = tables[depth], counts[depth]
      tables[depth] = false
      depth = depth - 1
    elseif kind == NAME then
      name = ffi.string(node.value.text, node.len)
      if top[name] ~= nil then
        for at = 1, depth do tables[at] = false end
        return nil, node.at
      end
    else
      local is_leaf = kind < NAME
      local value = is_leaf and leaf(node, kind) -- false is a leaf, too
      if kind == ARRAY then value = setmetatable({}, Array) elseif not is_leaf then value = {} end
      if count >= 0 then
        count = count + 1
        top[count] = value
      else
        top[name] = value
      end
      if not is_leaf then
        depth = depth + 1
        tables[depth], counts[depth] = top, count
        top, count = value, kind == ARRAY and 0 or -1
      end
    end
  end
  return top[1]
end

--- Decodes a text.
---@param text string
---@param options? { exact?: boolean, max_depth?: integer } exact: integers between 2^53 and 2^64 come as int64_t
--- or uint64_t; max_depth: of nesting, 128 when left out, at most 1000
---@return any value nil when it is no JSON; null is json.null
---@return string? err with the byte, counted from 1
function M.decode(text, options) -- the core has another option, pause: a function that is called meanwhile
  if type(text) ~= "string" then error("expected a string, got " .. type(text), 2) end
  if #text > MOST_BYTES then return nil, "not JSON: longer than 1 GiB" end
  local pause = options and options.pause
  shared_reader = shared_reader or ffi.gc(C.vf_json_new(), C.vf_json_free)
  local reader = pause and ffi.gc(C.vf_json_new(), C.vf_json_free) or shared_reader
  local max_depth = options and options.max_depth or MAX_DEPTH
  if max_depth > MOST_DEPTH then error("max_depth: at most 1000", 2) end
  local n = C.vf_json_read(reader, text, #text, max_depth, options and options.exact and 1 or 0)
  if n == UV_EINVAL then
    return nil, "not JSON: " .. ffi.string(reader.error) .. " at byte " .. reader.error_at + 1
  end
  if n < 0 then return nil, "out of memory" end
  local value, twice = build(reader.nodes, n, pause and {} or own_tables, pause and {} or own_counts, pause)
  if twice then return nil, "not JSON: a name that occurs twice at byte " .. twice + 1 end
  return value
end

-- --- Encoding ---------------------------------------------------------------------------------------------------

local out = buffer.new()
local is_sorted, is_lenient = false, false -- of the text that is being encoded
local digits = ffi.new "char[32]"
local int64, uint64 = ffi.typeof "int64_t", ffi.typeof "uint64_t"
local put

local function put_string(text)
  if C.vf_json_is_plain(text, #text) == 1 then
    out:put('"', text, '"')
    return nil
  end
  if #text > MOST_BYTES / 6 then return "a string too long" end
  local room = out:reserve(6 * #text + 2)
  local n = C.vf_json_quote(text, #text, room, is_lenient and 1 or 0)
  if n < 0 then return "a string that is not UTF-8, at its byte " .. -n end
  out:commit(n)
end

local function put_number(number)
  if number ~= number or number == math.huge or number == -math.huge then
    if not is_lenient then return "JSON has no " .. tostring(number) end
    out:put "null"
    return nil
  end
  out:putcdata(digits, C.vf_json_number(number, digits))
end

local function put_list(list, depth)
  local n, n_keys = #list, 0
  for _ in pairs(list) do n_keys = n_keys + 1 end
  if n_keys ~= n and not is_lenient then return "an array with holes or names" end
  out:put "["
  for i = 1, n do
    if i > 1 then out:put "," end
    local err = put(list[i], depth)
    if err then return err end
  end
  out:put "]"
end

local function put_member(name, value, depth)
  if type(name) ~= "string" then return "an object with a name that is no string" end
  local err = put_string(name)
  if err then return err end
  out:put ":"
  return put(value, depth)
end

local function put_sorted(map, depth)
  local names = {}
  for name in pairs(map) do
    if type(name) ~= "string" then return "an object with a name that is no string" end
    names[#names + 1] = name
  end
  table.sort(names)
  out:put "{"
  for i = 1, #names do
    if i > 1 then out:put "," end
    local err = put_member(names[i], map[names[i]], depth)
    if err then return err end
  end
  out:put "}"
end

local function put_map(map, depth)
  local before = "{"
  for name, value in pairs(map) do
    out:put(before)
    before = ","
    local err = put_member(name, value, depth)
    if err then return err end
  end
  out:put(before == "{" and "{}" or "}")
end

local function put_table(value, depth)
  if depth == MAX_DEPTH then return "nested too deeply" end
  if value[1] ~= nil or getmetatable(value) == Array then return put_list(value, depth + 1) end
  if is_sorted then return put_sorted(value, depth + 1) end
  return put_map(value, depth + 1)
end

local function put_other(value)
  if ffi.istype(int64, value) or ffi.istype(uint64, value) then
    out:put((tostring(value):gsub("U?LL$", "")))
  elseif is_lenient then
    out:put "null"
  else
    return "JSON has no " .. type(value)
  end
end

-- Appends a value to `out`; returns nil, or what JSON has no word for.
function put(value, depth)
  local kind = type(value)
  if kind == "string" then return put_string(value) end
  if kind == "number" then return put_number(value) end
  if kind == "table" then return put_table(value, depth) end
  if value == true then
    out:put "true"
  elseif value == false then
    out:put "false"
  elseif value == null then
    out:put "null"
  else
    return put_other(value)
  end
end

local function encode(value)
  out:reset()
  local err = put(value, 0)
  if err then return nil, "cannot be JSON: " .. err end
  local text = out:tostring()
  if #text > KEPT_BYTES then out:free() end
  return text
end

--- Encodes a value; members come in any order.
---@param value any
---@return string? text nil when JSON has no word for it: a function, NaN, bytes that are no UTF-8, an array with
--- holes, names that are no strings, more than 128 levels (a table within itself has endless ones)
---@return string? err
function M.encode(value)
  is_sorted, is_lenient = false, false
  return encode(value)
end

--- Encodes a value in the one form that equal values share: names in byte order, no spaces, numbers and escapes
-- as RFC 8785 has them (which orders names beyond U+FFFF differently). For signatures and digests.
---@param value any
---@return string? text
---@return string? err
function M.canonical(value)
  is_sorted, is_lenient = true, false
  return encode(value)
end

--- Encodes what people will read, whatever it is: names in byte order; bytes that are no UTF-8 become U+FFFD, and
-- null stands for what JSON has no word for.
---@param value any
---@return string? text nil when it is nested too deeply, or a name is no string
---@return string? err
function M.lenient(value)
  is_sorted, is_lenient = true, true
  return encode(value)
end

return M
