--- Pushes of channels, by name or of all: pause, resume, and push now.
local M = {}

--- Returns the channels that are meant, or nil and what is wrong.
local function meant(hub, name)
  local all, found = {}, {}
  for _, channel in ipairs(hub:list()) do
    if channel.definition.frame then
      all[#all + 1] = channel.name
      if name == "all" or name == channel.name then found[#found + 1] = channel end
    end
  end
  if #found > 0 then return found end
  return nil, "type: expected all, " .. table.concat(all, ", ")
end

local function paused(hub)
  local map = {}
  for _, channel in ipairs(hub:list()) do
    if channel.definition.frame then map[channel.name] = channel.is_paused or false end
  end
  return map
end

--- Pauses or resumes: while paused nothing is pushed, but who connects gets the data. Resuming pushes at once.
-- @param action "pause" or "resume"
-- @param name of a channel, or "all"
-- @param is_dry true: only says what would be
-- @return {status, action, type, paused = map from name to boolean}; or nil and what is wrong
function M.switch(hub, action, name, is_dry)
  if action ~= "pause" and action ~= "resume" then return nil, "action: expected pause or resume" end
  local channels, wrong = meant(hub, name)
  if not channels then return nil, wrong end
  local told = { status = is_dry and "dry_run" or "ok", dry_run = is_dry or nil, action = action, type = name }
  if is_dry then
    told.paused = paused(hub)
    for _, channel in ipairs(channels) do told.paused[channel.name] = action == "pause" end
    return told
  end
  for _, channel in ipairs(channels) do
    local was_paused = channel.is_paused
    channel.is_paused = action == "pause"
    if was_paused and not channel.is_paused then hub:refresh(channel, "change") end
  end
  told.paused = paused(hub)
  return told
end

--- Pushes the data of channels to all who follow them, paused or not; the frames say `forced`.
-- @param name of a channel, or "all"
-- @param is_dry true: only says to how many
-- @return {status, force_update, type, clients = how many frames were queued}; or nil and what is wrong
function M.force(hub, name, is_dry)
  local channels, wrong = meant(hub, name)
  if not channels then return nil, wrong end
  local count = 0
  for _, channel in ipairs(channels) do
    if is_dry then
      count = count + channel.n_subscribers
    elseif channel.n_subscribers > 0 then
      count = count + hub:refresh(channel, "forced", { is_forced = true })
    end
  end
  if is_dry then return { status = "dry_run", dry_run = true, type = name, clients = count } end
  return { status = "ok", force_update = "triggered", type = name, clients = count }
end

return M
