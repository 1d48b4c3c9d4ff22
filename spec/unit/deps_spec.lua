local loop = require "support.loop"
local tempdir = require "support.tempdir"

local HOOKS = "src/tls/accel/mbedtls_config.h"
local CONFIG, GCM = "src/tls/mbedtls_config.h", "src/tls/accel/gcm_alt.h"

describe("scripts/deps.sh --check-variant", function()
  local folder

  --- Puts the headers and the library of an mbedTLS below `prefix`.
  local function install(prefix, config, gcm)
    tempdir.write(folder .. prefix .. "/include/mbedtls/mbedtls_config.h", "#define DEFAULTS\n" .. config)
    if gcm then tempdir.write(folder .. prefix .. "/include/mbedtls/gcm_alt.h", gcm) end
    tempdir.write(folder .. prefix .. "/lib/libmbedtls.a", "")
  end

  local function check(accel)
    local pipe = assert(io.popen(("TLS_ACCEL=%d bash %s/scripts/deps.sh --check-variant 2>&1 && echo fits")
      :format(accel, folder)))
    local said = pipe:read "*a"
    pipe:close()
    return said
  end

  local function refusal(accel)
    return ("deps: error: the mbedTLS in build/deps is not built for this source with TLS_ACCEL=%d: "):format(accel)
      .. ("run 'make deps TLS_ACCEL=%d'\n"):format(accel)
  end

  --- Makes a spec that runs in a folder of its own, with the script and our configuration.
  local function in_folder(body)
    return loop.spec(function()
      folder = tempdir.new()
      for _, path in ipairs { "scripts/deps.sh", CONFIG, HOOKS, GCM } do
        tempdir.write(folder .. "/" .. path, tempdir.read(path))
      end
      body()
    end)
  end

  it("takes headers that end with the configuration of the variant", in_folder(function()
    install("/build/deps", tempdir.read(CONFIG) .. tempdir.read(HOOKS), tempdir.read(GCM))
    install("/build/deps/plain", tempdir.read(CONFIG))
    assert.equal("fits\n", check(1))
    assert.equal("fits\n", check(0))
  end))

  it("refuses those of the other variant", in_folder(function()
    install("/build/deps", tempdir.read(CONFIG))
    install("/build/deps/plain", tempdir.read(CONFIG) .. tempdir.read(HOOKS), tempdir.read(GCM))
    assert.equal(refusal(1), check(1))
    assert.equal(refusal(0), check(0))
  end))

  it("refuses what is not there, or was made for another source", in_folder(function()
    assert.equal(refusal(1), check(1))
    install("/build/deps", tempdir.read(CONFIG) .. tempdir.read(HOOKS), tempdir.read(GCM) .. "/* older */\n")
    assert.equal(refusal(1), check(1))
    assert.equal(refusal(0), check(0))
  end))
end)

describe("the LuaJIT of scripts/deps.sh", function()
  it("hashes strings as LuaJIT does: those that are alike where it looks at first are told apart by all they have",
    function()
      local library = assert(tempdir.read "build/deps/lib/libluajit-5.1.a")
      assert.is_truthy(library:find("hash_dense_def", 1, true))
      assert.is_nil(library:find("hash_dense_sse42", 1, true))
    end)
end)
