--- Starts busted, Debian's package for Lua 5.1, under the LuaJIT that runs it.
-- VF_JIT says when LuaJIT compiles, as its option -O does.
local chosen = os.getenv "VF_JIT" or ""
for parameter in chosen:gmatch "[^,]+" do jit.opt.start(parameter) end

require "busted.runner" { standalone = false }
