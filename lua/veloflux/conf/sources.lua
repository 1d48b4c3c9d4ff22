--- A conf file before it is read: its text, and where the state of its node lives.
local document = require "veloflux.model.document"
local reader = require "veloflux.model.reader"
local scalars = require "veloflux.model.scalars"
local files = require "veloflux.conf.files"
local grammar = require "veloflux.conf.grammar"

local M = {}

--- Returns the text of the source, its name for messages and the folder of relative paths.
function M.open(source)
  if source.text or source.document then
    return source.text or "", source.name or "conf", source.dir or files.real_path "."
  end
  local text, problem = files.read(source.path)
  local folder = files.folder_of(source.path)
  return text, source.path, files.real_path(folder) or folder, problem
end

--- What can be known of a file that cannot be parsed: where its state lives.
function M.guess(text, dir)
  local root = setmetatable({}, getmetatable(grammar.file.from_default {}))
  local data_dir = ("\n" .. (text or "")):match "\ndata_dir:[ \t]*[\"']?([^\"'#\r\n]+)"
  if data_dir then
    data_dir = data_dir:gsub("%s+$", "")
    root.data_dir = scalars.join(data_dir:sub(1, 1) == "/" and "/" or dir, data_dir)
  end
  return root
end

--- Makes the default of data_dir, which is relative to the folder of the conf file, absolute.
function M.place_data_dir(root, dir)
  if rawget(root, "data_dir") == nil then root.data_dir = scalars.join(dir, "../data") end
end

--- Finds where the state of a conf file lives without reading the rest of it: whatever its errors, a
-- running instance can be found. Text that cannot be parsed is searched for a line with data_dir.
-- @param path of the conf file
-- @return an absolute path and whether it is the default, as the file names none that can be read; or nil and a
-- problem when there is no such file
function M.data_dir(path)
  local text, name, dir, problem = M.open { path = path }
  if not text then return nil, { file = name, path = "", message = problem } end
  local doc = document.parse(text, name)
  local root = doc and setmetatable({}, getmetatable(grammar.file.from_default {})) or M.guess(text, dir)
  local at = doc and document.find(doc, 0, "data_dir")
  if at then
    local where = reader.new(os.getenv)
    where:open(doc, dir)
    root.data_dir = grammar.file.by_name.data_dir.read(where, at)
  end
  local is_default = rawget(root, "data_dir") == nil
  M.place_data_dir(root, dir)
  return root.data_dir, is_default
end

return M
