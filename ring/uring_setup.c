/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uring_setup.c - opens an io_uring, tries what the engine relies on, explains refusals.
 *
 * Role      Set-up flags, feature bits, operation probe, and one multishot receive through a socket
 *           pair: a kernel may have the flag and still not do it. There is no fallback: whoever
 *           runs a trading gateway wants to know, not to be slower.
 * Threads   Any; no state.
 * Memory    The probe's buffers are on the stack; liburing maps the rings.
 */
#include "ring/uring_setup.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ring/assert.h"

#ifndef IORING_FEAT_NO_IOWAIT /* Linux 6.15, liburing 2.10 */
#define IORING_FEAT_NO_IOWAIT (1U << 17)
#endif

#define URING_SYSCTL_PATH "/proc/sys/kernel/io_uring_disabled"

/* NO_SQARRAY is not here: liburing adds it and retries without it on EINVAL. */
#define URING_SETUP_FLAGS                                                                          \
    (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG |         \
     IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE)

/* NODROP: overflowing completions are kept. EXT_ARG: timeout of a wait. SUBMIT_STABLE: addresses
 * are copied at submission. FAST_POLL: sockets wait without a worker thread. */
#define URING_FEATURES                                                                             \
    (IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_FAST_POLL)

#define URING_TRY_GROUP   0xFFFE /* buffer group of the trial, gone before anyone else comes */
#define URING_TRY_BYTES   16u
#define URING_TRY_BUFFERS 4u
#define URING_TRY_SECONDS 5

#define URING_OPS_MAX 256u

static const struct {
    uint8_t op;
    const char *name;
} uring_ops_required[] = {
    {IORING_OP_ACCEPT, "ACCEPT"},
    {IORING_OP_CONNECT, "CONNECT"},
    {IORING_OP_RECV, "RECV"},
    {IORING_OP_SEND, "SEND"},
    {IORING_OP_POLL_ADD, "POLL_ADD"},
    {IORING_OP_ASYNC_CANCEL, "ASYNC_CANCEL"},
};

static int32_t uring_sysctl(void)
{
    char text[16] = {0};
    const int fd = open(URING_SYSCTL_PATH, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    const ssize_t size = read(fd, text, sizeof(text) - 1);
    close(fd);
    return size <= 0 ? -1 : (int32_t)strtol(text, NULL, 10);
}

static hpx_status uring_forbidden(int result, const char *what, hpx_error *error)
{
    HPX_ASSERT(result == -EPERM || result == -EACCES || result == -ENOSYS);
    const char *name = result == -ENOSYS ? "ENOSYS" : result == -EPERM ? "EPERM" : "EACCES";
    const int32_t sysctl = uring_sysctl();
    if (sysctl > 0) {
        snprintf(
            error->detail,
            sizeof(error->detail),
            "%s: %s: kernel.io_uring_disabled=%d forbids io_uring%s. "
            "Run: sysctl -w kernel.io_uring_disabled=0",
            what,
            name,
            (int)sysctl,
            sysctl == 1 ? " without CAP_SYS_ADMIN or kernel.io_uring_group" : "");
        return HPX_E_URING_DISABLED;
    }
    if (result == -ENOSYS && sysctl < 0) {
        snprintf(
            error->detail,
            sizeof(error->detail),
            "%s: ENOSYS: this kernel was built without io_uring, or seccomp hides it. "
            "Use Linux 6.1 or later with CONFIG_IO_URING=y",
            what);
        return HPX_E_URING_UNSUPPORTED;
    }
    snprintf(
        error->detail,
        sizeof(error->detail),
        "%s: %s: seccomp blocks it, as container profiles do. Allow "
        "io_uring_setup/_enter/_register: "
        "docker run --security-opt seccomp=FILE; systemd: SystemCallFilter=@aio",
        what,
        name);
    return HPX_E_URING_BLOCKED;
}

/* Does RLIMIT_MEMLOCK bind this process? Not with CAP_IPC_LOCK, which root in a container lacks. */
static bool uring_memlock_binds(const struct rlimit *limit)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};
    if (limit->rlim_cur == RLIM_INFINITY) {
        return false;
    }
    return syscall(SYS_capget, &header, data) != 0 ||
           (data[0].effective & UINT32_C(1) << CAP_IPC_LOCK) == 0;
}

static hpx_status uring_no_memory(const char *what, hpx_error *error)
{
    struct rlimit limit = {0};
    if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || !uring_memlock_binds(&limit)) {
        snprintf(error->detail, sizeof(error->detail), "%s: ENOMEM: out of memory", what);
        return HPX_E_NO_MEMORY;
    }
    snprintf(
        error->detail,
        sizeof(error->detail),
        "%s: ENOMEM: RLIMIT_MEMLOCK of %llu KiB is too low. "
        "Run: ulimit -l unlimited (systemd: LimitMEMLOCK=infinity)",
        what,
        (unsigned long long)limit.rlim_cur / 1024);
    return HPX_E_MEMLOCK;
}

hpx_status hpxi_uring_explain(int result, const char *what, hpx_error *error)
{
    HPX_ASSERT(result < 0 && result >= -4095);
    HPX_ASSERT(error != NULL);
    *error = (hpx_error){.stage = HPX_STAGE_CONFIG, .os_errno = -result};
    switch (result) {
    case -EPERM:
    case -EACCES:
    case -ENOSYS:
        error->status = uring_forbidden(result, what, error);
        break;
    case -ENOMEM:
        error->status = uring_no_memory(what, error);
        break;
    case -EINVAL:
        snprintf(
            error->detail,
            sizeof(error->detail),
            "%s: EINVAL: this kernel lacks it. Use Linux 6.1 or later",
            what);
        error->status = HPX_E_URING_UNSUPPORTED;
        break;
    case -EMFILE:
    case -ENFILE:
        snprintf(
            error->detail,
            sizeof(error->detail),
            "%s: no file descriptor left. Run: ulimit -n 65536 (systemd: LimitNOFILE=65536)",
            what);
        error->status = result;
        break;
    default:
        snprintf(error->detail, sizeof(error->detail), "%s: %s", what, strerrordesc_np(-result));
        error->status = result;
        break;
    }
    return error->status;
}

static hpx_status uring_lacks(const char *what, const char *names, hpx_error *error)
{
    *error = (hpx_error){.status = HPX_E_URING_UNSUPPORTED, .stage = HPX_STAGE_CONFIG};
    snprintf(
        error->detail,
        sizeof(error->detail),
        "this kernel's io_uring lacks %s%s. Use Linux 6.1 or later",
        what,
        names);
    return error->status;
}

/* Names the required operations that the kernel does not have. Returns 0 or -errno. */
static int uring_probe_ops(struct io_uring *uring, hpxi_uring_facts *facts)
{
    union {
        struct io_uring_probe probe;
        uint8_t
            bytes[sizeof(struct io_uring_probe) + URING_OPS_MAX * sizeof(struct io_uring_probe_op)];
    } space;
    HPX_ASSERT(facts->missing_ops[0] == '\0');
    memset(&space, 0, sizeof(space)); /* the kernel insists on zeroes */
    const int result = io_uring_register_probe(uring, &space.probe, URING_OPS_MAX);
    if (result < 0) {
        return result;
    }
    for (size_t i = 0; i < sizeof(uring_ops_required) / sizeof(uring_ops_required[0]); i++) {
        if (!io_uring_opcode_supported(&space.probe, uring_ops_required[i].op)) {
            const size_t used = strlen(facts->missing_ops);
            snprintf(
                facts->missing_ops + used,
                sizeof(facts->missing_ops) - used,
                " %s",
                uring_ops_required[i].name);
        }
    }
    return 0;
}

/* Takes one completion, waiting for it. Returns 0 or -errno. */
static int uring_try_take(struct io_uring *uring, struct io_uring_cqe *out)
{
    HPX_ASSERT(out != NULL);
    struct io_uring_cqe *cqe = NULL;
    struct __kernel_timespec timeout = {.tv_sec = URING_TRY_SECONDS};
    int result;
    do {
        result = io_uring_submit_and_wait_timeout(uring, &cqe, 1, &timeout, NULL);
    } while (result == -EINTR);
    if (cqe == NULL) {
        return result < 0 ? result : -ETIME;
    }
    *out = *cqe;
    io_uring_cqe_seen(uring, cqe);
    return 0;
}

/* One byte, then end of stream, through a multishot receive. Returns 0 or -errno. */
static int uring_try_recv(struct io_uring *uring, const int pair[2])
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(uring);
    HPX_ASSERT(sqe != NULL); /* the ring is new */
    io_uring_prep_recv_multishot(sqe, pair[0], NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = URING_TRY_GROUP;
    if (send(pair[1], "x", 1, MSG_NOSIGNAL) != 1) {
        return -EIO;
    }
    struct io_uring_cqe cqe = {0};
    int result = uring_try_take(uring, &cqe);
    if (result != 0 || cqe.res < 0) {
        return result != 0 ? result : cqe.res;
    }
    if (cqe.res != 1 || !(cqe.flags & IORING_CQE_F_BUFFER) || !(cqe.flags & IORING_CQE_F_MORE)) {
        return -EINVAL;
    }
    if (shutdown(pair[1], SHUT_RDWR) != 0) {
        return -errno;
    }
    result = uring_try_take(uring, &cqe);
    if (result != 0 || cqe.res < 0) {
        return result != 0 ? result : cqe.res;
    }
    return cqe.res != 0 || (cqe.flags & IORING_CQE_F_MORE) ? -EINVAL : 0;
}

/* Registers a small buffer ring and receives through it. */
static hpx_status uring_try(struct io_uring *uring, hpxi_uring_facts *facts, hpx_error *error)
{
    HPX_ASSERT(!facts->provided_buffers && !facts->multishot_recv);
    uint8_t buffers[URING_TRY_BUFFERS][URING_TRY_BYTES];
    int result = 0;
    struct io_uring_buf_ring *group =
        io_uring_setup_buf_ring(uring, URING_TRY_BUFFERS, URING_TRY_GROUP, 0, &result);
    if (group == NULL) {
        return hpxi_uring_explain(result, "provided buffer ring", error);
    }
    facts->provided_buffers = true;
    for (uint16_t i = 0; i < URING_TRY_BUFFERS; i++) {
        io_uring_buf_ring_add(group, buffers[i], URING_TRY_BYTES, i, (int)URING_TRY_BUFFERS - 1, i);
    }
    io_uring_buf_ring_advance(group, (int)URING_TRY_BUFFERS);
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        result = -errno;
        io_uring_free_buf_ring(uring, group, URING_TRY_BUFFERS, URING_TRY_GROUP);
        return hpxi_uring_explain(result, "socketpair", error);
    }
    result = uring_try_recv(uring, pair);
    close(pair[0]);
    close(pair[1]);
    io_uring_free_buf_ring(uring, group, URING_TRY_BUFFERS, URING_TRY_GROUP);
    if (result != 0) {
        return hpxi_uring_explain(result, "multishot receive", error);
    }
    facts->multishot_recv = true;
    return HPX_OK;
}

static hpx_status uring_check(struct io_uring *uring, hpxi_uring_facts *facts, hpx_error *error)
{
    if ((facts->features & URING_FEATURES) != URING_FEATURES) {
        char missing[16];
        snprintf(missing, sizeof(missing), "0x%x", URING_FEATURES & ~facts->features);
        return uring_lacks("IORING_FEAT bits ", missing, error);
    }
    const int result = uring_probe_ops(uring, facts);
    if (result < 0) {
        return hpxi_uring_explain(result, "io_uring_register(PROBE)", error);
    }
    if (facts->missing_ops[0] != '\0') {
        return uring_lacks("operations:", facts->missing_ops, error);
    }
    return uring_try(uring, facts, error);
}

hpx_status hpxi_uring_open(
    struct io_uring *out,
    uint32_t sq_entries,
    uint32_t cq_entries,
    hpxi_uring_facts *facts,
    hpx_error *error)
{
    HPX_ASSERT(sq_entries != 0 && cq_entries >= sq_entries);
    *facts = (hpxi_uring_facts){.disabled_sysctl = uring_sysctl()};
    struct io_uring_params params = {.flags = URING_SETUP_FLAGS, .cq_entries = cq_entries};
    const int result = io_uring_queue_init_params(sq_entries, out, &params);
    if (result < 0) {
        return hpxi_uring_explain(
            result,
            result == -EINVAL ? "io_uring_setup with SINGLE_ISSUER|DEFER_TASKRUN"
                              : "io_uring_setup",
            error);
    }
    facts->features = params.features;
    facts->defer_taskrun = true;
    facts->no_iowait = (params.features & IORING_FEAT_NO_IOWAIT) != 0;
    const hpx_status status = uring_check(out, facts, error);
    if (status != HPX_OK) {
        io_uring_queue_exit(out);
    }
    return status;
}
