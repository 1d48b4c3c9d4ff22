--- References to secrets: how they are read (veloflux/vault.lua), and what plugins get of them.
local ffi = require "ffi"
local log = {}
package.loaded["veloflux.runtime.report"] = { WARN = 2, write = function(...) log[#log + 1] = { ... } end }
local vault = require "veloflux.pdk.vault"

ffi.cdef "int setenv(const char *, const char *, int); int unsetenv(const char *);"

local function setenv(name, value)
  if value then ffi.C.setenv(name, value, 1) else ffi.C.unsetenv(name) end
end

describe("references", function()
  it("are told from other texts", function()
    for _, text in ipairs { "{vault://env/x}", "{vault://file/x/y}", "{file:/x}", "{vault://nothing}" } do
      assert.is_true(vault.is_reference(text))
    end
    for _, text in ipairs { "", "vault://env/x", "{vault://}", "{file:x}", "x{vault://env/x}", "{vault://env/x} " } do
      assert.is_false(vault.is_reference(text))
    end
    assert.is_false(vault.is_reference(nil))
    assert.is_false(vault.is_reference {})
  end)

  it("are read", function()
    local function parsed(text) return (assert(vault.parse_reference(text))) end
    assert.same({ name = "env", resource = "name" }, parsed "{vault://env/name}")
    assert.same({ name = "env", resource = "cert", key = "key", version = 1, config = { prefix = "SSL_" } },
      parsed "{vault://env/cert/key?prefix=SSL_#1}")
    assert.same({ name = "env", resource = "a b", key = "c/d", config = { x = true } },
      parsed "{vault://env/a%20b/c%2Fd?x}")
    assert.same({ name = "other", resource = "x", version = 12 }, parsed "{vault://other/x#12}")
    assert.same({ name = "file", resource = "/run/secrets/x" }, parsed "{vault://file/run/secrets/x}")
    assert.same({ name = "file", resource = "/run/secrets/x" }, parsed "{file:/run/secrets/x}")
    for _, text in ipairs { "{vault://env}", "{vault://env/}", "{vault://env//}", "{vault:///x}" } do
      local got, err = vault.parse_reference(text)
      assert.is_nil(got)
      assert.matches("expected {vault://", err)
    end
    assert.same({ name = "env", resource = "a/b", key = "c" }, parsed "{vault://env/a/b/c}")
    assert.same({ name = "env", resource = "a" }, parsed "{vault://env/a/}")
    assert.same({ nil, "{vault://env/a#new}: the version is no number" },
      { vault.parse_reference "{vault://env/a#new}" })
    for _, value in ipairs { "x", {}, 1, false } do
      assert.same({ nil, "not a reference: expected {vault://NAME/RESOURCE}" }, { vault.parse_reference(value) })
      assert.same({ nil, "not a reference: expected {vault://NAME/RESOURCE}" }, { vault.get(value) })
    end
  end)
end)

describe("pdk.vault", function()
  before_each(function()
    setenv("SPEC_SECRET", "hidden")
    setenv("SPEC_OBJECT", '{"user":"ana","port":5432,"deep":{},"none":null,"on":true}')
  end)

  after_each(function()
    setenv("SPEC_SECRET")
    setenv("SPEC_OBJECT")
  end)

  it("finds variables", function()
    assert.equal("hidden", vault.get "{vault://env/SPEC_SECRET}")
    assert.equal("hidden", vault.get "{vault://env/spec-secret}")
    assert.equal("hidden", vault.get "{vault://env/secret?prefix=spec-}")
    assert.equal("ana", vault.get "{vault://env/spec-object/user}")
    assert.equal("5432", vault.get "{vault://env/spec-object/port}")
    assert.equal("true", vault.get "{vault://env/spec-object/on}")
    setenv("SPEC_SECRET_PREVIOUS", "before")
    assert.same({ "hidden", "before", "hidden" }, { vault.get "{vault://env/spec-secret#1}",
      vault.get "{vault://env/spec-secret#2}", vault.get "{vault://env/spec-secret#3}" })
    setenv("SPEC_SECRET_PREVIOUS")
  end)

  it("says what is wrong, without the secret", function()
    local function expect(message, reference) assert.same({ nil, message }, { vault.get(reference) }) end
    expect("the environment variable SPEC_NONE is not set", "{vault://env/spec-none}")
    for _, key in ipairs { "other", "deep", "none" } do
      expect(('the environment variable SPEC_OBJECT has no text under "%s"'):format(key),
        "{vault://env/spec-object/" .. key .. "}")
    end
    expect("the environment variable SPEC_SECRET is no JSON object", "{vault://env/spec-secret/x}")
    expect('there is no vault "hcv": expected env or file', "{vault://hcv/x}")
    expect("the environment variable VF_MASTER_KEY is the node's own", "{vault://env/vf-master-key}")
    expect("the environment variable API_PASSWORD is the node's own", "{vault://env/password?prefix=api-}")
    for _, reference in ipairs { "{vault://file/etc/hostname}", "{file:/etc/hostname}" } do
      local value, err = vault.get(reference)
      assert.is_nil(value)
      assert.matches("^files are not read in a worker: write the reference into the configuration", err)
    end
  end)

  it("updates fields from their references", function()
    local options = { password = "old", kept = "kept", nested = { user = "old" },
      ["$refs"] = { password = "{vault://env/spec-secret}", kept = "{vault://env/spec-none}",
        nested = { user = "{vault://env/spec-object/user}" }, fresh = { port = "{vault://env/spec-object/port}" } } }
    assert.is_true(vault.update(options) == options)
    assert.same({ "hidden", "kept", "ana", "5432" },
      { options.password, options.kept, options.nested.user, options.fresh.port })
    assert.same({ "vault.failed", "field", "kept" }, { unpack(log[#log], 2, 4) })
    local deep = { redis = { { password = "old", ["$refs"] = { password = "{vault://env/spec-secret}" } } } }
    assert.equal("hidden", vault.update(deep).redis[1].password)
    local plain = { password = "x" }
    assert.is_true(vault.update(plain) == plain)
  end)

  it("tries again with fresh secrets", function()
    local options = { password = "old", ["$refs"] = { password = "{vault://env/spec-secret}" } }
    local seen = {}
    local function connect(given)
      seen[#seen + 1] = given.password
      if given.password ~= "new" then
        setenv("SPEC_SECRET", "new") -- as somebody does meanwhile
        return nil, "denied"
      end
      return "connected", "more"
    end
    assert.same({ "connected", "more" }, { vault.try(connect, options) })
    assert.same({ "hidden", "new" }, seen)
    assert.same({ "connected" }, { vault.try(connect, options) })
    assert.equal(3, #seen)
    local calls = 0
    local function fail()
      calls = calls + 1
      return nil, "denied"
    end
    assert.same({ nil, "denied" }, { vault.try(fail, { redis = options }) })
    assert.equal(2, calls)
    assert.same({ nil, "denied" }, { vault.try(fail) })
    assert.same({ nil, "denied" }, { vault.try(fail, {}) })
    assert.same({ nil, "denied" }, { vault.try(fail, { ["$refs"] = {} }) })
    assert.equal(5, calls)
  end)

  it("raises for what makes no sense", function()
    assert.equal("x", vault.update "x")
    assert.has_error(function() vault.try {} end, "vault.try: expected a function, got table")
    assert.has_error(function() vault.try(print, "x") end)
  end)
end)
