/* lua/cli.h - the commands that ask and end: check, reload, status, stop, docs.
 * They are Lua, lua/veloflux/cli/; the others are in main.c. */
#ifndef VF_LUA_CLI_H
#define VF_LUA_CLI_H

/* Runs the command argv[1] with the arguments behind it. Returns the exit status: 0 or 1. */
int vf_cli_main(int argc, char **argv);

/* Returns the version of this build, such as "0.1.0+2e229b6"; static. */
const char *vf_version(void);

/* Returns when its source was committed, else when it was built (RFC 3339, UTC); static. */
const char *vf_build_date(void);

#endif
