return {
  name = "key-auth",
  fields = {
    { consumer = { refuses = "consumer" } },
    { config = { type = "record", fields = {
      key_names = { type = "array", default = { "apikey" }, len_min = 1, len_max = 16, order = 1,
        elements = { type = "string", len_max = 128, match = "^[%w_-]+$",
          err = "expected a name of letters, digits, _ and -" },
        description = "What keys are called, as header field, query argument and field of the content." },
      key_in_header = { type = "boolean", default = true, order = 2, description = "Keys may be in header fields." },
      key_in_query = { type = "boolean", default = true, order = 3,
        description = "Keys may be in the query, where logs and browsers keep them." },
      key_in_body = { type = "boolean", default = false, order = 4,
        description = "Keys may be in the content, when that is a form or a JSON object; it is read as a whole." },
      hide_credentials = { type = "boolean", default = false, order = 5,
        description = "The backend does not get the key." },
      anonymous = { type = "string", len_max = 256, order = 6,
        description = "The consumer as whom those go on who have no good key. Plugins with it are alternatives." },
      run_on_preflight = { type = "boolean", default = true, order = 7,
        description = "Requests with the method OPTIONS need a key, too." },
      realm = { type = "string", len_max = 256, match = '^[^%c"\\]+$', order = 8,
        err = "expected a text without quotes and backslashes",
        description = "Told to clients without a good key, in WWW-Authenticate." },
    } } },
  },
  entity_checks = { { custom_entity_check = {
    field_sources = { "config.key_in_header", "config.key_in_query", "config.key_in_body" },
    fn = function(config)
      if config.key_in_header or config.key_in_query or config.key_in_body then return true end
      return nil, "a key may be nowhere: expected key_in_header, key_in_query or key_in_body"
    end,
  } } },
}
