/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli.c - options, error lines, stdout and stop signals of the hpx command.
 *
 * Memory    None of its own but stdout's buffer.
 */
#include "cli.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define CLI_STDOUT_BYTES (64u * 1024u)
#define CLI_EXIT_SIGNAL  130 /* what shells show for a process ended by SIGINT */
#define CLI_SECONDS_MAX  1e9

typedef void (*cli_hook)(void);

static atomic_bool cli_stop_flag;
static _Atomic(hpx_shard *) cli_stop_shard;
static _Atomic(cli_hook) cli_exit_hook;
static int cli_stop_event = -1;

void cli_error(const char *format, ...)
{
    assert(format != NULL);
    va_list arguments;
    va_start(arguments, format);
    fflush(stdout);
    fputs("hpx: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

void cli_report(const hpx_error *error)
{
    assert(error != NULL);
    const char *cause = error->detail[0] != '\0' ? error->detail : hpx_status_text(error->status);
    if (error->stage == HPX_STAGE_NONE) {
        cli_error("%s", cause);
    } else {
        cli_error("%s: %s", hpx_stage_name(error->stage), cause);
    }
}

int cli_usage(const char *command, const char *format, ...)
{
    assert(command != NULL);
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "hpx %s: ", command);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, " (try: hpx %s --help)\n", command);
    va_end(arguments);
    return CLI_EXIT_USAGE;
}

static const struct option *cli_long_of(const struct option *longs, int value)
{
    for (; longs->name != NULL; longs++) {
        if (longs->val == value) {
            return longs;
        }
    }
    return NULL;
}

int cli_option(int argc, char **argv, const char *shorts, const struct option *longs)
{
    assert(shorts[0] == ':'); /* so that a missing value is told from an unknown option */
    opterr = 0;
    optopt = 0;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): before any other thread */
    const int value = getopt_long(argc, argv, shorts, longs, NULL);
    if (value != '?' && value != ':') {
        return value; /* CLI_OPTION_END is getopt's own -1 */
    }
    const char *word = argv[optind > 1 ? optind - 1 : 0];
    const struct option *known = optopt == 0 ? NULL : cli_long_of(longs, optopt);
    if (value == ':') {
        cli_usage(argv[0], "option '%s' needs a value", word);
    } else if (known != NULL) {
        cli_usage(argv[0], "option '--%s' takes no value", known->name);
    } else if (optopt != 0) {
        cli_usage(argv[0], "unknown option '-%c'", optopt);
    } else {
        cli_usage(argv[0], "unknown or ambiguous option '%s'", word);
    }
    return CLI_OPTION_BAD;
}

/* Multiplier of a trailing k, M or G, or 0 if `suffix` is something else. */
static uint64_t cli_multiplier(const char *suffix)
{
    assert(suffix != NULL);
    if (suffix[0] == '\0') {
        return 1;
    }
    if (suffix[1] != '\0') {
        return 0;
    }
    switch (suffix[0]) {
    case 'k':
    case 'K':
        return 1000;
    case 'M':
        return UINT64_C(1000000);
    case 'G':
        return UINT64_C(1000000000);
    default:
        return 0;
    }
}

bool cli_number(
    const char *command,
    const char *option,
    const char *value,
    uint64_t min,
    uint64_t max,
    uint64_t *out)
{
    assert(min <= max);
    char *end = NULL;
    errno = 0;
    const unsigned long long number = strtoull(value, &end, 10);
    const uint64_t multiplier = cli_multiplier(end);
    const bool is_digits = value[0] >= '0' && value[0] <= '9';
    if (!is_digits || errno != 0 || multiplier == 0 || number > UINT64_MAX / multiplier ||
        number * multiplier < min || number * multiplier > max) {
        cli_usage(
            command,
            "--%s '%s' is not a number from %llu to %llu",
            option,
            value,
            (unsigned long long)min,
            (unsigned long long)max);
        return false;
    }
    *out = number * multiplier;
    return true;
}

bool cli_seconds(const char *command, const char *option, const char *value, uint64_t *out_ns)
{
    assert(out_ns != NULL);
    char *end = NULL;
    const double seconds = strtod(value, &end);
    const bool is_whole = end != value && (*end == '\0' || strcmp(end, "s") == 0);
    if (!is_whole || !isfinite(seconds) || seconds < 1e-9 || seconds > CLI_SECONDS_MAX) {
        cli_usage(command, "--%s '%s' is not a number of seconds above 0", option, value);
        return false;
    }
    *out_ns = (uint64_t)(seconds * (double)HPX_NS_PER_S);
    return true;
}

void cli_init(void)
{
    /* Without this a socket or the ring could become descriptor 1, and printing would write to it.
     */
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (fd >= 0 && fd <= STDERR_FILENO) {
        fd = open("/dev/null", O_RDWR);
    }
    if (fd > STDERR_FILENO) {
        close(fd);
    }
    signal(SIGPIPE, SIG_IGN);
    static char buffer[CLI_STDOUT_BYTES];
    setvbuf(stdout, buffer, isatty(STDOUT_FILENO) ? _IOLBF : _IOFBF, sizeof(buffer));
}

const char *cli_errno_text(int os_errno)
{
    const char *known = strerrordesc_np(os_errno);
    return known != NULL ? known : "unknown error";
}

const char *cli_env(const char *name)
{
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): nothing here sets the environment */
    const char *value = getenv(name);
    return value == NULL || value[0] == '\0' ? NULL : value;
}

bool cli_has_escapes(void)
{
    const char *term = cli_env("TERM");
    return isatty(STDOUT_FILENO) == 1 && cli_env("NO_COLOR") == NULL && term != NULL &&
           strcmp(term, "dumb") != 0;
}

/* What is wrong with stdout: 0, or an errno. */
static int cli_flush_errno(void)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout)) {
        return 0;
    }
    return errno == 0 ? EPIPE : errno;
}

bool cli_flush(void)
{
    return cli_flush_errno() == 0;
}

int cli_finish(int code)
{
    assert(code >= 0);
    const int error = cli_flush_errno();
    if (error == 0) {
        return code;
    }
    if (error == EPIPE) {
        return CLI_EXIT_OK; /* `hpx ... | head`: the reader has seen what it wanted */
    }
    fprintf(stderr, "hpx: stdout: %s\n", cli_errno_text(error));
    return CLI_EXIT_FAILED;
}

/* Async-signal-safe calls only. */
static void cli_on_stop(int signal_number)
{
    (void)signal_number;
    const int saved_errno = errno;
    if (atomic_exchange_explicit(&cli_stop_flag, true, memory_order_relaxed)) {
        const cli_hook hook = atomic_load_explicit(&cli_exit_hook, memory_order_acquire);
        if (hook != NULL) {
            hook();
        }
        _exit(CLI_EXIT_SIGNAL);
    }
    const uint64_t one = 1;
    if (write(cli_stop_event, &one, sizeof(one)) < 0) {
        /* An eventfd that is full is readable already. */
    }
    hpx_shard *shard = atomic_load_explicit(&cli_stop_shard, memory_order_acquire);
    if (shard != NULL) {
        hpx_shard_wake(shard);
    }
    errno = saved_errno;
}

void cli_catch_stop(hpx_shard *shard)
{
    atomic_store_explicit(&cli_stop_shard, shard, memory_order_release);
    if (cli_stop_event >= 0) {
        return;
    }
    cli_stop_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct sigaction action = {.sa_handler = cli_on_stop, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

void cli_set_exit_hook(void (*hook)(void))
{
    atomic_store_explicit(&cli_exit_hook, hook, memory_order_release);
}

bool cli_stopping(void)
{
    return atomic_load_explicit(&cli_stop_flag, memory_order_relaxed);
}

int cli_stop_fd(void)
{
    assert(cli_stop_event >= 0);
    return cli_stop_event;
}
