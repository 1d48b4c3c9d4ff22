local core = require("apisix.core")

local plugin_name = "tag-requests"

local schema = {
  type = "object",
  properties = {
    tag = { type = "string", minLength = 1 },
    refuse = { type = "array", items = { type = "string" }, default = {} },
  },
  required = { "tag" },
}

local _M = { version = 0.1, priority = 2990, name = plugin_name, schema = schema }

function _M.check_schema(conf) return core.schema.check(schema, conf) end

function _M.rewrite(conf, ctx)
  core.request.set_header(ctx, "X-Tag", conf.tag)
  ctx.tag_began = ctx.var.request_uri
end

function _M.access(conf, ctx)
  local agent = core.request.header(ctx, "User-Agent")
  for _, refused in ipairs(conf.refuse) do
    if agent == refused then return 403, { message = "refused: " .. core.request.get_remote_client_ip(ctx) } end
  end
  if core.request.get_uri_args(ctx).debug then core.log.warn("debug asked for: ", ctx.var.uri) end
end

function _M.header_filter(conf, ctx)
  core.response.set_header("X-Tagged", conf.tag .. " " .. ctx.tag_began)
end

return _M
