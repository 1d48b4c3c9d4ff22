local fixture = require "unit.conf.fixture"
local crypto = require "veloflux.pdk.crypto"
local encoding = require "veloflux.pdk.encoding"
local keys = require "veloflux.keys"
local tempdir = require "support.tempdir"
local uv = require "luv"

describe("keys", function()
  local folder
  before_each(function() folder = fixture.folder {} end)
  after_each(function() fixture.remove(folder) end)

  it("are made once, for us alone", function()
    local node = { data_dir = folder .. "/deep/er" }
    local first = assert(keys.master(node))
    assert.equal(32, #first)
    assert.equal(first, keys.master(node))
    assert.equal(tonumber("600", 8), uv.fs_stat(node.data_dir .. "/master.key").mode % 512)
    assert.equal(keys.sticky(node), keys.sticky(node))
  end)

  it("come from the setting when there is one", function()
    assert.equal("sixteen bytes ok", keys.master { master_key = "sixteen bytes ok", data_dir = "/nonexistent" })
  end)

  it("are derived by HMAC-SHA-256", function() -- RFC 4231, test case 2
    local digest = keys.derive("Jefe", "what do ya want for nothing?")
    local hex = digest:gsub(".", function(c) return ("%02x"):format(c:byte()) end)
    assert.equal("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843", hex)
  end)

  local function put(text, mode)
    local path = folder .. "/master.key"
    local file = assert(io.open(path, "wb"))
    file:write(text)
    file:close()
    assert(uv.fs_chmod(path, tonumber(mode or "600", 8)))
    return path
  end

  it("are refused when the file is none", function()
    local path = put "short"
    local key, problem = keys.master { data_dir = folder }
    assert.is_nil(key)
    assert.equal(path .. ": expected 32 bytes, or lines of 64 hexadecimal digits or of their Base64, got 5 bytes",
      problem)
    put(("k"):rep(32), "640")
    assert.equal(path .. ": others may read it, its mode is 0640: chmod 600",
      (select(2, keys.master { data_dir = folder })))
    assert.is_nil((keys.master { data_dir = "/proc/nope" }))
  end)

  it("seal, and open what any of them has sealed", function()
    local node = { data_dir = folder }
    local seal = keys.sealer(node)
    local ring = assert(keys.ring(node))
    local first = seal "secret"
    assert.is_true(keys.is_sealed_by(first, ring.keys[1].id))
    assert(keys.generate(ring))
    local second = seal "secret"
    assert.equal(2, #ring.keys)
    assert.is_true(keys.is_sealed_by(second, ring.keys[1].id))
    assert.is_false(keys.is_sealed_by(first, ring.keys[1].id))
    keys.reset() -- another process
    local unseal
    seal, unseal = keys.sealer(node)
    assert.same({ "secret", "secret" }, { unseal(first), unseal(second) })
    assert.is_nil(unseal(second:gsub("..$", "00")))
    assert.is_nil(unseal "abc")
    assert.is_string(seal "x")
  end)

  it("open what was sealed before they had ids", function()
    local node = { data_dir = folder }
    local cipher = assert(crypto.aes_gcm(keys.derive(assert(keys.master(node)), "veloflux sealed text")))
    local _, unseal = keys.sealer(node)
    assert.equal("old", unseal(crypto.hex_encode(cipher:seal "old")))
  end)

  it("are kept in one file, which says until when one is needed, and forgotten one by one", function()
    local node = { data_dir = folder }
    local ring = assert(keys.ring(node))
    local old = ring.keys[1].id
    assert(keys.generate(ring))
    assert(keys.outdate(ring, 17, 1234))
    keys.reset()
    ring = assert(keys.ring(node))
    assert.same({ old, 17, 1234 }, { ring.keys[2].id, ring.keys[2].until_version, ring.keys[2].at_ms })
    assert.is_nil(ring.keys[1].until_version)
    assert(keys.outdate(ring, 99, 9999))
    assert.equal(17, ring.keys[2].until_version)
    assert(keys.forget(ring, old))
    assert.equal(1, #ring.keys)
    assert.has_error(function() keys.forget(ring, ring.keys[1].id) end)
  end)

  it("come from a file, a variable or a command, in front of those of data_dir", function()
    local _, unseal_old = keys.sealer { data_dir = folder }
    local old = (keys.sealer { data_dir = folder }) "old"
    assert.equal("old", unseal_old(old))
    local hex = ("0f"):rep(32)
    local file = folder .. "/other.key"
    local handle = assert(io.open(file, "wb"))
    handle:write("# of the vault\n", hex, "\n", crypto.hex_encode(("x"):rep(32)), "\n")
    handle:close()
    assert(uv.fs_chmod(file, tonumber("400", 8)))
    uv.os_setenv("SPEC_KEY", encoding.base64_encode(("\15"):rep(32)))
    for _, setting in ipairs { { file = file }, { env = "SPEC_KEY" },
      { command = "cat " .. file, timeout = 10000 }, { command = { "cat", file }, timeout = 10000 } } do
      local node = { data_dir = folder, master_key = setting }
      assert.equal(("\15"):rep(32), (assert(keys.master(node))))
      local seal, unseal = keys.sealer(node)
      assert.equal("old", unseal(old))
      assert.is_nil(unseal_old(seal "new"))
    end
    uv.os_unsetenv "SPEC_KEY"
  end)

  it("say what is wrong with where they come from, and never what it said", function()
    local function problem(setting)
      keys.reset()
      local key, message = keys.master { data_dir = folder, master_key = setting }
      assert.is_nil(key)
      assert.is_nil(message:find("s3cret", 1, true), message)
      return message
    end
    assert.matches("/none: cannot be read %(error 2%)", problem { file = folder .. "/none" })
    assert.matches("the variable NO_SUCH_KEY is not set", problem { env = "NO_SUCH_KEY" })
    local function command(what, timeout) return problem { command = what, timeout = timeout or 10000 } end
    assert.equal("master_key.command: it ended with exit code 3", command "echo s3cret; exit 3")
    assert.matches("its output is no key: expected 32 bytes, .*got 7 bytes", command "echo s3cret")
    assert.equal("master_key.command: it was ended by signal 15", command "kill -TERM $$")
    assert.matches("cannot be started %(error 2%)", command { "/no/such/program" })
    assert.equal("master_key.command: it took longer than 50 ms and was ended",
      command("cat /dev/zero | sleep 1000", 50))
    assert.matches("writes too much", command "cat /dev/zero")
    assert.matches("no key", command "true")
  end)

  it("of a command are asked for without waiting", function()
    local due, message = {}, "none"
    local alarms = { after = function(_, fn) due[#due + 1] = fn end }
    local node = { data_dir = folder, master_key = { command = "printf %064d 7", timeout = 10000 } }
    keys.refresh(node, alarms, function(problem) message = problem end)
    while due[1] do table.remove(due, 1)() end
    assert.is_nil(message)
    assert.equal(("\0"):rep(31) .. "\7", (keys.master(node)))
    node.master_key = { command = "exit 9", timeout = 10000 }
    keys.refresh(node, alarms, function(problem) message = problem end)
    while due[1] do table.remove(due, 1)() end
    assert.equal("master_key.command: it ended with exit code 9", message)
    assert.equal(message, (select(2, keys.master(node)))) -- it is not run again to see that
  end)

  it("are found at a start that cannot read the conf", function()
    local file = folder .. "/other.key"
    local handle = assert(io.open(file, "wb"))
    handle:write(("f"):rep(32))
    handle:close()
    assert(uv.fs_chmod(file, tonumber("600", 8)))
    for _, setting in ipairs { { file = file }, "sixteen bytes ok" } do
      local node = { data_dir = folder, master_key = setting }
      assert(keys.remember(node))
      keys.reset()
      assert.equal(keys.master(node), keys.master(keys.remembered(folder)))
      assert.is_nil(tostring(tempdir.read(folder .. "/master.key.source")):find("sixteen", 1, true))
    end
    assert(keys.remember { data_dir = folder })
    assert.same({ data_dir = folder }, keys.remembered(folder))
  end)
end)
