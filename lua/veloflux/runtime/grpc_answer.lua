--- What plugins answer to requests of gRPC, whose clients read a status of their own and a sentence in fields instead
-- of an HTTP status and content (gRPC over HTTP/2, "Responses").
local M = {}

-- What the proxy itself answers has statuses that clients infer from HTTP's; plugins say what they mean.
local STATUS = { [400] = 3, [401] = 16, [403] = 7, [404] = 5, [409] = 6, [429] = 8, [499] = 1, [500] = 13, [501] = 12,
  [503] = 14, [504] = 4 }

--- Says whether a Content-Type is one of gRPC: application/grpc, with +proto or parameters.
function M.is_content_type(content_type)
  local next_char = content_type:lower():match "^application/grpc(.?)"
  return next_char ~= nil and ("+; \t"):find(next_char, 1, true) ~= nil
end

local function status_of(http)
  if STATUS[http] then return STATUS[http] end
  if http >= 500 then return STATUS[500] end
  if http >= 400 then return STATUS[400] end
  return http < 300 and 0 or 2
end

-- What is said of a status when nothing else is.
local WORDS = { [0] = "OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists",
  "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented", "Internal",
  "Unavailable", "DataLoss", "Unauthenticated" }

local function percent(c) return ("%%%02X"):format(c:byte()) end

--- Returns the fields of an answer.
-- @param status of HTTP
-- @param message text for the client; nil or empty: the name of the status
-- @return grpc-status and grpc-message
function M.fields(status, message)
  local code = status_of(status)
  if message == nil or message == "" then message = WORDS[code] end
  return tostring(code), (message:gsub("[^\32-\36\38-\126]", percent))
end

return M
