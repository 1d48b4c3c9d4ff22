--- The statements of the store in SQLite, and the tables that they speak of.
local M = {}

M.MIGRATIONS = { [[
CREATE TABLE versions (
  number INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, author TEXT, source TEXT NOT NULL, reason TEXT,
  request_id TEXT, summary TEXT
);
CREATE TABLE names (
  id INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL,
  live INTEGER, -- changes.id; NULL: deleted
  UNIQUE (kind, key)
);
CREATE INDEX names_live ON names (live) WHERE live IS NOT NULL;
CREATE TABLE changes (
  id INTEGER PRIMARY KEY, name INTEGER NOT NULL, version INTEGER NOT NULL,
  json TEXT, -- NULL: deleted
  created_ms INTEGER, updated_ms INTEGER,
  UNIQUE (name, version)
);
CREATE INDEX changes_version ON changes (version);
CREATE TABLE buckets (
  id INTEGER PRIMARY KEY, bucket TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
  expires_ms INTEGER, -- NULL: never
  UNIQUE (bucket, key)
);
CREATE INDEX buckets_expires ON buckets (expires_ms) WHERE expires_ms IS NOT NULL;
]], [[
CREATE TABLE leases (name TEXT PRIMARY KEY, holder TEXT, token INTEGER NOT NULL); -- holder NULL: free
CREATE TABLE nodes (node TEXT PRIMARY KEY, json TEXT NOT NULL, seen_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL);
]] }

M.LAST_VERSION = "SELECT max(number) FROM versions"

M.ADD_VERSION = [[
INSERT INTO versions (number, time_ms, author, source, reason, request_id, summary)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE ?1 = coalesce((SELECT max(number) FROM versions) + 1, ?1)]]

M.ADD_NAME = "INSERT INTO names (kind, key) VALUES (?1, ?2) ON CONFLICT DO NOTHING"

M.ADD_CHANGE = [[
INSERT INTO changes (name, version, json, created_ms, updated_ms)
SELECT id, ?3, ?4, coalesce(?5, (SELECT created_ms FROM changes WHERE id = names.live), ?6), ?6
FROM names WHERE kind = ?1 AND key = ?2]]

M.SET_LIVE = "UPDATE names SET live = last_insert_rowid() WHERE kind = ?1 AND key = ?2"

M.ADD_DELETION = [[
INSERT INTO changes (name, version) SELECT id, ?3 FROM names WHERE kind = ?1 AND key = ?2 AND live IS NOT NULL]]

M.SET_DELETED = "UPDATE names SET live = NULL WHERE kind = ?1 AND key = ?2"

M.LIVE = [[
SELECT kind, key, json, version, created_ms, updated_ms FROM names JOIN changes ON changes.id = names.live
WHERE names.live IS NOT NULL]]

M.AT = [[
SELECT kind, key, json, version, created_ms, updated_ms FROM names CROSS JOIN changes ON changes.name = names.id
WHERE version = (SELECT max(version) FROM changes WHERE name = names.id AND version <= ?1) AND json IS NOT NULL]]

local VERSION_COLUMNS = "number, time_ms, author, source, reason, request_id, summary"
M.VERSIONS = "SELECT " .. VERSION_COLUMNS .. [[
 FROM versions WHERE number < ?1 ORDER BY number DESC LIMIT ?2]]
M.EXTENT = "SELECT coalesce(min(number), 0), coalesce(max(number), 0) FROM versions"
M.VERSION = "SELECT " .. VERSION_COLUMNS .. " FROM versions WHERE number = ?1"

M.CHANGES = [[
SELECT kind, key, (SELECT before.json FROM changes AS before WHERE before.name = changes.name AND before.version < ?1
  ORDER BY before.version DESC LIMIT 1), json
FROM changes JOIN names ON names.id = changes.name WHERE changes.version = ?1 ORDER BY kind, key]]

M.OLDEST_AND_LAST = "SELECT min(number), max(number) FROM versions"
M.VERSIONS_AFTER = "SELECT " .. VERSION_COLUMNS .. [[
 FROM versions WHERE number > ?1 ORDER BY number LIMIT ?2]]
M.CHANGES_AFTER = [[
SELECT version, kind, key, (SELECT before.json FROM changes AS before
  WHERE before.name = changes.name AND before.version < changes.version ORDER BY before.version DESC LIMIT 1), json,
  created_ms
FROM changes JOIN names ON names.id = changes.name WHERE version > ?1 AND version <= ?1 + ?2
ORDER BY version, kind, key]]

-- What an entity was before the oldest version that is kept is kept, too.
local PRUNABLE = "FROM versions WHERE number < ?1 AND number < (SELECT max(number) FROM versions)"
M.COUNT_PRUNABLE = "SELECT count(*) " .. PRUNABLE
M.PRUNE_VERSIONS = "DELETE " .. PRUNABLE
M.PRUNE_CHANGES = [[
DELETE FROM changes WHERE version < (SELECT min(number) FROM versions) AND EXISTS (SELECT 1 FROM changes AS later
  WHERE later.name = changes.name AND later.version > changes.version
  AND later.version < (SELECT min(number) FROM versions))]]

M.BASE = M.AT:gsub("%?1", "(SELECT min(number) - 1 FROM versions)")

-- A version that is none stands for "there are none" for a moment: an insertion that fails refuses the whole.
M.CLAIM_EMPTY = [[
INSERT INTO versions (number, time_ms, source) SELECT -1, 0, 'import' WHERE NOT EXISTS (SELECT 1 FROM versions)]]
M.UNCLAIM = "DELETE FROM versions WHERE number = -1"
M.FILL = [[
INSERT INTO changes (name, version, json, created_ms, updated_ms)
SELECT id, ?3, ?4, ?5, ?6 FROM names WHERE kind = ?1 AND key = ?2]]

M.EMPTY = { "DELETE FROM changes", "DELETE FROM names", "DELETE FROM versions", "DELETE FROM buckets" }

M.TAKE_LEASE = [[
INSERT INTO leases (name, holder, token) VALUES (?1, ?2, 1)
ON CONFLICT DO UPDATE SET holder = excluded.holder, token = token + 1]]
M.LEASE = "SELECT holder, token FROM leases WHERE name = ?1"
M.FREE_LEASE = "UPDATE leases SET holder = NULL WHERE name = ?1 AND holder = ?2 AND token = ?3"
M.IS_LEASED = "UPDATE leases SET token = token WHERE name = ?1 AND token = ?2"

M.ANNOUNCE = [[
INSERT INTO nodes (node, json, seen_ms, until_ms) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT DO UPDATE SET json = excluded.json, seen_ms = excluded.seen_ms, until_ms = excluded.until_ms]]
M.FORGET_NODES = "DELETE FROM nodes WHERE until_ms <= ?1"
M.NODES = "SELECT node, json, seen_ms, until_ms FROM nodes"

M.PUT = [[
INSERT INTO buckets (bucket, key, value, expires_ms) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT DO UPDATE SET value = excluded.value, expires_ms = excluded.expires_ms]]
M.CLAIM = [[
INSERT INTO buckets (bucket, key, value, expires_ms) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT DO UPDATE SET value = excluded.value, expires_ms = excluded.expires_ms WHERE buckets.expires_ms <= ?5]]
M.GET = "SELECT value FROM buckets WHERE bucket = ?1 AND key = ?2 AND (expires_ms IS NULL OR expires_ms > ?3)"
M.THINGS = [[
SELECT bucket, key, value, expires_ms FROM buckets WHERE expires_ms IS NULL OR expires_ms > ?1 ORDER BY bucket, key]]
M.DELETE = "DELETE FROM buckets WHERE bucket = ?1 AND key = ?2"
M.SWEEP_EXPIRED = [[
DELETE FROM buckets WHERE id IN
(SELECT id FROM buckets WHERE expires_ms <= ?1 ORDER BY expires_ms LIMIT ?2)]]

return M
