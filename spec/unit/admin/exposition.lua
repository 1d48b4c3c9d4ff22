--- Reads the text format of Prometheus strictly: what promtool or a scraper would refuse raises here.
local M = {}

local KINDS = { counter = true, gauge = true, histogram = true }

local function fail(line, message) error(("%s: %s"):format(message, line), 0) end

--- Reads `{a="x",b="y"}`; returns a map and the canonical text of the sorted labels.
local function read_labels(text, line)
  local labels, list, at = {}, {}, 2
  if text == "" then return labels, "" end
  while text:sub(at, at) ~= "}" do
    local name, start = text:match('^([%a_][%w_]*)="()', at)
    if not name then fail(line, "bad label") end
    local value, from = "", start
    while true do
      local stop = text:find('[\\"\n]', from) or fail(line, "unfinished label value")
      value = value .. text:sub(from, stop - 1)
      if text:sub(stop, stop) == '"' then
        at = stop + 1
        break
      end
      local escaped = ({ ["\\"] = "\\", ['"'] = '"', n = "\n" })[text:sub(stop + 1, stop + 1)]
      value, from = value .. (escaped or fail(line, "bad escape")), stop + 2
    end
    if labels[name] then fail(line, "label twice") end
    labels[name] = value
    list[#list + 1] = name .. "=" .. value
    local separator = text:sub(at, at)
    if separator == "," then at = at + 1 elseif separator ~= "}" then fail(line, "bad labels") end
  end
  if at ~= #text then fail(line, "text behind the labels") end
  table.sort(list)
  return labels, table.concat(list, ",")
end

local function base_of(name, families)
  if families[name] then return name end
  local base = name:match "^(.*)_bucket$" or name:match "^(.*)_sum$" or name:match "^(.*)_count$"
  return base and families[base] and families[base].kind == "histogram" and base or nil
end

local function check_histogram(family)
  local series = {}
  for _, sample in ipairs(family.samples) do
    local rest = {}
    for name, value in pairs(sample.labels) do
      if name ~= "le" then rest[#rest + 1] = name .. "=" .. value end
    end
    table.sort(rest)
    local key = table.concat(rest, ",")
    local one = series[key] or { buckets = {} }
    series[key] = one
    local part = sample.name:sub(#family.name + 2)
    if part == "bucket" then table.insert(one.buckets, sample) else one[part] = sample.value end
  end
  for key, one in pairs(series) do
    local last, bound = 0, -math.huge
    for _, bucket in ipairs(one.buckets) do
      local le = bucket.labels.le == "+Inf" and math.huge or tonumber(bucket.labels.le)
      if not le or le <= bound then fail(key, "buckets are not in order") end
      if bucket.value < last then fail(key, "buckets are not cumulative") end
      last, bound = bucket.value, le
    end
    if bound ~= math.huge then fail(key, "no +Inf bucket") end
    if one.count ~= last or not one.sum then fail(key, "count, sum and buckets do not agree") end
  end
end

local function read_sample(line, families, current, seen)
  local name, rest = line:match "^([%a_:][%w_:]*)(.*)$"
  if not name then fail(line, "bad name") end
  local label_text, value_text = rest:match "^({.*}) (%S+)$"
  if not label_text then label_text, value_text = "", rest:match "^ (%S+)$" end
  local value = tonumber(value_text)
  if not value then fail(line, "bad value") end
  local base = base_of(name, families)
  if not base or base ~= current then fail(line, "sample outside of its family") end
  local labels, key = read_labels(label_text, line)
  key = name .. "{" .. key .. "}"
  if seen[key] then fail(line, "the same series twice") end
  seen[key] = true
  local family = families[base]
  if family.kind == "counter" and value < 0 then fail(line, "negative counter") end
  table.insert(family.samples, { name = name, labels = labels, value = value })
end

--- Parses and judges a whole text.
-- @return families: name -> { name, kind, help, samples = { { name, labels, value } } }
function M.parse(text)
  local families, current, seen = {}, nil, {}
  if text:sub(-1) ~= "\n" then error("the last line does not end", 0) end
  for line in text:gmatch "([^\n]*)\n" do
    local help_name, help = line:match "^# HELP ([%a_:][%w_:]*) (.+)$"
    local type_name, kind = line:match "^# TYPE ([%a_:][%w_:]*) (%a+)$"
    if help_name then
      if families[help_name] then fail(line, "family twice") end
      families[help_name] = { name = help_name, help = help, samples = {} }
      current = help_name
    elseif type_name then
      if current ~= type_name or families[type_name].kind or not KINDS[kind] then fail(line, "bad TYPE") end
      families[type_name].kind = kind
    else
      read_sample(line, families, current, seen)
    end
  end
  for _, family in pairs(families) do
    if not family.kind or #family.samples == 0 then fail(family.name, "family without TYPE or samples") end
    if family.kind == "histogram" then check_histogram(family) end
  end
  return families
end

--- Returns the value of the one series `name` with just these labels, or nil.
function M.value(families, name, labels)
  local family = families[name] or families[name:gsub("_%a+$", "")]
  for _, sample in ipairs(family and family.samples or {}) do
    local is_same = sample.name == name
    for label, value in pairs(labels or {}) do is_same = is_same and sample.labels[label] == value end
    for label in pairs(sample.labels) do is_same = is_same and (labels or {})[label] ~= nil end
    if is_same then return sample.value end
  end
end

--- Returns the sum of all series of `name` that have these labels.
function M.sum(families, name, labels)
  local total = 0
  for _, sample in ipairs(families[name] and families[name].samples or {}) do
    local is_same = true
    for label, value in pairs(labels or {}) do is_same = is_same and sample.labels[label] == value end
    if is_same then total = total + sample.value end
  end
  return total
end

return M
