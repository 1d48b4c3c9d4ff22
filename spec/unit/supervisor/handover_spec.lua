--- What a probe makes of a handover table. That a table carries everything over is shown by the upgrades in
-- spec/integration/processes_upgrade_spec.lua.
local ffi = require "ffi"
local lib = ffi.load(os.getenv "VF_LIBRARY" or "build/libveloflux.so")

ffi.cdef [[
int vf_supervisor_probe(int table_fd, char *conf, size_t conf_bytes, int *conf_fd);
int memfd_create(const char *name, unsigned flags);
long write(int, const void *, size_t);
int close(int);
]]

local EPROTO = 71
local HOUSE = "house 1 12 3 7 0 2\n"

-- Returns what the probe says of a table: 0, the path of the conf and where its text is; or an error.
local function probe(text)
  local fd = ffi.C.memfd_create("table", 0)
  ffi.C.write(fd, text, #text)
  local conf, conf_fd = ffi.new "char[64]", ffi.new "int[1]"
  local rc = lib.vf_supervisor_probe(fd, conf, 64, conf_fd)
  ffi.C.close(fd)
  if rc < 0 then return rc end
  return rc, ffi.string(conf), conf_fd[0]
end

describe("a handover table", function()
  it("says where the conf is", function()
    assert.same({ 0, "/etc/a file.yaml", -1 },
      { probe("veloflux-handover 1\n" .. HOUSE .. "conf_fd -1\nconf /etc/a file.yaml\nend\n") })
    assert.same({ 0, "command line", 4 },
      { probe("veloflux-handover 1\n" .. HOUSE .. "conf_fd 9\nconf command line\nend\n") })
  end)

  it("may have lines that this version does not know", function()
    assert.equal(0, (probe("veloflux-handover 1\nnovelty 1 2 3\nalone\n" .. HOUSE .. "conf x\nend\n")))
  end)

  it("says of each port whether connections to it may wait for their first bytes", function()
    ffi.cdef "int spec_hand_over(int may_defer, uint64_t *deferred);"
    local spec, deferred = require("support.native").load "handover", ffi.new "uint64_t[1]"
    assert.equal(1, spec.spec_hand_over(1, deferred))
    assert.equal(0, tonumber(deferred[0]))
    assert.equal(0, spec.spec_hand_over(0, deferred)) -- bytes are passed on: not one of the two sockets
    assert.equal(3, tonumber(deferred[0]))
  end)

  it("is refused when it is of another format, cut short or damaged", function()
    for _, text in ipairs {
      "", "end\n", "veloflux-handover 2\n" .. HOUSE .. "conf x\nend\n", "veloflux-handover 1\n" .. HOUSE .. "conf x\n",
      "veloflux-handover 1\n" .. HOUSE .. "end\n", "veloflux-handover 1\nhouse 1 2\nconf x\nend\n",
      "veloflux-handover 1\nhouse 1 12 3 7 0 65\nconf x\nend\n", "veloflux-handover 1\nconf_fd none\nconf x\nend\n",
    } do
      assert.equal(-EPROTO, (probe(text)), text)
    end
  end)
end)
