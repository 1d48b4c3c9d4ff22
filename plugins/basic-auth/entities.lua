return { credential = {
  id = "username",
  password = "password",
  fields = {
    username = { type = "string", required = true, len_max = 256, match = "^[^%c:]+$", order = 1,
      err = "expected a name without colons", description = "The name that the client says." },
    password = { type = "string", required = true, secret = true, len_max = 1024, match = "^[^%c]+$", order = 2,
      description = "The password, or its Argon2id hash ($argon2id$...)." },
  },
} }
