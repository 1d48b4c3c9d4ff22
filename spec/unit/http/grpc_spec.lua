--- What gRPC clients are told: content types, statuses, messages.
local ffi = require "ffi"

ffi.cdef [[
struct vf_str { const char *data; size_t len; };
struct vf_arena { void *chunks; char *next; size_t left; };
void vf_arena_deinit(struct vf_arena *arena);
bool vf_grpc_is_content_type(struct vf_str value);
struct vf_str vf_grpc_status(uint32_t http_status);
struct vf_str vf_grpc_message(struct vf_arena *arena, struct vf_str text);
]]
local lib = ffi.load(os.getenv "VF_LIBRARY" or "build/libveloflux.so")

local function str(text) return ffi.new("struct vf_str", text, #text) end

describe("gRPC", function()
  for value, expected in pairs {
    ["application/grpc"] = true, ["Application/gRPC+proto"] = true, ["application/grpc; a=b"] = true,
    ["application/grpc-web"] = false, ["application/grpcx"] = false, ["application/grp"] = false, [""] = false,
  } do
    it(("%s by %q"):format(expected and "is asked" or "is not asked", value), function()
      assert.equal(expected, lib.vf_grpc_is_content_type(str(value)))
    end)
  end

  it("has a status for each of HTTP", function()
    for http, status in pairs { [400] = 13, [401] = 16, [403] = 7, [404] = 12, [429] = 14, [502] = 14, [503] = 14,
      [504] = 14, [405] = 2, [413] = 2, [500] = 2 } do
      local text = lib.vf_grpc_status(http)
      assert.equal(tostring(status), ffi.string(text.data, text.len))
    end
  end)

  for text, expected in pairs { [""] = "", ["all is well."] = "all is well.",
    ["100 %\r\n\195\164"] = "100 %25%0D%0A%C3%A4" } do
    it(("says %q as %q"):format(text, expected), function()
      local arena = ffi.new "struct vf_arena"
      local message = lib.vf_grpc_message(arena, str(text))
      assert.equal(expected, ffi.string(message.data, message.len))
      lib.vf_arena_deinit(arena)
    end)
  end
end)
