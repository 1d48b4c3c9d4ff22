--- Puts files into pages: below a line `<!-- FILE -->` in docs/plugins/*.md stands what docs/FILE says, as a
-- code block; `<!-- FILE FROM -->` begins at the first line that contains FROM and ends before the next empty line.
--
--   luajit scripts/docs_examples.lua PAGE...       writes the pages anew (see scripts/docs.sh)
local M = {}

local LANGUAGES = { lua = "lua", yaml = "yaml" }

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return text
end

local function excerpt(text, from)
  if from == "" then return (text:gsub("%s+$", "")) end
  local at = assert(text:find(from, 1, true), "there is no " .. from)
  while at > 1 and text:sub(at - 1, at - 1) ~= "\n" do at = at - 1 end
  local stop = text:find("\n\n", at, true)
  return (text:sub(at, stop):gsub("%s+$", ""))
end

--- Returns a page with the code blocks that belong into it.
-- @param page its text
function M.fill(page)
  local lines, is_old = {}, false
  for line in page:gmatch "(.-)\n" do
    if is_old == "block" then
      if line == "```" then is_old = false end
    elseif is_old == "marker" and line:find "^```" then
      is_old = "block"
    else
      is_old = false
      lines[#lines + 1] = line
      local file, from = line:match "^<!%-%- ([%w_./-]+%.%w+) ?(.-) ?%-%->$"
      if file then
        lines[#lines + 1] = "```" .. (LANGUAGES[file:match "%w+$"] or "")
        lines[#lines + 1] = excerpt(read("docs/" .. file), from)
        lines[#lines + 1] = "```"
        is_old = "marker"
      end
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

if arg and arg[0] and arg[0]:find "docs_examples%.lua$" then
  for _, path in ipairs(arg) do
    local text = M.fill(read(path))
    local file = assert(io.open(path, "w"))
    file:write(text)
    file:close()
  end
end

return M
