--- References to secrets: {vault://env/NAME}, {vault://env/NAME/KEY}, {vault://file/PATH} and {file:/PATH}.
--
-- A plugin needs this module rarely. Fields of its configuration that its schema calls `referenceable` (or `secret`)
-- may be written as references; they are resolved when the configuration is read, by control, and the plugin sees the
-- secret itself. A new value comes with the next reload.
--
-- `get` is for references from elsewhere. In a worker it knows the environment only: files are read by control alone,
-- so that all workers always have the same and need no right to read them. Variables that are the node's own (API_*
-- of its administrator, VF_*) are refused.
--
-- {vault://env/my-secret} means the variable MY_SECRET: dashes become underscores, letters upper case, and
-- ?prefix=APP_ behind the name stands in front of it. With a KEY the variable holds a JSON object.
--
-- May be called anywhere, also while the plugin's code is loaded.
local report = require "veloflux.runtime.report"
local vault = require "veloflux.vault"

---@class pdk.vault.reference
---@field name string which vault: "env" or "file"
---@field resource string the variable as it was written, or the path
---@field key? string the field of the JSON object
---@field config? table what stands behind the question mark
---@field version? integer what stands behind #

---@class pdk.vault
local M = {}

--- Says whether a value is a text that is written as a reference.
---@param reference any
---@return boolean
function M.is_reference(reference) return vault.is_reference(reference) end

--- Reads a reference.
---@param reference string
---@return pdk.vault.reference? parsed
---@return string? err
function M.parse_reference(reference) return vault.parse(reference) end

local function refuse_file()
  return nil, "files are not read in a worker: write the reference into the configuration, in a field that the " ..
    "plugin's schema calls referenceable"
end

local function resolve(reference)
  local parsed, err = vault.parse(reference)
  if not parsed then return nil, err end
  if parsed.name == "env" and vault.is_own(vault.variable(parsed)) then
    return nil, ("the environment variable %s is the node's own"):format(vault.variable(parsed))
  end
  return vault.resolve(parsed, os.getenv, refuse_file)
end

--- Returns the secret that a reference means.
---@param reference string
---@return string? value
---@return string? err
function M.get(reference) return resolve(reference) end

-- Puts what references mean into the fields that they are for.
local function resolve_all(options, references)
  for field, reference in pairs(references) do
    if type(reference) == "table" then
      if type(options[field]) ~= "table" then options[field] = {} end
      resolve_all(options[field], reference)
    else
      local value, err = resolve(reference)
      if value == nil then
        report.write(report.WARN, "vault.failed", "field", tostring(field), "error", err)
      else
        options[field] = value
      end
    end
  end
end

-- The same for all tables in the options that have references of their own. Returns whether there are any.
local function update(options)
  local has_any, references = false, options["$refs"]
  for field, value in pairs(options) do
    if field ~= "$refs" and type(value) == "table" then has_any = update(value) or has_any end
  end
  if type(references) ~= "table" or next(references) == nil then return has_any end
  resolve_all(options, references)
  return true
end

--- Resolves references again: options["$refs"] has, by field, a reference or a table of such; tables in `options` may
-- have their own. A field whose reference cannot be resolved stays as it was, and the log says so. Configurations have
-- no "$refs": they are resolved already.
---@param options table changed in place
---@return table options
function M.update(options)
  if type(options) == "table" then update(options) end
  return options
end

--- Calls a function with options whose references are resolved, and once more, with fresh secrets, when it fails:
-- passwords may have changed. Options without references: the function is called once.
---@param callback fun(options: table?): any, any it has failed when the first result is nil or false
---@param options? table with "$refs", see update
---@return any result of the callback
---@return any err of the callback
function M.try(callback, options)
  if type(callback) ~= "function" then error("vault.try: expected a function, got " .. type(callback), 2) end
  if options ~= nil and type(options) ~= "table" then
    error("vault.try: expected a table of options, got " .. type(options), 2)
  end
  if not options or not update(options) then return callback(options) end
  local result = callback(options)
  if result then return result end
  update(options)
  return callback(options)
end

return M
