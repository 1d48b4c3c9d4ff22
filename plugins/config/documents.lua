--- The configuration as a document, out and in.
local pdk = require "veloflux.pdk"
local endpoint = require "veloflux.plugins.config.endpoint"

local configuration = pdk.configuration

local MASKED = { masked = true, ["false"] = true }
local FORMATS = { json = "application/json", yaml = "application/yaml" }
local DOCUMENT = { "application/json", "application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml" }

local function export(request)
  local format = request.query.format
  if not request.wants(FORMATS[format]) then
    return pdk.problem.new("not_acceptable", ("This is answered as %s."):format(FORMATS[format]))
  end
  local text, problem = configuration.export(format, MASKED[request.query.secrets])
  if not text then return problem end
  return 200, text, { ["Content-Type"] = FORMATS[format], ["Cache-Control"] = "no-store",
    ["Content-Disposition"] = ('attachment; filename="veloflux.%s"'):format(format),
    ["X-Content-Type-Options"] = "nosniff" }
end

local function empty_document()
  return pdk.problem.new("invalid", "The body is empty: it has to be a document.",
    { errors = { { pointer = "", detail = "required: a document" } } })
end

local function import(request)
  if request.body:size() == 0 then return empty_document() end
  return endpoint.changed("imported", configuration.import(request.body, request.query.mode))
end

local function validate(request)
  if request.body:size() == 0 then return empty_document() end
  local result, problem = configuration.validate(request.body)
  if not result then return problem end
  result.status = result.valid and "valid" or "invalid"
  return 200, result
end

return {
  endpoint.new("GET", "export", "export", "All entities as a document. Secrets stand there by reference, or sealed for "
    .. "this installation.", export, { response_type = { FORMATS.json, FORMATS.yaml }, query = {
      format = { type = "string", one_of = { "json", "yaml" }, default = "json" },
      secrets = { type = "string", one_of = { "sealed", "masked", "true", "false" }, default = "sealed",
        description = "masked, or false: `*****` stands for what would be sealed; an import of that keeps the stored "
          .. "value." } } }),
  endpoint.new("POST", "import", "write", "Takes a document as one transaction.", import, { dry_run = true,
    request_type = DOCUMENT, max_body = "64m", timeout = "1h", query = {
      mode = { type = "string", one_of = { "merge", "replace" }, default = "merge",
        description = "merge: what it names is made or replaced; replace: the rest goes, too." } } }),
  endpoint.new("POST", "validate", "validate", "Judges a whole conf file, as `veloflux check` does.", validate,
    { request_type = DOCUMENT, max_body = "64m", timeout = "1h" }),
}
