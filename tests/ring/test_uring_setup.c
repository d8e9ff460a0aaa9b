/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: where io_uring is refused, the engine's start says why and what to type, and takes no other
 * road. Method: a child forbids itself what a container or an administrator would (a seccomp
 * filter, a sysctl, a memory limit), makes a ring and sends the error back through a pipe.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <hpx/system.h>

#include "ring/ring.h"
#include "ring/uring_setup.h"
#include "tests/ring/ring_bed.h"
#include "tests/support/test.h"

typedef struct attempt {
    int pipe[2];
    bool (*forbid)(const struct attempt *attempt); /* false: cannot be tried here */
    long syscall_number;
    int answer; /* errno */
    const char *sysctl;
    bool with_probe;
} attempt;

/* One system call is answered with an errno, all others pass. */
static bool forbid_syscall(const attempt *with)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)with->syscall_number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)with->answer),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = COUNT_OF(filter), .filter = filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* The file shows another value, in this process's mounts only; the call fails as it then would. */
static bool forbid_sysctl(const attempt *with)
{
    char path[] = "/tmp/hpx-sysctl-XXXXXX";
    const int fd = mkstemp(path);
    if (fd < 0) {
        return false;
    }
    const bool written = write(fd, with->sysctl, strlen(with->sysctl)) > 0;
    close(fd);
    const bool mounted =
        written && unshare(CLONE_NEWNS) == 0 &&
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
        mount(path, "/proc/sys/kernel/io_uring_disabled", NULL, MS_BIND, NULL) == 0;
    unlink(path);
    return mounted && forbid_syscall(with);
}

static bool forbid_memory(const attempt *with)
{
    (void)with;
    const struct rlimit none = {0};
    return setrlimit(RLIMIT_MEMLOCK, &none) == 0 && setgid(65534) == 0 && setuid(65534) == 0;
}

/* Root, as in a container: without CAP_IPC_LOCK. */
static bool forbid_memory_to_root(const attempt *with)
{
    (void)with;
    const struct rlimit none = {0};
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};
    if (geteuid() != 0 || syscall(SYS_capget, &header, data) != 0) {
        return false;
    }
    data[0].effective &= ~(UINT32_C(1) << CAP_IPC_LOCK);
    return setrlimit(RLIMIT_MEMLOCK, &none) == 0 && syscall(SYS_capset, &header, data) == 0;
}

static bool forbid_descriptors(const attempt *with)
{
    (void)with;
    const struct rlimit few = {.rlim_cur = 3, .rlim_max = 3};
    return setrlimit(RLIMIT_NOFILE, &few) == 0;
}

/* Needs no descriptor itself. */
static int open_count(void)
{
    int count = 0;
    for (int fd = 0; fd < 64; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

static void try_in_child(void *ctx)
{
    const attempt *with = ctx;
    static hpxi_counters counters;
    static failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    const hpxi_ring_config config = RING_BED_CONFIG;
    if (!with->forbid(with)) {
        _exit(TEST_EXIT_SKIP);
    }
    hpx_error error = {0};
    const int fds = open_count();
    if (with->with_probe) {
        hpx_uring_probe probe;
        hpx_system_probe_uring(&probe);
        error = probe.error;
        error.status = probe.status;
    } else {
        hpxi_ring *ring;
        hpxi_ring_new(&ring, &config, &counters, &allocator, &error);
        hpxi_ring_free(ring, 0);
    }
    if (open_count() != fds || fa.live != 0 ||
        write(with->pipe[1], &error, sizeof(error)) != sizeof(error)) {
        _exit(1);
    }
}

/* Returns false when it cannot be tried here. */
static bool try(attempt with, hpx_error *out)
{
    assert_int_equal(pipe2(with.pipe, O_CLOEXEC), 0);
    const int status = bed_child(try_in_child, &with);
    close(with.pipe[1]);
    const bool tried = status != TEST_EXIT_SKIP << 8;
    if (tried) {
        assert_int_equal(status, 0);
        assert_int_equal(read(with.pipe[0], out, sizeof(*out)), sizeof(*out));
    }
    close(with.pipe[0]);
    return tried;
}

static void expect_detail(const hpx_error *error, hpx_status status, const char *words)
{
    if (error->status != status || strstr(error->detail, words) == NULL) {
        fail_msg("want %d and \"%s\", have %d: %s", status, words, error->status, error->detail);
    }
    assert_int_equal(error->stage, HPX_STAGE_CONFIG);
    assert_true(strlen(error->detail) < sizeof(error->detail) - 1); /* not cut off */
}

static void test_start_when_seccomp_blocks_then_says_so(void **state)
{
    (void)state;
    static const long calls[] = {SYS_io_uring_setup, SYS_io_uring_register, SYS_io_uring_enter};
    for (size_t i = 0; i < COUNT_OF(calls); i++) {
        for (int with_probe = 0; with_probe < 2; with_probe++) {
            attempt with = {
                .forbid = forbid_syscall,
                .syscall_number = calls[i],
                .answer = EPERM,
                .with_probe = with_probe != 0};
            hpx_error error = {0};
            if (!try(with, &error)) {
                skip();
            }
            expect_detail(&error, HPX_E_URING_BLOCKED, "EPERM");
            expect_detail(&error, HPX_E_URING_BLOCKED, "--security-opt seccomp=");
            assert_int_equal(error.os_errno, EPERM);
        }
    }
}

static void test_start_when_seccomp_hides_then_says_so(void **state)
{
    (void)state;
    const attempt with = {
        .forbid = forbid_syscall, .syscall_number = SYS_io_uring_setup, .answer = ENOSYS};
    hpx_error error = {0};
    if (access("/proc/sys/kernel/io_uring_disabled", R_OK) != 0 || !try(with, &error)) {
        skip();
    }
    expect_detail(&error, HPX_E_URING_BLOCKED, "ENOSYS");
}

static void test_start_when_sysctl_forbids_then_says_so(void **state)
{
    (void)state;
    static const char *const values[] = {"1\n", "2\n"};
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        const attempt with = {
            .forbid = forbid_sysctl,
            .syscall_number = SYS_io_uring_setup,
            .answer = EPERM,
            .sysctl = values[i]};
        hpx_error error = {0};
        if (!try(with, &error)) {
            skip();
        }
        expect_detail(&error, HPX_E_URING_DISABLED, "sysctl -w kernel.io_uring_disabled=0");
        expect_detail(&error, HPX_E_URING_DISABLED, i == 0 ? "disabled=1" : "disabled=2");
    }
}

static void test_start_when_kernel_is_old_then_says_so(void **state)
{
    (void)state;
    const attempt with = {
        .forbid = forbid_syscall, .syscall_number = SYS_io_uring_setup, .answer = EINVAL};
    hpx_error error = {0};
    if (!try(with, &error)) {
        skip();
    }
    expect_detail(&error, HPX_E_URING_UNSUPPORTED, "DEFER_TASKRUN");
    expect_detail(&error, HPX_E_URING_UNSUPPORTED, "Linux 6.1");
}

/* Rings count against the limit on some kernels (6.18 does), and not on others. */
static void test_start_when_memory_is_locked_out_then_says_so(void **state)
{
    (void)state;
    bool (*const ways[])(const attempt *) = {forbid_memory, forbid_memory_to_root};
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        const attempt with = {.forbid = ways[i]};
        hpx_error error = {0};
        if (!try(with, &error) || error.status == HPX_OK) {
            skip();
        }
        expect_detail(&error, HPX_E_MEMLOCK, "ulimit -l");
        expect_detail(&error, HPX_E_MEMLOCK, "LimitMEMLOCK");
    }
}

static void test_start_when_no_descriptor_is_left_then_says_so(void **state)
{
    (void)state;
    const attempt with = {.forbid = forbid_descriptors};
    hpx_error error = {0};
    if (!try(with, &error)) {
        skip();
    }
    expect_detail(&error, -EMFILE, "ulimit -n");
}

static void test_explain_when_called_for_each_error_then_fits(void **state)
{
    (void)state;
    for (int result = -1; result > -140; result--) {
        hpx_error error = {0};
        const hpx_status status = hpxi_uring_explain(result, "io_uring_register(PROBE)", &error);
        assert_true(status < 0);
        expect_detail(&error, status, "io_uring_register(PROBE)");
        assert_int_equal(error.os_errno, -result);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start_when_seccomp_blocks_then_says_so),
        cmocka_unit_test(test_start_when_seccomp_hides_then_says_so),
        cmocka_unit_test(test_start_when_sysctl_forbids_then_says_so),
        cmocka_unit_test(test_start_when_kernel_is_old_then_says_so),
        cmocka_unit_test(test_start_when_memory_is_locked_out_then_says_so),
        cmocka_unit_test(test_start_when_no_descriptor_is_left_then_says_so),
        cmocka_unit_test(test_explain_when_called_for_each_error_then_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
