/* SPDX-License-Identifier: Apache-2.0 */
/* peer.c - starts, hears and stops other programs. */
#include "tests/e2e/peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/test.h"

#define ARGS_MAX 32

uint64_t peer_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static const char *env_or(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value != NULL ? value : otherwise;
}

void peer_script(char path[PEER_PATH_BYTES], const char *name)
{
    const int size = snprintf(
        path, PEER_PATH_BYTES, "%s/tests/e2e/servers/%s", env_or("HPX_SOURCE_DIR", "."), name);
    assert_in_range(size, 1, PEER_PATH_BYTES - 1);
}

/* In the child, between fork and exec: only async-signal-safe calls. */
static void
child_exec(const peer_options *options, pid_t parent, int out, char **env, const char *const *argv)
{
    const int death_signal = options->death_signal != 0 ? options->death_signal : SIGKILL;
    if (prctl(PR_SET_PDEATHSIG, death_signal) != 0 || getppid() != parent) {
        _exit(126);
    }
    const int none = open("/dev/null", O_RDONLY);
    if (none < 0 || dup2(none, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0) {
        _exit(126);
    }
    close(none);
    if (options->inherited_fd != 0 && fcntl(options->inherited_fd, F_SETFD, 0) != 0) {
        _exit(126);
    }
    char *args[ARGS_MAX] = {NULL};
    for (size_t i = 0; argv[i] != NULL && i < ARGS_MAX - 1; i++) {
        memcpy(&args[i], &argv[i], sizeof(args[i])); /* execvpe() takes what it does not change */
    }
    execvpe(argv[0], args, env);
    _exit(127);
}

void peer_start(e2e_peer *out, const peer_options *options, const char *const *argv)
{
    static const peer_options defaults = {0};
    static char *env[256];
    *out = (e2e_peer){.out = -1};
    (void)snprintf(out->name, sizeof(out->name), "%s", argv[0]);
    options = options != NULL ? options : &defaults;
    size_t count = 0;
    for (; environ[count] != NULL && count < COUNT_OF(env) - 2; count++) {
        env[count] = environ[count];
    }
    if (options->env != NULL) {
        memcpy(&env[count++], &options->env, sizeof(env[0]));
    }
    env[count] = NULL;
    int pipe_fds[2];
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    const pid_t parent = getpid();
    out->pid = fork();
    assert_true(out->pid >= 0);
    if (out->pid == 0) {
        child_exec(options, parent, pipe_fds[1], env, argv);
    }
    (void)close(pipe_fds[1]);
    out->out = pipe_fds[0];
}

void peer_start_script(e2e_peer *out, const char *script, const char *const *args)
{
    char path[PEER_PATH_BYTES];
    peer_script(path, script);
    const size_t size = strlen(script);
    const bool is_js = size > 3 && strcmp(script + size - 3, ".js") == 0;
    const char *argv[ARGS_MAX] = {is_js ? "node" : env_or("HPX_PYTHON", "python3"), path};
    for (size_t i = 0; args != NULL && args[i] != NULL; i++) {
        assert_true(i + 3 < ARGS_MAX);
        argv[i + 2] = args[i];
    }
    peer_start(out, NULL, argv);
    (void)snprintf(out->name, sizeof(out->name), "%s", script);
}

/* ---- Its output ------------------------------------------------------------------------------ */

/* More output into the buffer. False at its end; fails the test at the deadline. */
static bool peer_read(e2e_peer *peer, uint64_t deadline_ms)
{
    assert_true(peer->used < sizeof(peer->buffer));
    const uint64_t now_ms = peer_now_ms();
    struct pollfd fd = {.fd = peer->out, .events = POLLIN};
    const int wait_ms = now_ms < deadline_ms ? (int)(deadline_ms - now_ms) : 0;
    const int ready = poll(&fd, 1, wait_ms);
    if (ready == 0) {
        fail_msg(
            "%s: nothing came in time; so far \"%.*s\"", peer->name, (int)peer->used, peer->buffer);
    }
    if (ready < 0) {
        assert_int_equal(errno, EINTR);
        return true;
    }
    const ssize_t got =
        read(peer->out, peer->buffer + peer->used, sizeof(peer->buffer) - peer->used);
    assert_true(got >= 0);
    peer->used += (size_t)got;
    return got > 0;
}

static const char *peer_line_until(e2e_peer *peer, uint64_t deadline_ms)
{
    char *end;
    while ((end = memchr(peer->buffer, '\n', peer->used)) == NULL) {
        if (!peer_read(peer, deadline_ms)) {
            return NULL;
        }
    }
    const size_t size = (size_t)(end - peer->buffer);
    const size_t kept = size < sizeof(peer->line) ? size : sizeof(peer->line) - 1;
    memcpy(peer->line, peer->buffer, kept);
    peer->line[kept] = '\0';
    peer->used -= size + 1;
    memmove(peer->buffer, end + 1, peer->used);
    return peer->line;
}

const char *peer_next_line(e2e_peer *peer)
{
    return peer_line_until(peer, peer_now_ms() + PEER_DEADLINE_MS);
}

const char *peer_expect(e2e_peer *peer, const char *prefix)
{
    const uint64_t deadline_ms = peer_now_ms() + PEER_DEADLINE_MS;
    const size_t size = strlen(prefix);
    for (;;) {
        const char *line = peer_line_until(peer, deadline_ms);
        if (line == NULL) {
            fail_msg("%s: ended before it said \"%s\"", peer->name, prefix);
        } else if (strncmp(line, prefix, size) == 0 && (line[size] == ' ' || line[size] == '\0')) {
            return line[size] == ' ' ? line + size + 1 : line + size;
        }
    }
}

uint16_t peer_port(e2e_peer *peer, const char *prefix)
{
    const unsigned long port = strtoul(peer_expect(peer, prefix), NULL, 10);
    assert_in_range(port, 1, UINT16_MAX);
    return (uint16_t)port;
}

/* ---- Its end --------------------------------------------------------------------------------- */

void peer_signal(const e2e_peer *peer, int signal)
{
    assert_true(peer->pid > 0);
    assert_int_equal(kill(peer->pid, signal), 0);
}

static int peer_reap(e2e_peer *peer)
{
    int status = 0;
    while (waitpid(peer->pid, &status, 0) < 0) {
        assert_int_equal(errno, EINTR);
    }
    (void)close(peer->out);
    peer->pid = 0;
    peer->out = -1;
    return WIFSIGNALED(status) ? 256 + WTERMSIG(status) : WEXITSTATUS(status);
}

int peer_wait(e2e_peer *peer)
{
    const uint64_t deadline_ms = peer_now_ms() + PEER_DEADLINE_MS;
    for (;;) { /* its output ends when it does, even if nobody wants the output */
        peer->used = peer->used < sizeof(peer->buffer) ? peer->used : 0;
        if (!peer_read(peer, deadline_ms)) {
            return peer_reap(peer);
        }
    }
}

void peer_kill(e2e_peer *peer)
{
    if (peer->pid > 0) {
        (void)kill(peer->pid, SIGKILL);
        (void)peer_reap(peer);
    }
}

int peer_run(char *out, size_t out_bytes, const char *const *argv)
{
    e2e_peer child;
    peer_start(&child, NULL, argv);
    const uint64_t deadline_ms = peer_now_ms() + PEER_DEADLINE_MS;
    size_t used = 0;
    for (bool more = true; more;) {
        child.used = 0;
        more = peer_read(&child, deadline_ms);
        const size_t room = out_bytes - used - 1;
        const size_t kept = child.used < room ? child.used : room;
        memcpy(out + used, child.buffer, kept);
        used += kept;
    }
    out[used] = '\0';
    return peer_reap(&child);
}

bool peer_has(const char *const *argv)
{
    char out[256];
    return peer_run(out, sizeof(out), argv) == 0;
}

/* ---- Folders and ports ----------------------------------------------------------------------- */

void peer_folder_make(char path[PEER_PATH_BYTES])
{
    (void)snprintf(path, PEER_PATH_BYTES, "%s/hpx-e2e-XXXXXX", env_or("TMPDIR", "/tmp"));
    assert_non_null(mkdtemp(path));
}

static int
folder_remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

void peer_folder_remove(const char *path)
{
    assert_int_equal(nftw(path, folder_remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

int peer_bind(bool listening, uint16_t *port)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    const int one = 1;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    assert_int_equal(listening ? listen(fd, 128) : 0, 0);
    *port = ntohs(address.sin_port);
    return fd;
}
