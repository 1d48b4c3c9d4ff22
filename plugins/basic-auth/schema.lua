return {
  name = "basic-auth",
  fields = {
    { consumer = { refuses = "consumer" } },
    { config = { type = "record", fields = {
      hide_credentials = { type = "boolean", default = false, order = 1,
        description = "The backend does not get the header field with name and password." },
      anonymous = { type = "string", len_max = 256, order = 2,
        description = "The consumer as whom those go on whose login is missing or wrong. Plugins with it are " ..
          "alternatives." },
      realm = { type = "string", default = "service", len_max = 256, match = '^[^%c"\\]+$', order = 3,
        err = "expected a text without quotes and backslashes",
        description = "Told to clients whose login is missing or wrong, in WWW-Authenticate; browsers show it." },
      run_on_preflight = { type = "boolean", default = true, order = 4,
        description = "Requests with the method OPTIONS need a login, too." },
    } } },
  },
}
