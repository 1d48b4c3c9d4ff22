local periods = require "veloflux.plugins.rate-limiting.periods"
local typedefs = require "kong.db.schema.typedefs"

local MOST = 4294967295 -- what a counter holds
local LONGEST_S = 2 ^ 52 / 1e9 -- how far ahead of their time requests may be counted
local LIMIT_BY = { "consumer", "credential", "ip", "service", "header", "path", "route", "tenant" }

local function is_policy(name)
  if name == "local" or name == "redis" then return true end
  if name == "cluster" then
    return nil, "cluster counts in a database, which VeloFlux has none of: use redis to count over all nodes, or local"
  end
  return nil, "expected local or redis"
end

local function is_whole_limit(value)
  return value % 1 == 0 or nil, "expected a whole number"
end

--- What is allowed in a longer period cannot be less than in a shorter one.
local function check_periods(config)
  local shorter
  for _, period in ipairs(periods) do
    local limit = config[period.name]
    if limit and shorter and limit < config[shorter.name] then
      return nil, ("%d is lower than the limit of the shorter period %s, %d"):format(limit, shorter.name,
        config[shorter.name]), period.name
    end
    shorter = limit and period or shorter
  end
  return true
end

local function check_algorithm(config)
  local has_period = false
  for _, period in ipairs(periods) do has_period = has_period or config[period.name] ~= nil end
  if config.algorithm == "window" then
    if config.rate or config.burst then return nil, "rate and burst go with algorithm: gcra", "algorithm" end
    if not has_period then return nil, "one of second, minute, hour, day, month and year is required" end
    return check_periods(config)
  end
  if has_period then return nil, "gcra takes rate, per and burst instead of second, minute, ...", "algorithm" end
  if not config.rate then return nil, "required with algorithm: gcra", "rate" end
  if (config.burst or math.max(1, math.floor(config.rate))) * config.per / config.rate > LONGEST_S then
    return nil, "a burst that takes more than 52 days at its rate cannot be kept", "burst"
  end
  return true
end

local function check_needs(config)
  if config.limit_by == "header" and not config.header_name then
    return nil, "required with limit_by: header", "header_name"
  elseif config.limit_by == "path" and not config.path then
    return nil, "required with limit_by: path", "path"
  elseif config.policy == "redis" and not config.redis.host then
    return nil, "required with policy: redis", "redis.host"
  end
  return true
end

local function check(config)
  for _, judge in ipairs { check_algorithm, check_needs } do
    local ok, problem, field = judge(config)
    if not ok then return nil, problem, field end
  end
  return true
end

local fields = {}
for order, period in ipairs(periods) do
  fields[order] = { [period.name] = { type = "number", gt = 0, max = MOST, order = order, unit = "requests",
    custom_validator = is_whole_limit, description = ("So many requests in any %s."):format(
      period.name == "month" and "30 days" or period.name == "year" and "365 days" or period.name) } }
end

local function add(name, field)
  field.order = #fields + 1
  fields[#fields + 1] = { [name] = field }
end

add("limit_by", { type = "string", default = "consumer", one_of = LIMIT_BY,
  description = "What has a limit of its own. Where there is none (nobody is authenticated), the IP address has." })
add("header_name", typedefs.header_name { description = "The header field, with limit_by: header." })
add("path", typedefs.path { description = "The path, with limit_by: path." })
add("policy", { type = "string", default = "local", custom_validator = is_policy,
  description = "local: this node counts. redis: all nodes together." })
add("fault_tolerant", { type = "boolean", default = true,
  description = "When Redis is away, this node counts for itself; false: requests are answered with 500." })
add("hide_client_headers", { type = "boolean", default = false, description = "Answers do not tell of limits." })
add("error_code", { type = "number", default = 429, between = { 400, 599 }, custom_validator = is_whole_limit,
  description = "The status of the answer when a limit is reached." })
add("error_message", { type = "string", default = "API rate limit exceeded", description = "Its message." })
add("sync_rate", { type = "number", default = 1, between = { -1, 3600 }, unit = "seconds",
  custom_validator = function(value)
    return value == -1 or value >= 0.02 or nil, "expected -1, or 0.02 and more"
  end,
  description = "How long a worker may use what it has taken from Redis before it asks again; -1 asks each time." })
add("algorithm", { type = "string", default = "window", one_of = { "window", "gcra" },
  description = "window: second, minute, ... as sliding windows. gcra: `rate` requests evenly, `burst` at once." })
add("rate", { type = "number", gt = 0, max = 1000000000, unit = "requests",
  description = "With gcra: so many requests ..." })
add("per", { type = "number", default = 1, between = { 0.001, 31536000 }, unit = "seconds",
  description = "... in this time." })
add("burst", { type = "integer", between = { 1, MOST }, unit = "requests",
  description = "With gcra: how many may come at once; `rate`, if not given." })
add("redis", { type = "record", required = true, description = "The Redis server, with policy: redis.", fields = {
  { host = typedefs.host { order = 1, description = "Its name or address." } },
  { port = typedefs.port { default = 6379, order = 2, description = "Its port." } },
  { username = { type = "string", referenceable = true, order = 3, description = "A user of its access lists." } },
  { password = { type = "string", secret = true, len_min = 0, order = 4, description = "The password." } },
  { database = { type = "integer", default = 0, min = 0, order = 5, description = "The number of its database." } },
  { timeout = typedefs.timeout { default = 2000, between = { 1, 2147483646 }, order = 6,
    description = "For connecting, sending and each answer." } },
  { ssl = { type = "boolean", default = false, order = 7, description = "Speak TLS." } },
  { ssl_verify = { type = "boolean", default = true, order = 8,
    description = "With ssl: the server has to have a good certificate with its name." } },
  { server_name = { type = "string", order = 9,
    description = "With ssl: the name that is verified, instead of the host." } },
} })

--- Kong's older, flat names of the fields of `redis`.
local function older_names()
  local list = {}
  local function add_older(name, field)
    field.deprecated = "use redis." .. name
    field.func = function(value) return { redis = { [name] = value } } end
    list[#list + 1] = { ["redis_" .. name] = field }
  end
  add_older("host", typedefs.host {})
  add_older("port", typedefs.port {})
  add_older("username", { type = "string" })
  add_older("password", { type = "string", len_min = 0, custom_validator = function(text)
    return not text:find "^{%a+:.*}$" or nil, "a reference to a secret belongs in redis.password"
  end })
  add_older("database", { type = "integer", min = 0 })
  add_older("timeout", typedefs.timeout { between = { 1, 2147483646 } })
  add_older("ssl", { type = "boolean" })
  add_older("ssl_verify", { type = "boolean" })
  add_older("server_name", { type = "string" })
  return list
end

return {
  name = "rate-limiting",
  fields = { { config = { type = "record", fields = fields, custom_validator = check,
    shorthand_fields = older_names() } } },
}
