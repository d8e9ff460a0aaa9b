/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli.h - what every subcommand shares: exit codes, options, errors, stdout, Ctrl-C.
 *
 * Threads   Main thread only, except cli_stopping().
 */
#ifndef HPX_TOOL_CLI_H
#define HPX_TOOL_CLI_H

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>

#include <hpx/hpx.h>

#define CLI_COUNT_OF(array)       (sizeof(array) / sizeof((array)[0]))
#define CLI_PRINTF(string, first) __attribute__((format(printf, string, first)))

/* Documented in `hpx --help`. */
enum {
    CLI_EXIT_OK = 0,
    CLI_EXIT_FAILED = 1,
    CLI_EXIT_USAGE = 2,
    CLI_EXIT_TIMEOUT = 3,
    CLI_EXIT_PEER_CLOSED = 4,
    CLI_EXIT_STATUS = 5,
};

/* Answers of cli_option() that are no option. */
enum {
    CLI_OPTION_END = -1,
    CLI_OPTION_BAD = -2, /* the line is printed: return CLI_EXIT_USAGE */
};

/* "hpx: ..." on stderr, one line. */
void cli_error(const char *format, ...) CLI_PRINTF(1, 2);

/* "hpx: STAGE: CAUSE" on stderr. */
void cli_report(const hpx_error *error);

/* "hpx COMMAND: ... (try: hpx COMMAND --help)" on stderr. Returns CLI_EXIT_USAGE. */
int cli_usage(const char *command, const char *format, ...) CLI_PRINTF(2, 3);

/* getopt_long() with our error lines. `argv[0]` is the command's name. */
int cli_option(int argc, char **argv, const char *shorts, const struct option *longs);

/* The number in optarg must lie in min..max; otherwise prints a usage error, false. */
bool cli_number(
    const char *command,
    const char *option,
    const char *value,
    uint64_t min,
    uint64_t max,
    uint64_t *out);

/* Seconds, fractions allowed, as nanoseconds; > 0. */
bool cli_seconds(const char *command, const char *option, const char *value, uint64_t *out_ns);

/* Standard descriptors exist, SIGPIPE is ignored, stdout has a large buffer. */
void cli_init(void);

/* strerror() that any thread may call; static text. */
const char *cli_errno_text(int os_errno);

/* An environment variable that is set and not empty, or NULL. */
const char *cli_env(const char *name);

/* True if escapes may be written to stdout: a terminal, not TERM=dumb, no NO_COLOR. */
bool cli_has_escapes(void);

/* Flush stdout. False once nobody reads it: stop, quietly. */
bool cli_flush(void);

/* Flush stdout at the end; the process's exit code. */
int cli_finish(int code);

/* SIGINT, SIGTERM and SIGHUP set the stop flag, make cli_stop_fd() readable and wake `shard` (may
 * be NULL); a second one ends the process at once. */
void cli_catch_stop(hpx_shard *shard);
bool cli_stopping(void);
int cli_stop_fd(void);

/* Called (async-signal-safe) before that end; NULL: nothing. */
void cli_set_exit_hook(void (*hook)(void));

#endif /* HPX_TOOL_CLI_H */
