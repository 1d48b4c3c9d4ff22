--- Processes that are killed inside a shared dictionary, and what the others find.
local uv = require "luv"
local loop = require "support.loop"
local peers = require "support.peer"
local dictionary = require "unit.snapshot.dictionary"

local lib, create = dictionary.lib, dictionary.create
local OK = lib.VF_DICT_OK

describe("a killed process", function()
  local CODE = [[
    local ffi = require "ffi"
    local fixture, path, seed = require "unit.snapshot.shared_fixture", ...
    local lib = fixture.lib
    local c = lib.vf_dicts_at(ffi.cast("struct vf_dicts *", fixture.map(path)), 0)
    math.randomseed(tonumber(seed))
    local value, n, init = ffi.new "struct vf_dict_value", ffi.new "double[1]", ffi.new "double[1]"
    local text, buffer = ("v"):rep(30000), ffi.new "char[30000]"
    print "working"
    while true do
      local key, call = "key" .. math.random(40), math.random(8)
      if call <= 4 then
        value.type, value.data, value.len = lib.VF_DICT_STRING, text, math.random(0, call <= 2 and 30000 or 300)
        lib.vf_dict_set(c, key, #key, value, 0, 1, 0, nil)
      elseif call == 5 then
        lib.vf_dict_delete(c, key, #key, 1)
      elseif call == 6 then
        value.type, value.data, value.len = lib.VF_DICT_STRING, text, math.random(0, 300)
        lib.vf_dict_push(c, "list", 4, math.random(0, 1), value, 1, nil)
      elseif call == 7 then
        lib.vf_dict_pop(c, "list", 4, math.random(0, 1), 1, buffer, 30000, value)
      else
        lib.vf_dict_incr(c, "number" .. math.random(5), 7, 7, init, 0, 1, n)
      end
    end]]

  it("leaves a whole dictionary and others that go on", loop.spec(function()
    local dict, _, path, close = create(256 * 1024)
    loop.defer(close)
    local kills = 0
    while dict:info().repairs < 25 and kills < 2000 do
      kills = kills + 1
      local victim = peers.start(CODE, path, tostring(kills))
      victim:wait_line(victim.stdout, "working")
      local moment = lib.vf_clock_ns() + math.random(0, 2000000)
      while lib.vf_clock_ns() < moment do end -- without a touch of the lock: then it would wait for us
      uv.kill(victim.pid, "sigkill")
      victim:wait_exit()
      assert.is_true(dict:is_whole())
    end
    local info = dict:info()
    assert.is_true(info.repairs >= 25, ("%d repairs after %d kills"):format(info.repairs, kills))
    assert.equal(0, info.emptied) -- what a kill leaves can always be undone
    assert.is_true(info.lost <= info.repairs)
    for i = 1, 40 do
      local found = dict:get("key" .. i)
      assert.equal(found, found and ("v"):rep(#found))
    end
    for i = 1, 5 do
      local found = dict:get("number" .. i)
      assert.equal(0, found and found % 7 or 0)
    end
    assert.equal(OK, (dict:set("k", "works")))
    assert.equal("works", (dict:get "k"))
  end))

  it("costs a shard that does not add up everything in it, and nothing else", loop.spec(function()
    local dict, _, path, close = create(65536)
    loop.defer(close)
    for i = 1, 10 do dict:set("k" .. i, i) end
    -- no code of ours does this: the first chunk refers to itself while the lock is held
    local holder = peers.start([[
      local ffi = require "ffi"
      local fixture, path = require "unit.snapshot.shared_fixture", ...
      local c = fixture.lib.vf_dicts_at(ffi.cast("struct vf_dicts *", fixture.map(path)), 0)
      ffi.cdef "int pthread_mutex_lock(void *);"
      local shard = ffi.cast("char *", c) + 4096
      assert(ffi.C.pthread_mutex_lock(shard) == 0)
      local words = ffi.cast("uint32_t *", shard)
      for at = 64, 16000 do if words[at] ~= 0 and words[at] < 20 then words[at] = 3 end end
      print "broken"
      stay()]], path)
    holder:wait_line(holder.stdout, "broken")
    holder:kill()
    assert.is_nil(dict:get "k1")
    assert.is_true(dict:is_whole())
    assert.same({ 1, 1, 0 }, { dict:info().repairs, dict:info().emptied, dict:info().entries })
    dict:set("k1", "again")
    assert.equal("again", (dict:get "k1"))
  end))
end)
