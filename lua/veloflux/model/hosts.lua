--- Whose a host is: a tenant owns what it names, and what is right below its wildcards; the rest is default's.
local M = {}

--- Maps each host that a tenant owns, in lower case, to the tenant's name.
-- @param tenants list
-- @param on_taken function(position, host, owner) or nil: a host that another tenant has
function M.owners(tenants, on_taken)
  local owners = {}
  for i, tenant in ipairs(tenants) do
    for _, host in ipairs(tenant.hosts) do
      local key = host:lower()
      if not owners[key] or owners[key] == tenant.name then
        owners[key] = tenant.name
      elseif on_taken then
        on_taken(i, host, owners[key])
      end
    end
  end
  return owners
end

--- Returns the tenant that a host (in lower case) belongs to: named itself, or below a tenant's wildcard; else default.
function M.owner_of(owners, host)
  if owners[host] then return owners[host] end
  local parent = host:match "^[^.*]+(%..+)$"
  return parent and owners["*" .. parent] or "default"
end

--- Returns those names of a certificate that a tenant may answer for: its own hosts. Of a wildcard that is not its
-- own, the hosts below that are.
function M.of_tenant(owners, names, tenant)
  local list = {}
  for _, name in ipairs(names) do
    if M.owner_of(owners, name) == tenant then
      list[#list + 1] = name
    elseif name:sub(1, 2) == "*." then
      for host, owner in pairs(owners) do
        if owner == tenant and host:match "^[^.*]+(%..+)$" == name:sub(2) then list[#list + 1] = host end
      end
    end
  end
  table.sort(list)
  return list
end

return M
