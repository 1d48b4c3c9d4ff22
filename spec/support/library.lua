--- Makes the library under test what ffi.C finds, so that the modules of lua/veloflux, which reach C
-- as they do in the binary, run in specs. Require it before them.
local ffi = require "ffi"

ffi.cdef "void *dlopen(const char *path, int flags);"

local RTLD_LAZY, RTLD_GLOBAL = 1, 0x100
local path = os.getenv "VF_LIBRARY" or "build/libveloflux.so"

-- Not ffi.load(path, true): busted 2.2 answers that with what another file loaded for itself alone.
assert(ffi.C.dlopen(path, RTLD_LAZY + RTLD_GLOBAL) ~= nil, "cannot open " .. path)
return ffi.load(path)
