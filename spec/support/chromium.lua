--- Chromium without a screen, for specs that want a browser.
local process = require "support.process"
local tempdir = require "support.tempdir"
local uv = require "luv"

local M = {}

local PROGRAM = "/usr/bin/chromium"

--- True when it is here: the Debian package `chromium`.
M.is_there = uv.fs_stat(PROGRAM) ~= nil

--- The hash of a certificate's key, as Chromium names keys.
local function key_hash(certificate)
  local script = "openssl x509 -in '%s' -noout -pubkey | openssl pkey -pubin -outform der"
    .. " | openssl dgst -sha256 -binary | openssl base64"
  local _, out = process.run("/bin/sh", { "-c", script:format(certificate) })
  return out
end

--- Opens a page of localhost and awaits its load event, and so all that its markup asks for.
-- @param certificate path: its key is trusted, though no authority says so; every other must be verified
-- @return exit code, the page as it is then, what Chromium logged
function M.load(url, certificate)
  local dir = tempdir.new()
  return process.run(PROGRAM, { "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost", "--user-data-dir=" .. dir,
    "--ignore-certificate-errors-spki-list=" .. key_hash(certificate), "--dump-dom", url },
    { env = { HOME = dir, XDG_CONFIG_HOME = dir, XDG_CACHE_HOME = dir } })
end

return M
