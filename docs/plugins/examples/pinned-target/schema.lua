return {
  header = { type = "string", default = "X-Tester", description = "The field that testers send ..." },
  value = { type = "string", default = "yes", description = "... and what it says." },
  target = { type = "address", required = true, description = "Where their requests go." },
}
