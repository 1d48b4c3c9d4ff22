--- What a version on probation has to keep to: `admin.probation`, and what one change says about itself.
local s = require "veloflux.model.schema"

local M = {}

--- The thresholds.
M.FIELDS = {
  { error_rate = s.number { default = 5, between = { 0, 100 },
    description = "By how many percentage points more than before of the requests may be answered with 500 or "
      .. "above." } },
  { latency = s.number { default = 2, between = { 1, 1000 }, off = true,
    description = "How many times as long as before exchanges may take." } },
  { latency_floor = s.duration { default = "50ms", max = "1h",
    description = "What they take longer by less than this is no fault." } },
  { statistic = s.string { default = "mean", one_of = { "mean", "p99" },
    description = "Which latency: the mean; or, of all traffic together, the 99th percentile." } },
  { min_requests = s.integer { default = 20, between = { 1, 1000000 },
    description = "With fewer requests since the change nothing is decided." } },
}

M.DURATION = { min = "1s", max = "24h" }

--- The record of one change.
M.compiled = s.compile(s.record { default = {}, fields = M.FIELDS })

return M
