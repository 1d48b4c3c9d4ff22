local ffi = require "ffi"
local library = require "support.library"
local uv = require "luv"
local administrators = require "veloflux.admin.administrator"
local auths = require "veloflux.admin.auth"

ffi.cdef "int vf_password_verify(const char *encoded, const char *password, size_t len);"

local calls
local function verify(encoded, password)
  calls = calls + 1
  return library.vf_password_verify(encoded, password, #password) == 0
end

local function account(auth, data_dir)
  local settings = { enabled = true, username = "admin", password = "" }
  for name, value in pairs(auth or {}) do settings[name] = value end
  local administrator = administrators.new(verify)
  administrator:configure(settings, data_dir or "/nonexistent")
  return administrator
end

local function with_folder(body)
  return function()
    local folder = assert(uv.fs_mkdtemp "/tmp/veloflux-admin-XXXXXX")
    local ok, err = xpcall(body, debug.traceback, folder)
    os.remove(folder .. "/admin-password")
    uv.fs_rmdir(folder)
    if not ok then error(err, 0) end
  end
end

local function hash(password)
  local encoded = ffi.new "char[128]"
  assert.equal(0, library.vf_password_hash(password, #password, encoded))
  return ffi.string(encoded)
end

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

describe("passwords", function()
  it("are hashed with Argon2id and a salt of their own", function()
    local first, second = hash "secret", hash "secret"
    assert.is_truthy(first:match "^%$argon2id%$v=19%$m=19456,t=2,p=1%$")
    assert.not_equal(first, second)
    assert.is_true(#first < 128)
    assert.equal(0, library.vf_password_verify(first, "secret", 6))
    assert.equal(-13, library.vf_password_verify(first, "Secret", 6))
    assert.equal(-22, library.vf_password_verify("$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA", "x", 1))
    assert.equal(-22, library.vf_password_verify("plain", "plain", 5))
    local tail = "$" .. ("A"):rep(22) .. "$" .. ("A"):rep(43)
    local function of(costs) return library.vf_password_verify("$argon2id$v=19$" .. costs .. tail, "x", 1) end
    assert.equal(-13, of "m=65536,t=3,p=4")
    for _, costs in ipairs { "m=262145,t=1,p=1", "m=8192,t=129,p=1", "m=8,t=4294967295,p=1", "m=256,t=1,p=17" } do
      assert.equal(-22, of(costs), costs) -- each wrong password would cost that
    end
  end)
end)

describe("administrator", function()
  before_each(function() calls = 0 end)

  it("with a password of the conf needs no hash", function()
    local administrator = account { username = "root", password = "secret" }
    assert.is_true(administrator:is_usable())
    assert.is_true(administrator:check("root", "secret"))
    assert.is_false(administrator:check("root", "secre"))
    assert.is_false(administrator:check("root", ""))
    assert.is_false(administrator:check("admin", "secret"))
    assert.equal(0, calls)
  end)

  it("is compared with its hash once, then remembered", with_folder(function(folder)
    write(folder .. "/admin-password", hash "secret" .. "\n")
    local administrator = account({}, folder)
    assert.is_true(administrator:check("admin", "secret"))
    assert.is_true(administrator:check("admin", "secret"))
    assert.is_true(administrator:check("admin", "secret"))
    assert.equal(1, calls)
    assert.is_false(administrator:check("admin", "wrong"))
    assert.is_false(administrator:check("admin", "wrong"))
    assert.equal(3, calls)
  end))

  it("is not remembered beyond a change of the password", with_folder(function(folder)
    write(folder .. "/admin-password", hash "secret")
    local administrator = account({}, folder)
    assert.is_true(administrator:check("admin", "secret"))
    write(folder .. "/admin-password", hash "other")
    administrator:configure({ enabled = true, username = "admin", password = "" }, folder)
    assert.is_false(administrator:check("admin", "secret"))
    assert.is_true(administrator:check("admin", "other"))
  end))

  it("passes on that too many comparisons are under way", with_folder(function(folder)
    write(folder .. "/admin-password", hash "secret")
    local administrator = administrators.new(function() return nil end)
    administrator:configure({ enabled = true, username = "admin", password = "" }, folder)
    assert.is_nil(administrator:check("admin", "secret"))
  end))

  it("gets a password when there is none, in a file of its own", with_folder(function(folder)
    local administrator = account({}, folder)
    assert.is_true(administrator:is_usable())
    local info = uv.fs_stat(folder .. "/admin-password")
    assert.equal(tonumber("600", 8), require("bit").band(info.mode, tonumber("777", 8)))
  end))

  it("cannot log in when the file is broken, nor when it cannot be made", with_folder(function(folder)
    write(folder .. "/admin-password", "secret\n")
    assert.is_false(account({}, folder):is_usable())
    assert.is_false(account({}, "/nonexistent"):is_usable())
  end))
end)

describe("authentication", function()
  local now
  local function auth_of(administrator) return auths.new(administrator, function() return now end) end
  local function request(field, client)
    return { client = client or "10.0.0.1", headers = { authorization = field } }
  end
  local right = "Basic YWRtaW46c2VjcmV0" -- admin:secret
  local wrong = "Basic YWRtaW46d3Jvbmc="

  before_each(function() now, calls = 100, 0 end)

  it("tells who asks and what they may", function()
    local identity = auth_of(account { password = "secret" }):identify(request(right))
    assert.equal("admin", identity.name)
    assert.equal("basic", identity.method)
    assert.is_true(identity.can "anything")
  end)

  it("knows the scheme in any case, and passwords with colons", function()
    local auth = auth_of(account { password = "a:b" })
    assert.is_table((auth:identify(request "bAsIc   YWRtaW46YTpi ")))
  end)

  it("trusts control.sock, and everybody when it is off", function()
    local auth = auth_of(account { password = "secret" })
    assert.equal("local", auth:identify({ is_local = true, headers = {}, client = "local" }).name)
    auth.is_enabled = false
    assert.equal("anonymous", auth:identify(request(nil)).name)
  end)

  it("asks who brings nothing, without counting that", function()
    local auth = auth_of(account { password = "secret" })
    for _ = 1, 10 do
      local identity, problem = auth:identify(request(nil))
      assert.is_nil(identity)
      assert.equal(401, problem.status)
    end
    assert.is_table((auth:identify(request(right))))
  end)

  it("locks out who guesses, with right credentials too, and nobody else", function()
    local auth = auth_of(account { password = "secret" })
    for i = 1, 5 do
      local _, problem = auth:identify(request(wrong))
      assert.equal(i < 5 and 401 or 429, problem.status)
    end
    local _, locked = auth:identify(request(right))
    assert.equal(429, locked.status)
    assert.same({ "Retry-After", "30" }, locked.headers)
    assert.is_table((auth:identify(request(right, "10.0.0.2"))))
    now = now + 31
    assert.is_table((auth:identify(request(right))))
  end)

  it("answers 503 while there is no password at all", function()
    local _, problem = auth_of(account({}, "/nonexistent")):identify(request(right))
    assert.equal(503, problem.status)
  end)

  it("takes further methods", function()
    local auth = auth_of(account { password = "secret" })
    auth:add { scheme = "bearer", identify = function(token) return token == "t" and { name = "tool" } or nil end }
    assert.equal("tool", auth:identify(request "Bearer t").name)
    local _, problem = auth:identify(request "Bearer x")
    assert.equal(401, problem.status)
    assert.has_error(function() auth:add { scheme = "basic", identify = print } end, "scheme taken: basic")
  end)
end)
