--- The metrics of plugins in the state area, for Lua: src/snapshot/series.h. Each process has a log of records in its
-- block. A family is a metric, its text says which (see M.family_text); its one number is the time when it was last
-- used by code that was loaded. A series belongs to a family, its text are its labels as Prometheus writes them.
local ffi = require "ffi"

ffi.cdef [[
struct vf_state;
struct vf_series;
struct vf_series_record {
  uint32_t at, flags, family, n_values;
  double *values;
  const char *text;
  size_t text_len;
};
void vf_series_begin(struct vf_series *series, uint64_t incarnation);
int vf_series_add(struct vf_series *series, uint32_t flags, uint32_t family, uint32_t n_values, const char *text,
                  size_t text_len, struct vf_series_record *out);
int vf_series_next(struct vf_series *series, struct vf_series_record *out);
struct vf_series *vf_state_series(struct vf_state *state, uint32_t block, uint32_t *is_live);
]]
local C = ffi.C

local M = { FAMILY = 1, GAUGE = 2 } -- enum vf_series_flag

local function numbers_text(list)
  local parts = {}
  for i, number in ipairs(list or {}) do parts[i] = ("%.17g"):format(number) end
  return table.concat(parts, ",")
end

local function split(text, separator, pattern)
  local parts = {}
  for part in (text .. separator):gmatch("(.-)" .. pattern) do parts[#parts + 1] = part end
  return parts
end

--- Returns the text of a family: its fields, with NUL between them.
-- @param family table: name, kind (counter, gauge, histogram), help, labels (list of names), bounds (list of numbers,
-- of a histogram), combine (of a gauge: sum, min, max, last)
function M.family_text(family)
  return table.concat({ family.name, family.kind, (family.help:gsub("%z", " ")), table.concat(family.labels, ","),
    numbers_text(family.bounds), family.combine or "" }, "\0")
end

--- Reads the text of a family. Returns nil for what is none.
function M.read_family(text)
  local fields = split(text, "\0", "%z")
  if #fields ~= 6 then return nil end
  local family = { name = fields[1], kind = fields[2], help = fields[3], labels = {}, combine = fields[6] }
  if fields[4] ~= "" then family.labels = split(fields[4], ",", ",") end
  if fields[5] ~= "" then
    family.bounds = {}
    for i, number in ipairs(split(fields[5], ",", ",")) do family.bounds[i] = tonumber(number) end
  end
  return family
end

--- Iterates over the records of a log. The struct is the same each time.
function M.records(series)
  local record = ffi.new "struct vf_series_record"
  return function()
    if C.vf_series_next(series, record) ~= 0 then return record end
  end
end

--- Returns the text of a record.
function M.text(record) return ffi.string(record.text, record.text_len) end

local is_live = ffi.new "uint32_t[1]"

--- Iterates over the logs of all blocks that were ever used: struct vf_series *, and whether its process lives.
function M.logs(state)
  local block = -1
  state = ffi.cast("struct vf_state *", state)
  return function()
    block = block + 1
    local series = C.vf_state_series(state, block, is_live)
    if series ~= nil then return series, is_live[0] ~= 0 end
  end
end

return M
