--- Who may follow channels besides those with credentials in a field, and where a token may be.
require "support.library"
local channels = require "veloflux.admin.channels"

local function configure(anonymous)
  channels.configure { max_clients = 10, ping = 1000, queue = 1000, anonymous = anonymous }
end

describe("channels on the admin address", function()
  it("let strangers follow what is for users, while the settings say so", function()
    local request = { headers = {} }
    configure(false)
    assert.is_nil(channels.stranger(request, "user"))
    configure(true)
    local stranger = channels.stranger(request, "user")
    assert.equal("anonymous", stranger.name)
    assert.is_true(stranger.can "user")
    assert.is_false(stranger.can "admin")
    assert.is_true(stranger.is_valid())
    assert.is_nil(channels.stranger(request, "admin"))
    assert.is_nil(channels.stranger({ headers = { authorization = "Basic x" } }, "user"))
    assert.is_nil(channels.stranger({ headers = { ["x-api-key"] = "vfk_x" } }, "user"))
    configure(false)
    assert.is_false(stranger.is_valid())
  end)

  it("take a token from a parameter or a cookie, when there is no field", function()
    local function token_of(query, cookie, authorization)
      local request = { query = query, headers = { cookie = cookie, authorization = authorization } }
      channels.take_token(request)
      return request.headers.authorization
    end
    assert.equal("Bearer a.b-c_d", token_of("since=1&token=a.b-c_d"))
    assert.equal("Bearer eyJ.x/y+z=", token_of("token=eyJ.x%2Fy%2Bz%3D"))
    assert.equal("Bearer abc", token_of("", "x=1; auth_token=abc; y=2"))
    assert.equal("Bearer abc", token_of(nil, "auth_token=abc"))
    assert.equal("Bearer abc", token_of(nil, "vf_auth_token=abc; b=c"))
    assert.equal("Bearer abc", token_of(nil, "vf_auth_token=def; auth_token=abc"))
    assert.equal("Basic x", token_of("token=abc", "auth_token=abc", "Basic x"))
    for _, query in ipairs { "", "token", "token=", "token=a%20b", "token=%0d%0aX: y", "tokens=abc" } do
      assert.is_nil(token_of(query))
    end
    assert.is_nil(token_of("", "auth_token=; my_auth_token=abc"))
    local request = { query = "", headers = { ["sec-websocket-protocol"] = "veloflux, bearer.vfk_0a_x-y" } }
    channels.take_token(request)
    assert.equal("Bearer vfk_0a_x-y", request.headers.authorization)
  end)
end)
