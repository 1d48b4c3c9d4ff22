--- The periods that limits may have, shortest first.
return {
  { name = "second", seconds = 1, title = "Second" },
  { name = "minute", seconds = 60, title = "Minute" },
  { name = "hour", seconds = 3600, title = "Hour" },
  { name = "day", seconds = 86400, title = "Day" },
  { name = "month", seconds = 30 * 86400, title = "Month" },
  { name = "year", seconds = 365 * 86400, title = "Year" },
}
