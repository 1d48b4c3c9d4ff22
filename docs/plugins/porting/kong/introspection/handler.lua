local kong = kong
local type, ipairs = type, ipairs

local Introspection = { PRIORITY = 1700, VERSION = "1.0.3" }

local function bearer()
  local header = kong.request.get_header "Authorization"
  return header and header:match "^[Bb]earer%s+(.+)$" or kong.request.get_query_arg "access_token"
end

-- What an introspection endpoint would say; nil is cached, too.
local function introspect(conf, token)
  kong.log.debug("asking about a token of ", #token, " bytes")
  for _, known in ipairs(conf.tokens) do
    if known.token == token then return { sub = known.sub, scope = known.scopes } end
  end
  return nil
end

local function set_anonymous(conf)
  local consumer, err = kong.client.load_consumer(conf.anonymous, true)
  if err then return error(err) end
  kong.client.authenticate(consumer, nil)
  kong.service.request.set_header("X-Anonymous-Consumer", "true")
end

function Introspection:access(conf)
  if conf.run_on_preflight == false and kong.request.get_method() == "OPTIONS" then return end
  local token = bearer()
  if type(token) ~= "string" then
    if conf.anonymous then return set_anonymous(conf) end
    return kong.response.exit(401, { message = "Unauthorized" }, { ["WWW-Authenticate"] = "Bearer" })
  end

  local key = "introspection:" .. token
  if kong.request.get_path() == conf.logout_path then
    kong.cache:invalidate(key)
    return kong.response.exit(204)
  end

  local claims, err, hit_level = kong.cache:get(key, { ttl = conf.ttl, neg_ttl = 5 }, introspect, conf, token)
  if err then
    kong.log.err(err)
    return kong.response.error(500)
  end
  if not claims then return kong.response.error(401, "The token is not active") end

  kong.client.authenticate(nil, { id = claims.sub })
  kong.ctx.shared.authenticated_groups = claims.scope
  kong.service.request.set_headers { ["X-Userinfo"] = claims.sub, ["X-Scopes"] = claims.scope,
    ["X-Hit-Level"] = hit_level }
  kong.service.request.clear_header "Authorization"
  kong.service.request.clear_query_arg "access_token"
end

return Introspection
