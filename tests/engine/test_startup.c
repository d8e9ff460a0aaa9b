/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: an engine that cannot start says what is wrong and what to do; a bad configuration is
 * refused by name; a failed start leaves nothing behind.
 * Method: tables of bad members; seccomp filters in child processes for what the machine forbids;
 * descriptors and the allocator's blocks are counted before and after.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <hpx/hpx.h>

#include "tests/support/descriptors.h"
#include "tests/support/test.h"

static void test_engine_new_when_member_is_bad_then_named(void **state)
{
    (void)state;
    const struct {
        const char *name;
        hpx_engine_config config;
    } rows[] = {
        {"shard_count", {.shard_count = 65}},
        {"ports_max", {.ports_max = 257}},
        {"connections_max", {.connections_max = 7}},
        {"hot_connections_max", {.hot_connections_max = 65}},
        {"recv_slot_bytes", {.recv_slot_bytes = 3000}},
        {"recv_slot_bytes", {.recv_slot_bytes = 1024}},
        {"recv_slot_count", {.recv_slot_count = 65536}},
        {"sq_entries", {.sq_entries = 12}},
        {"cq_entries", {.cq_entries = 16}},
        {"flags", {.flags = 1}},
        {"shard_mode", {.shard_mode = (hpx_shard_mode)7}},
        {"wait_mode", {.wait_mode = (hpx_wait_mode)9}},
        {"cpu_count", {.cpu_count = 1}},
        {"name", {.name = "a name too long"}},
        {"dns_cache_entries", {.dns_cache_entries = 5000}},
        {"tls_session_hosts_max", {.tls_session_hosts_max = 65537}},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        hpx_engine_config config = rows[i].config;
        config.size = (uint32_t)sizeof(config);
        hpx_engine *engine = (hpx_engine *)&config;
        hpx_error error = {0};
        assert_int_equal(hpx_engine_new(&engine, &config, &error), HPX_E_INVALID);
        assert_null(engine);
        assert_int_equal(error.stage, HPX_STAGE_CONFIG);
        if (strncmp(error.detail, rows[i].name, strlen(rows[i].name)) != 0) {
            fail_msg("row %zu: \"%s\" does not begin with %s", i, error.detail, rows[i].name);
        }
    }
    const hpx_engine_config unset = {0};
    hpx_engine *engine = NULL;
    assert_int_equal(hpx_engine_new(&engine, &unset, NULL), HPX_E_INVALID);
}

static void test_engine_start_when_cpu_is_missing_then_cpus_are_told(void **state)
{
    (void)state;
    const uint32_t cpus[] = {1000};
    hpx_engine_config config = HPX_ENGINE_CONFIG_INIT;
    config.cpus = cpus;
    config.cpu_count = 1;
    hpx_engine *engine = NULL;
    hpx_error error = {0};
    const unsigned before = test_descriptors();
    assert_int_equal(hpx_engine_new(&engine, &config, &error), HPX_OK);
    assert_int_equal(hpx_engine_start(engine, &error), HPX_E_CPU);
    assert_int_equal(error.status, HPX_E_CPU);
    assert_non_null(strstr(error.detail, "CPU 1000"));
    assert_non_null(strstr(error.detail, "may use CPUs 0"));
    hpx_port *port = NULL;
    assert_int_equal(hpx_port_open(&port, engine, NULL, &error), HPX_E_STATE);
    hpx_engine_free(engine);
    assert_int_equal(test_descriptors(), before);
}

/* From here on `number` fails with `err` in this process. */
static void forbid(long number, unsigned err)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), /* offsetof(struct seccomp_data, nr) */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | err),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = COUNT_OF(code), .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        _exit(TEST_EXIT_SKIP);
    }
}

/* Starts an engine in a child where `number` fails; the child's exit status is 0 if it got
 * `wanted` with a detail that has `word` in it. */
static void expect_start(long number, unsigned err, hpx_status wanted, const char *word)
{
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (err == ENOMEM) { /* root is not bound by the limit that this error is about */
            const struct rlimit limit = {.rlim_cur = 64u << 10, .rlim_max = 64u << 10};
            if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0 || (geteuid() == 0 && setuid(65534) != 0)) {
                _exit(TEST_EXIT_SKIP);
            }
        }
        forbid(number, err);
        hpx_engine *engine = NULL;
        hpx_error error = {0};
        if (hpx_engine_new(&engine, NULL, &error) != HPX_OK) {
            _exit(10);
        }
        const hpx_status status = hpx_engine_start(engine, &error);
        if (status != wanted || error.status != wanted || strstr(error.detail, word) == NULL) {
            fprintf(stderr, "got %s: %s\n", hpx_status_name(status), error.detail);
            _exit(11);
        }
        hpx_engine_free(engine);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_engine_start_when_io_uring_is_forbidden_then_cause_and_remedy(void **state)
{
    (void)state;
    expect_start(SYS_io_uring_setup, EPERM, HPX_E_URING_BLOCKED, "seccomp");
    expect_start(SYS_io_uring_setup, ENOSYS, HPX_E_URING_BLOCKED, "seccomp");
    expect_start(SYS_io_uring_setup, ENOMEM, HPX_E_MEMLOCK, "ulimit -l");
    expect_start(SYS_io_uring_register, EPERM, HPX_E_URING_BLOCKED, "seccomp");
}

typedef struct started {
    _Atomic uint32_t calls;
    char names[4][16];
} started;

static void on_start(hpx_shard *shard, void *user)
{
    started *s = user;
    const uint32_t index = hpx_shard_index(shard);
    (void)pthread_getname_np(pthread_self(), s->names[index], sizeof(s->names[index]));
    atomic_fetch_add(&s->calls, 1);
}

static void test_engine_start_when_threads_then_named_and_stopped(void **state)
{
    (void)state;
    const unsigned before = test_descriptors();
    for (unsigned round = 0; round < 3; round++) {
        started s = {0};
        hpx_engine_config config = HPX_ENGINE_CONFIG_INIT;
        config.name = "gateway";
        config.shard_count = 4;
        config.on_shard_start = on_start;
        config.user = &s;
        hpx_engine *engine = NULL;
        hpx_error error = {0};
        assert_int_equal(hpx_engine_new(&engine, &config, &error), HPX_OK);
        assert_int_equal(hpx_engine_start(engine, &error), HPX_OK);
        assert_int_equal(atomic_load(&s.calls), 4);
        assert_string_equal(s.names[3], "gateway-3");
        assert_int_equal(hpx_engine_start(engine, &error), HPX_E_STATE);
        assert_int_equal(hpx_shard_poll(hpx_engine_shard(engine, 0)), HPX_E_STATE);
        assert_null(hpx_engine_shard(engine, 4));
        assert_int_equal(hpx_engine_stop_wait(engine, HPX_NS_PER_S), HPX_OK);
        hpx_engine_free(engine);
    }
    assert_int_equal(test_descriptors(), before);
}

static void test_port_open_when_limit_is_met_then_told_and_reusable(void **state)
{
    (void)state;
    hpx_engine_config config = HPX_ENGINE_CONFIG_INIT;
    config.ports_max = 2;
    hpx_engine *engine = NULL;
    hpx_error error = {0};
    assert_int_equal(hpx_engine_new(&engine, &config, &error), HPX_OK);
    assert_int_equal(hpx_engine_start(engine, &error), HPX_OK);
    hpx_port *ports[3] = {NULL};
    assert_int_equal(hpx_port_open(&ports[0], engine, NULL, &error), HPX_OK);
    assert_int_equal(hpx_port_open(&ports[1], engine, NULL, &error), HPX_OK);
    assert_int_equal(hpx_port_open(&ports[2], engine, NULL, &error), HPX_E_LIMIT);
    hpx_port_config bad = HPX_PORT_CONFIG_INIT;
    bad.data_ring_bytes = 100000;
    assert_int_equal(hpx_port_open(&ports[2], engine, &bad, &error), HPX_E_INVALID);
    assert_non_null(strstr(error.detail, "data_ring_bytes"));
    hpx_port_close(ports[0]);
    const uint64_t deadline = hpx_clock_now_ns() + 10 * HPX_NS_PER_S;
    hpx_status status = HPX_E_LIMIT;
    while (status == HPX_E_LIMIT && hpx_clock_now_ns() < deadline) { /* the shard must let go */
        status = hpx_port_open(&ports[0], engine, NULL, &error);
    }
    assert_int_equal(status, HPX_OK);
    hpx_port_close(ports[0]);
    hpx_port_close(ports[1]);
    assert_int_equal(hpx_engine_stop_wait(engine, HPX_NS_PER_S), HPX_OK);
    hpx_engine_free(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_engine_new_when_member_is_bad_then_named),
        cmocka_unit_test(test_engine_start_when_cpu_is_missing_then_cpus_are_told),
        cmocka_unit_test(test_engine_start_when_io_uring_is_forbidden_then_cause_and_remedy),
        cmocka_unit_test(test_engine_start_when_threads_then_named_and_stopped),
        cmocka_unit_test(test_port_open_when_limit_is_met_then_told_and_reusable),
    };
    return cmocka_run_group_tests_name("engine/startup", tests, NULL, NULL);
}
