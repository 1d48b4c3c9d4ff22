local kong = kong
local fmt = string.format

local HttpsOnly = { PRIORITY = 2500, VERSION = "1.1.1" }

function HttpsOnly:certificate(conf)
  if conf.want_certificate then
    local ok, err = kong.client.tls.request_client_certificate()
    if not ok then kong.log.err(err) end
  end
end

function HttpsOnly:access(conf)
  local protocol, err = kong.client.get_protocol(conf.trust_forwarded)
  if not protocol then return kong.response.error(404, err) end
  if protocol ~= "https" then
    return kong.response.exit(conf.status, nil, { Location = fmt("https://%s%s", kong.request.get_forwarded_host(),
      kong.request.get_path_with_query()) })
  end
  local pem = kong.client.tls.get_full_client_certificate_chain()
  kong.service.request.clear_header "X-Client-Cert"
  if pem then
    kong.service.request.set_header("X-Client-Cert", (pem:gsub("\n", " ")))
    kong.client.tls.set_client_verify "SUCCESS"
  end
  kong.response.set_header("Strict-Transport-Security", "max-age=" .. conf.max_age)
  kong.service.request.set_header("X-Seen-As", fmt("%s://%s:%d %s:%d", kong.request.get_forwarded_scheme(),
    kong.request.get_host(), kong.request.get_port(), kong.client.get_forwarded_ip(), kong.client.get_forwarded_port()))
end

return HttpsOnly
