/* main.c - the command line: who this process is. One program plays all parts: the supervisor (run,
 * proxy), its children (--role, hidden), and the commands that talk to a running instance. */
#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "checker/process.h"
#include "control/control.h"
#include "lua/cli.h"
#include "supervisor/supervisor.h"
#include "worker/worker.h"

static const char usage[] =
    "usage: veloflux run [-c FILE] [--watch]\n"
    "       veloflux check [-c FILE] [--explain METHOD URL]\n"
    "       veloflux proxy --from ADDRESS --to ADDRESS\n"
    "       veloflux reload | status | stop [-c FILE]\n"
    "       veloflux plugin new NAME | test [DIR] | docs [DIR | --all] | list   (plugin --help)\n"
    "       veloflux store copy --from STORE --to STORE   (store --help)\n"
    "       veloflux ctl COMMAND ...   the admin API of a running instance (ctl --help)\n"
    "       veloflux version\n"
    "FILE is conf/veloflux.yaml unless -c, --config or VFX_CONFIG names another.\n";

static int fail(const char *message, const char *what)
{
    fprintf(stderr, "veloflux: %s%s\n%s", message, what, usage);
    return 1;
}

/* Says what is wrong with the option that getopt_long has just refused. */
static int bad_option(const char *command, int refused, char **argv)
{
    fprintf(stderr, "veloflux %s: %s %s\n%s", command,
            refused == ':' ? "a value is missing behind" : "unknown option", argv[optind - 1],
            usage);
    return 1;
}

static bool asks_for_help(const char *argument)
{
    return strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0;
}

/* The value of `--name=value`, or NULL when `argument` is another option. */
static const char *value_of(const char *argument, const char *name)
{
    size_t len = strlen(name);
    return strncmp(argument, name, len) == 0 && argument[len] == '=' ? argument + len + 1 : NULL;
}

/* Could this binary take over from the one that runs? */
static int probe(void)
{
    char conf[PATH_MAX];
    int conf_fd;
    if (vf_supervisor_probe(VF_PROBE_TABLE_FD, conf, sizeof(conf), &conf_fd) < 0 ||
        vf_control_probe(conf, conf_fd) != 0)
        return 1;
    return vf_supervisor_vouch(VF_PROBE_TABLE_FD) < 0;
}

static int run_role(const char *role)
{
    if (strcmp(role, "worker") == 0)
        return vf_worker_main();
    if (strcmp(role, "checker") == 0)
        return vf_checker_main();
    if (strcmp(role, "control") == 0)
        return vf_control_main();
    if (strcmp(role, "probe") == 0)
        return probe();
    return fail("unknown role ", role);
}

static const char *default_conf(void)
{
    const char *conf = getenv("VFX_CONFIG");
    return conf != NULL && conf[0] != '\0' ? conf : "conf/veloflux.yaml";
}

static int run(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"watch", no_argument, NULL, 'w'},
                                            {NULL, 0, NULL, 0}};
    struct vf_supervisor_options chosen = {.conf = default_conf(), .conf_fd = -1};
    int option;
    while ((option = getopt_long(argc, argv, ":c:", options, NULL)) != -1) {
        if (option == 'c')
            chosen.conf = optarg;
        else if (option == 'w')
            chosen.watch = true;
        else
            return bad_option("run", option, argv);
    }
    if (optind < argc)
        return fail("unexpected argument ", argv[optind]);
    return vf_supervisor_run(&chosen);
}

/* Writes the address as a YAML string in double quotes; refuses what could leave it. */
static int put_quoted(FILE *out, const char *before, const char *text)
{
    if (strpbrk(text, "\"\\\n\r$") != NULL)
        return -1;
    return fprintf(out, "%s\"%s\"", before, text) < 0 ? -1 : 0;
}

/* The conf of `veloflux proxy`, in a memfd, or -1. */
static int make_proxy_conf(const char *from, const char *to, const char *data_dir)
{
    int fd = memfd_create("veloflux-conf", MFD_CLOEXEC);
    FILE *out = fd >= 0 ? fdopen(dup(fd), "w") : NULL;
    if (out == NULL)
        return -1;
    int rc = put_quoted(out, "data_dir: ", data_dir);
    rc |= put_quoted(out, "\nlisteners: [ { name: http, address: ", from);
    rc |= put_quoted(out,
                     " } ]\nadmin: { address: \"127.0.0.1:0\" }\npools: [ { name: web, backends: "
                     "[ { address: ",
                     to);
    fputs(" } ] } ]\nroutes: [ { name: all, host: \"*\", path_prefix: /, pool: web } ]\n", out);
    if (fclose(out) != 0 || rc != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int proxy(int argc, char **argv)
{
    static const struct option options[] = {{"from", required_argument, NULL, 'f'},
                                            {"to", required_argument, NULL, 't'},
                                            {NULL, 0, NULL, 0}};
    static char folder[] = "/tmp/veloflux-proxy-XXXXXX";
    const char *from = NULL, *to = NULL;
    int option;
    while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
        if (option == 'f')
            from = optarg;
        else if (option == 't')
            to = optarg;
        else
            return bad_option("proxy", option, argv);
    }
    if (from == NULL || to == NULL || optind < argc)
        return fail("proxy needs --from ADDRESS and --to ADDRESS", "");
    if (mkdtemp(folder) == NULL) {
        perror(folder);
        return 1;
    }
    struct vf_supervisor_options chosen = {.conf = "command line", .private_dir = folder};
    chosen.conf_fd = make_proxy_conf(from, to, folder);
    if (chosen.conf_fd < 0) {
        rmdir(folder);
        return fail("an address has a character that no address has", "");
    }
    return vf_supervisor_run(&chosen);
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "";
    const char *role = value_of(command, "--role");
    const char *table = value_of(argv[argc - 1], "--handover");
    if (role != NULL)
        return run_role(role);
    if (table != NULL)
        return vf_supervisor_take_over(atoi(table));
    bool is_simple = strcmp(command, "ctl") != 0 && strcmp(command, "plugin") != 0 &&
                     strcmp(command, "store") != 0; /* the others have a help of their own */
    if (asks_for_help(command) || strcmp(command, "help") == 0 ||
        (is_simple && argc > 2 && asks_for_help(argv[2]))) {
        fputs(usage, stdout);
        return 0;
    }
    if (strcmp(command, "run") == 0)
        return run(argc - 1, argv + 1);
    if (strcmp(command, "proxy") == 0)
        return proxy(argc - 1, argv + 1);
    if (strcmp(command, "--version") == 0 || strcmp(command, "version") == 0) {
        printf("veloflux %s\n", vf_version());
        return 0;
    }
    static const char *const others[] = {"check",  "reload", "status", "stop",
                                         "plugin", "store",  "ctl",    "docs"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (strcmp(command, others[i]) == 0)
            return vf_cli_main(argc, argv);
    return command[0] == '\0' ? fail("no command", "") : fail("unknown command ", command);
}
