/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: in steady state a message costs no allocation, one send call, and no other system call
 * beyond what receiving needs (P12).
 * Method: three processes. A server echoes. A client in spin mode sends and receives 100,000
 * messages, one at a time, and marks the measured part with two system calls that nothing else
 * makes. The test traces the client with ptrace and counts its system calls by number between the
 * marks: the kernel's word, not our counters'. In the client every malloc-family call is counted
 * by interposition (not under a sanitizer, which has its own malloc), and the engine's allocator
 * and wolfSSL's likewise.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <hpx/hpx.h>

#include "tests/support/test.h"
#include "tests/tls/certs.h"
#include "tls/tls.h"

#define WARM_UP       2000u
#define MESSAGE_BYTES 128u
#define SYSCALLS_MAX  512

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTS_MALLOC 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define COUNTS_MALLOC 0
#endif
#endif
#ifndef COUNTS_MALLOC
#define COUNTS_MALLOC 1
#endif

#define MESSAGES (COUNTS_MALLOC ? 100000u : 10000u) /* sanitizers make it slow, not different */

/* What the client tells the test, in shared memory. */
typedef struct report {
    uint64_t echoed;
    uint64_t mallocs;
    uint64_t engine_allocations;
    uint64_t tls_allocations;
    uint64_t send_syscalls; /* the library's own count, to be checked against the kernel's */
    char failure[256];
} report;

static uint64_t mallocs;

#if COUNTS_MALLOC
/* glibc's own names for what is interposed here. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void *__libc_memalign(size_t align, size_t size);

void *malloc(size_t size)
{
    mallocs++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    mallocs++;
    return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
    mallocs++;
    return __libc_realloc(block, size);
}

void *aligned_alloc(size_t align, size_t size)
{
    mallocs++;
    return __libc_memalign(align, size);
}
#endif

/* ---- Server ---------------------------------------------------------------------------------- */

static void on_server(hpx_conn *conn, const hpx_event *event, void *user)
{
    (void)user;
    if (event->kind == HPX_EVENT_MESSAGE &&
        hpx_conn_send(conn, event->message_kind, event->payload) != HPX_OK) {
        _exit(3);
    }
}

static void serve(hpx_tls_context *tls, int port_pipe)
{
    hpx_engine_config config = HPX_ENGINE_CONFIG_INIT;
    config.shard_mode = HPX_SHARDS_POLLED;
    config.wait_mode = HPX_WAIT_SLEEP;
    hpx_engine *engine = NULL;
    hpx_error error;
    hpx_listener *listener = NULL;
    hpx_listen_config listen = HPX_LISTEN_CONFIG_INIT;
    listen.address = "127.0.0.1:0";
    listen.on_event = on_server;
    listen.tls = tls;
    if (hpx_engine_new(&engine, &config, &error) != HPX_OK ||
        hpx_engine_start(engine, &error) != HPX_OK ||
        hpx_shard_attach(hpx_engine_shard(engine, 0), &error) != HPX_OK ||
        hpx_shard_listen(hpx_engine_shard(engine, 0), &listen, &listener, &error) != HPX_OK) {
        _exit(2);
    }
    const uint16_t port = hpx_listener_get_port(listener);
    if (write(port_pipe, &port, sizeof(port)) != (ssize_t)sizeof(port)) {
        _exit(2);
    }
    for (;;) {
        (void)hpx_shard_poll_wait(hpx_engine_shard(engine, 0), HPX_NS_PER_S);
    }
}

/* ---- Client ---------------------------------------------------------------------------------- */

typedef struct client {
    hpx_conn *conn;
    uint64_t echoed;
    bool ready;
    bool ended;
    report *out;
} client;

static void on_client(hpx_conn *conn, const hpx_event *event, void *user)
{
    client *c = user;
    (void)conn;
    switch (event->kind) {
    case HPX_EVENT_CONNECTED:
        c->ready = true;
        break;
    case HPX_EVENT_MESSAGE:
        c->echoed++;
        break;
    case HPX_EVENT_DISCONNECTED:
        (void)snprintf(c->out->failure, sizeof(c->out->failure), "%s", event->error->detail);
        break;
    case HPX_EVENT_CLOSED:
        c->ended = true;
        break;
    case HPX_EVENT_WRITABLE:
        break;
    }
}

static void exchange(client *c, hpx_shard *shard, uint32_t count)
{
    static const uint8_t bytes[MESSAGE_BYTES];
    const hpx_span payload = {.data = bytes, .size = sizeof(bytes)};
    for (uint32_t i = 0; i < count && !c->ended; i++) {
        const uint64_t before = c->echoed;
        if (hpx_conn_send(c->conn, HPX_MESSAGE_BINARY, payload) != HPX_OK) {
            _exit(4);
        }
        while (c->echoed == before && !c->ended) {
            (void)hpx_shard_poll(shard);
        }
    }
}

/* A system call that the library never makes, so that the tracer sees where to count. */
static void mark(void)
{
    (void)syscall(SYS_getppid);
}

static void run_client(uint16_t port, hpx_receive_mode mode, hpx_tls_context *tls, report *out)
{
    hpx_engine_config config = HPX_ENGINE_CONFIG_INIT;
    config.shard_mode = HPX_SHARDS_POLLED;
    config.wait_mode = HPX_WAIT_SPIN;
    hpx_engine *engine = NULL;
    hpx_error error = {0};
    char url[64];
    (void)snprintf(url, sizeof(url), "%s://localhost:%u/", tls != NULL ? "wss" : "ws", port);
    client c = {.out = out};
    hpx_ws_config ws = HPX_WS_CONFIG_INIT;
    ws.url = url;
    ws.tls = tls;
    ws.on_event = on_client;
    ws.user = &c;
    ws.receive_mode = mode;
    ws.ping_interval_ns = HPX_NEVER; /* a ping would be one more send */
    if (hpx_engine_new(&engine, &config, &error) != HPX_OK ||
        hpx_engine_start(engine, &error) != HPX_OK ||
        hpx_shard_attach(hpx_engine_shard(engine, 0), &error) != HPX_OK ||
        hpx_shard_connect(hpx_engine_shard(engine, 0), &ws, &c.conn, &error) != HPX_OK) {
        (void)snprintf(out->failure, sizeof(out->failure), "%s", error.detail);
        _exit(1);
    }
    hpx_shard *shard = hpx_engine_shard(engine, 0);
    while (!c.ready && !c.ended) {
        (void)hpx_shard_poll(shard);
    }
    exchange(&c, shard, WARM_UP);
    hpx_shard_stats before;
    hpx_shard_stats after;
    hpx_shard_get_stats(shard, &before);
    const uint64_t mallocs_before = mallocs;
    const uint64_t tls_before = hpxi_tls_allocations();
    mark();
    exchange(&c, shard, MESSAGES);
    mark();
    hpx_shard_get_stats(shard, &after);
    out->mallocs = mallocs - mallocs_before;
    out->tls_allocations = hpxi_tls_allocations() - tls_before;
    out->engine_allocations = after.allocations - before.allocations;
    out->send_syscalls = after.send_syscalls - before.send_syscalls;
    out->echoed = c.echoed - WARM_UP;
    _exit(c.ended ? 1 : 0);
}

/* ---- Tracer ---------------------------------------------------------------------------------- */

/* Counts the tracee's system calls between its two marks. */
static void count_syscalls(pid_t pid, uint64_t counts[SYSCALLS_MAX])
{
    int status = 0;
    bool counting = false;
    bool entering = true;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSTOPPED(status));
    assert_int_equal(
        ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)),
        0);
    for (;;) {
        assert_int_equal(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            assert_true(WIFEXITED(status));
            assert_int_equal(WEXITSTATUS(status), 0);
            return;
        }
        if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
            continue;
        }
        if (entering) {
            struct __ptrace_syscall_info info;
            assert_true(ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof(info), &info) > 0);
            const uint64_t number = info.entry.nr;
            if (number == SYS_getppid) {
                counting = !counting;
            } else if (counting && number < SYSCALLS_MAX) {
                counts[number]++;
            }
        }
        entering = !entering;
    }
}

static hpx_tls_context *server_tls;
static hpx_tls_context *client_tls;

static void measure(hpx_receive_mode mode, bool tls, report *out, uint64_t *counts)
{
    int ports[2];
    uint16_t port = 0;
    assert_int_equal(pipe(ports), 0);
    const pid_t server = fork();
    assert_true(server >= 0);
    if (server == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve(tls ? server_tls : NULL, ports[1]);
    }
    assert_int_equal(read(ports[0], &port, sizeof(port)), sizeof(port));
    report *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    const pid_t client_pid = fork();
    assert_true(client_pid >= 0);
    if (client_pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) {
            _exit(TEST_EXIT_SKIP);
        }
        (void)raise(SIGSTOP);
        run_client(port, mode, tls ? client_tls : NULL, shared);
    }
    count_syscalls(client_pid, counts);
    *out = *shared;
    (void)munmap(shared, sizeof(*shared));
    (void)kill(server, SIGKILL);
    (void)waitpid(server, NULL, 0);
    (void)close(ports[0]);
    (void)close(ports[1]);
}

static void expect_lean(hpx_receive_mode mode, bool tls)
{
    report result;
    uint64_t counts[SYSCALLS_MAX] = {0};
    measure(mode, tls, &result, counts);
    assert_string_equal(result.failure, "");
    assert_int_equal(result.echoed, MESSAGES);
    assert_int_equal(result.mallocs, 0);
    assert_int_equal(result.engine_allocations, 0);
    assert_int_equal(result.tls_allocations, 0);

    const uint64_t sends = counts[SYS_sendto];
    const uint64_t enters = counts[SYS_io_uring_enter];
    const uint64_t recvs = counts[SYS_recvfrom];
    print_message(
        "%s %s: per message %.4f sends, %.4f enters, %.4f recvs\n",
        tls ? "tls" : "plain",
        mode == HPX_RECEIVE_HOT ? "hot" : "multishot",
        (double)sends / MESSAGES,
        (double)enters / MESSAGES,
        (double)recvs / MESSAGES);
    assert_true(sends <= MESSAGES);
    assert_int_equal(sends, result.send_syscalls);
    if (mode == HPX_RECEIVE_HOT) {
        assert_true(recvs >= MESSAGES);
        assert_true(enters <= MESSAGES / 1000); /* nothing is armed but the doorbell */
    } else {
        assert_int_equal(recvs, 0);
        assert_true(enters <= MESSAGES + MESSAGES / 100); /* one enter brings one message */
    }
    for (size_t i = 0; i < SYSCALLS_MAX; i++) {
        const bool expected = i == SYS_sendto || i == SYS_io_uring_enter || i == SYS_recvfrom;
        if (!expected && counts[i] > 16) { /* a handful: the clock's re-anchoring without vDSO */
            fail_msg("system call %zu was made %llu times", i, (unsigned long long)counts[i]);
        }
    }
}

static void test_plain_multishot_when_steady_then_one_send_and_no_allocation(void **state)
{
    (void)state;
    expect_lean(HPX_RECEIVE_MULTISHOT, false);
}

static void test_plain_hot_when_steady_then_one_send_and_no_allocation(void **state)
{
    (void)state;
    expect_lean(HPX_RECEIVE_HOT, false);
}

static void test_tls_multishot_when_steady_then_one_send_and_no_allocation(void **state)
{
    (void)state;
    expect_lean(HPX_RECEIVE_MULTISHOT, true);
}

/* A CA, a certificate for localhost, and both contexts. */
static int make_tls(void **state)
{
    (void)state;
    static const certs_spec ca_spec = {.common_name = "test CA", .is_ca = true};
    static const certs_spec leaf_spec = {.common_name = "localhost", .san = {SAN_DNS("localhost")}};
    static certs_identity ca;
    static certs_identity leaf;
    char folder[CERTS_PATH_MAX];
    char ca_path[CERTS_PATH_MAX];
    char cert_path[CERTS_PATH_MAX];
    char key_path[CERTS_PATH_MAX];
    char pem[CERTS_PEM_MAX];
    certs_make(&ca, &ca_spec, NULL);
    certs_make(&leaf, &leaf_spec, &ca);
    certs_folder_make(folder);
    (void)certs_pem(pem, (const certs_identity *const[]){&ca}, 1);
    certs_write_file(ca_path, folder, "ca.pem", pem);
    (void)certs_pem(pem, (const certs_identity *const[]){&leaf}, 1);
    certs_write_file(cert_path, folder, "cert.pem", pem);
    (void)certs_key_pem(pem, &leaf);
    certs_write_file(key_path, folder, "key.pem", pem);
    hpx_tls_config config = HPX_TLS_CONFIG_INIT;
    config.cert_file = cert_path;
    config.key_file = key_path;
    assert_int_equal(hpx_tls_server_context_new(&server_tls, &config, NULL), HPX_OK);
    config = (hpx_tls_config)HPX_TLS_CONFIG_INIT;
    config.ca_file = ca_path;
    assert_int_equal(hpx_tls_client_context_new(&client_tls, &config, NULL), HPX_OK);
    certs_folder_remove(folder);
    certs_free(&leaf);
    certs_free(&ca);
    return 0;
}

static int free_tls(void **state)
{
    (void)state;
    hpx_tls_context_release(server_tls);
    hpx_tls_context_release(client_tls);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_multishot_when_steady_then_one_send_and_no_allocation),
        cmocka_unit_test(test_plain_hot_when_steady_then_one_send_and_no_allocation),
        cmocka_unit_test(test_tls_multishot_when_steady_then_one_send_and_no_allocation),
    };
    return cmocka_run_group_tests_name("engine/steady_state", tests, make_tls, free_tls);
}
