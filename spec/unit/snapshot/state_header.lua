--- snapshot/state.h and what it includes for LuaJIT: no preprocessor, atomics, inline functions and extern data.
local M = {}

--- Returns a header as LuaJIT can declare it.
function M.read(path)
  local file = assert(io.open(path))
  local text = "\n" .. file:read "*a"
  file:close()
  return (text:gsub("\n#[^\n]*", "\n"):gsub("static inline .-\n}\n", ""):gsub("_Atomic ", "")
    :gsub("extern [^\n]*\n", ""))
end

--- Returns snapshot/state.h. Its blocks are left out, because FFI's structs end at 2 GiB: they are reached behind the
-- rest; or there are `n_blocks` of them.
function M.state(n_blocks)
  local series = M.read "src/snapshot/series.h" -- the rest of it is declared by those who use it
  local text = series:match "\nenum { VF_SERIES_BYTES[^\n]*" .. series:match "\nstruct vf_series {.-\n};" ..
    M.read "src/tls/ticket_keys.h" .. M.read "src/snapshot/state.h"
  if n_blocks then return (text:gsub("blocks%[VF_STATE_BLOCKS%]", ("blocks[%d]"):format(n_blocks))) end
  return (text:gsub("[^\n]*blocks%[VF_STATE_BLOCKS%];\n", ""))
end

return M
