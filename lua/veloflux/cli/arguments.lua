--- Command line arguments: options and what remains.
local M = {}

--- Takes arguments apart.
-- @param args list of strings
-- @param options map from "-c" or "--config" to {name, values}: `values` is how many follow; a name
-- given twice keeps the last, `many = true` collects a list
-- @return {name = value (true, a string, or a list), [1..n] = the rest}, or nil and a message
function M.parse(args, options)
  local result, i = {}, 1
  while i <= #args do
    local arg = args[i]
    local long, inline = arg:match "^(%-%-[%w-]+)=(.*)$"
    local option = options[long or arg]
    if option then
      local values = {}
      for k = 1, option.values do
        values[k] = inline and (k == 1 and inline or args[i + k - 1]) or args[i + k]
        if not values[k] then return nil, ("%s expects %s"):format(long or arg, option.expects) end
      end
      i = i + option.values + (inline and 0 or 1)
      local value = option.values == 0 and true or option.values == 1 and values[1] or values
      if option.many then
        result[option.name] = result[option.name] or {}
        table.insert(result[option.name], value)
      else
        result[option.name] = value
      end
    elseif arg:find "^%-." then
      return nil, ("unknown option %s"):format(arg)
    else
      result[#result + 1] = arg
      i = i + 1
    end
  end
  return result
end

--- The option that every command has; `-c` wins over VFX_CONFIG.
M.CONFIG = { name = "config", values = 1, expects = "a file" }

--- Returns the path of the conf file: -c, VFX_CONFIG or the default.
function M.config_of(parsed)
  local from_env = os.getenv "VFX_CONFIG"
  return parsed.config or from_env ~= "" and from_env or "conf/veloflux.yaml"
end

return M
