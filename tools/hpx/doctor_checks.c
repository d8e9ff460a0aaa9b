/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor_checks.c - what `hpx doctor` looks at. Reads files and asks the kernel; changes nothing.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <hpx/hpx.h>

#include "cli.h"
#include "doctor.h"

#define DOCTOR_KERNEL_MAJOR   6
#define DOCTOR_KERNEL_MINOR   1
#define DOCTOR_MEMLOCK_MIN    (UINT64_C(8) << 20)
#define DOCTOR_CPUS_MIN       2
#define DOCTOR_SOCKET_BUF_MIN (UINT64_C(4) << 20)
#define DOCTOR_LINE_BYTES     256

#define DOCTOR_VALUE(finding, ...) snprintf((finding)->value, sizeof((finding)->value), __VA_ARGS__)
#define DOCTOR_ADVICE(finding, ...)                                                                \
    snprintf((finding)->advice, sizeof((finding)->advice), __VA_ARGS__)

/* "6.1.0-13-amd64" */
static bool doctor_parse_release(const char *release, unsigned long *major, unsigned long *minor)
{
    char *end = NULL;
    *major = strtoul(release, &end, 10);
    if (end == release || *end != '.') {
        return false;
    }
    const char *rest = end + 1;
    *minor = strtoul(rest, &end, 10);
    return end != rest;
}

static void doctor_check_version(doctor *d)
{
    struct utsname names;
    doctor_finding *f = doctor_add(d, "kernel", DOCTOR_WARN);
    unsigned long major = 0;
    unsigned long minor = 0;
    if (uname(&names) != 0 || !doctor_parse_release(names.release, &major, &minor)) {
        DOCTOR_VALUE(f, "unknown");
        return;
    }
    DOCTOR_VALUE(f, "Linux %.100s", names.release);
    const bool is_new_enough = major > DOCTOR_KERNEL_MAJOR ||
                               (major == DOCTOR_KERNEL_MAJOR && minor >= DOCTOR_KERNEL_MINOR);
    f->status = is_new_enough ? DOCTOR_OK : DOCTOR_FAIL;
    if (!is_new_enough) {
        DOCTOR_ADVICE(f, "hpx needs Linux 6.1 or later");
    }
}

static void doctor_check_uring(doctor *d)
{
    hpx_uring_probe probe;
    const hpx_status status = hpx_system_probe_uring(&probe);
    doctor_finding *f = doctor_add(d, "io_uring", status == HPX_OK ? DOCTOR_OK : DOCTOR_FAIL);
    if (status != HPX_OK) {
        DOCTOR_VALUE(f, "%s", hpx_status_name(status));
        DOCTOR_ADVICE(
            f, "%s", probe.error.detail[0] != '\0' ? probe.error.detail : hpx_status_text(status));
        return;
    }
    DOCTOR_VALUE(
        f,
        "usable: defer_taskrun %s, multishot recv %s, buffer rings %s, no_iowait %s",
        probe.defer_taskrun ? "yes" : "no",
        probe.multishot_recv ? "yes" : "no",
        probe.provided_buffers ? "yes" : "no",
        probe.no_iowait ? "yes" : "no");
}

static void doctor_check_memlock(doctor *d)
{
    struct rlimit limit;
    doctor_finding *f = doctor_add(d, "memlock", DOCTOR_OK);
    if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0) {
        DOCTOR_VALUE(f, "unknown");
        f->status = DOCTOR_WARN;
        return;
    }
    if (limit.rlim_cur == RLIM_INFINITY) {
        DOCTOR_VALUE(f, "unlimited");
        return;
    }
    DOCTOR_VALUE(f, "%llu KiB", (unsigned long long)limit.rlim_cur / 1024);
    if (limit.rlim_cur < DOCTOR_MEMLOCK_MIN) {
        f->status = DOCTOR_WARN;
        DOCTOR_ADVICE(f, "ulimit -l unlimited, or LimitMEMLOCK=infinity in the service file");
    }
}

void doctor_check_kernel(doctor *d)
{
    doctor_check_version(d);
    doctor_check_uring(d);
    doctor_check_memlock(d);
}

static void doctor_check_cpus(doctor *d)
{
    cpu_set_t set;
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    doctor_finding *f = doctor_add(d, "cpus", DOCTOR_OK);
    if (sched_getaffinity(0, sizeof(set), &set) != 0) {
        DOCTOR_VALUE(f, "%ld online, usable unknown", online); /* more than 1024 CPUs */
        return;
    }
    const int usable = CPU_COUNT(&set);
    DOCTOR_VALUE(f, "%d usable of %ld online", usable, online);
    if (usable < DOCTOR_CPUS_MIN) {
        f->status = DOCTOR_WARN;
        DOCTOR_ADVICE(f, "a spinning shard needs a core of its own: give at least two");
    }
}

/* A list file like "2-5,7": present and not empty is good. */
static void doctor_check_list(doctor *d, const char *name, const char *path, const char *advice)
{
    char line[DOCTOR_LINE_BYTES];
    const char *list = doctor_read(d, path, line, sizeof(line));
    doctor_finding *f = doctor_add(d, name, DOCTOR_INFO);
    const bool is_none = list == NULL || list[0] == '\0' || strcmp(list, "(null)") == 0;
    DOCTOR_VALUE(f, "%.100s", list == NULL ? "unknown" : is_none ? "none" : list);
    f->status = is_none ? DOCTOR_INFO : DOCTOR_OK;
    if (is_none) {
        DOCTOR_ADVICE(f, "%s", advice);
    }
}

static void doctor_check_smt(doctor *d)
{
    char line[DOCTOR_LINE_BYTES];
    const char *active = doctor_read(d, "/sys/devices/system/cpu/smt/active", line, sizeof(line));
    doctor_finding *f = doctor_add(d, "smt", DOCTOR_INFO);
    DOCTOR_VALUE(
        f,
        "%s",
        active == NULL             ? "unknown"
        : strcmp(active, "1") == 0 ? "on: two threads share a core"
                                   : "off");
    if (active != NULL && strcmp(active, "1") == 0) {
        DOCTOR_ADVICE(
            f,
            "leave the sibling of a spinning shard's CPU idle "
            "(cpu*/topology/thread_siblings_list)");
    }
}

static void doctor_check_governor(doctor *d)
{
    char line[DOCTOR_LINE_BYTES];
    const char *governor =
        doctor_read(d, "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", line, sizeof(line));
    doctor_finding *f = doctor_add(d, "governor", DOCTOR_INFO);
    DOCTOR_VALUE(f, "%.100s", governor == NULL ? "unknown (no cpufreq, as in most VMs)" : governor);
    if (governor == NULL) {
        return;
    }
    const bool is_fast = strcmp(governor, "performance") == 0;
    f->status = is_fast ? DOCTOR_OK : DOCTOR_WARN;
    if (!is_fast) {
        DOCTOR_ADVICE(f, "cpupower frequency-set -g performance");
    }
}

static void doctor_check_clock(doctor *d)
{
    char line[DOCTOR_LINE_BYTES];
    const char *source = doctor_read(
        d, "/sys/devices/system/clocksource/clocksource0/current_clocksource", line, sizeof(line));
    doctor_finding *f = doctor_add(d, "clocksource", DOCTOR_WARN);
    DOCTOR_VALUE(f, "%.100s", source == NULL ? "unknown" : source);
    if (source == NULL) {
        f->status = DOCTOR_INFO;
        return;
    }
    /* arch_sys_counter: the same thing on ARM. kvm-clock and the Hyper-V page are read in user
     * space too. */
    const bool is_tsc = strcmp(source, "tsc") == 0 || strcmp(source, "arch_sys_counter") == 0;
    const bool is_virtual =
        strcmp(source, "kvm-clock") == 0 || strncmp(source, "hyperv_clocksource", 18) == 0;
    f->status = is_tsc || is_virtual ? DOCTOR_OK : DOCTOR_WARN;
    if (f->status == DOCTOR_WARN) {
        DOCTOR_ADVICE(
            f,
            "every clock read is a system call: boot with clocksource=tsc "
            "tsc=reliable if the CPU has an invariant TSC");
    }
}

static void doctor_check_pages(doctor *d)
{
    char line[DOCTOR_LINE_BYTES];
    const char *modes =
        doctor_read(d, "/sys/kernel/mm/transparent_hugepage/enabled", line, sizeof(line));
    doctor_finding *f = doctor_add(d, "huge pages", DOCTOR_INFO);
    if (modes == NULL) {
        DOCTOR_VALUE(f, "unknown");
        return;
    }
    DOCTOR_VALUE(f, "%.100s", modes);
    const bool is_always = strstr(modes, "[always]") != NULL;
    f->status = is_always ? DOCTOR_WARN : DOCTOR_OK;
    if (is_always) {
        DOCTOR_ADVICE(
            f,
            "compaction can stall a shard: echo madvise > "
            "/sys/kernel/mm/transparent_hugepage/enabled");
    }
}

void doctor_check_machine(doctor *d)
{
    doctor_check_cpus(d);
    doctor_check_list(
        d,
        "isolated cpus",
        "/sys/devices/system/cpu/isolated",
        "for steady microseconds boot with isolcpus=LIST and pin shards there");
    doctor_check_list(
        d,
        "nohz_full",
        "/sys/devices/system/cpu/nohz_full",
        "for a core without timer ticks boot with nohz_full=LIST rcu_nocbs=LIST");
    doctor_check_smt(d);
    doctor_check_governor(d);
    doctor_check_clock(d);
    doctor_check_pages(d);
}

static void doctor_check_busy(doctor *d, const char *name, const char *path)
{
    char line[DOCTOR_LINE_BYTES];
    const char *value = doctor_read(d, path, line, sizeof(line));
    doctor_finding *f = doctor_add(d, name, DOCTOR_INFO);
    DOCTOR_VALUE(f, "%.100s", value == NULL ? "unknown" : value);
    if (value != NULL && strcmp(value, "0") == 0) {
        DOCTOR_ADVICE(
            f,
            "off; a connection can ask for it with busy_poll_us (needs a NIC driver "
            "with NAPI)");
    }
}

static void doctor_check_socket_buffer(doctor *d, const char *name, const char *path)
{
    char line[DOCTOR_LINE_BYTES];
    const char *value = doctor_read(d, path, line, sizeof(line));
    doctor_finding *f = doctor_add(d, name, DOCTOR_INFO);
    if (value == NULL) {
        DOCTOR_VALUE(f, "unknown");
        return;
    }
    const char *last = strrchr(value, ' '); /* min, default, max */
    const uint64_t largest = last == NULL ? UINT64_MAX : strtoull(last, NULL, 10);
    DOCTOR_VALUE(f, "%.100s", value);
    if (largest < DOCTOR_SOCKET_BUF_MIN) {
        f->status = DOCTOR_WARN;
        DOCTOR_ADVICE(f, "bursts stall the peer: raise the last number to 4 MiB or more");
    }
}

void doctor_check_network(doctor *d)
{
    doctor_check_busy(d, "busy_read", "/proc/sys/net/core/busy_read");
    doctor_check_busy(d, "busy_poll", "/proc/sys/net/core/busy_poll");
    doctor_check_socket_buffer(d, "tcp_rmem", "/proc/sys/net/ipv4/tcp_rmem");
    doctor_check_socket_buffer(d, "tcp_wmem", "/proc/sys/net/ipv4/tcp_wmem");
}

void doctor_check_build(doctor *d)
{
    hpx_tls_build build;
    hpx_system_tls_build(&build);
    doctor_finding *f = doctor_add(d, "wolfssl", DOCTOR_OK);
    DOCTOR_VALUE(
        f,
        "%s, %s assembly, %s by default",
        build.version,
        build.has_assembly ? "with" : "no",
        build.verifies_by_default ? "verifies" : "does NOT verify");
    if (!build.verifies_by_default) {
        f->status = DOCTOR_FAIL;
        DOCTOR_ADVICE(f, "rebuild wolfSSL without opensslcompatible-defaults (tools/setup does)");
    } else if (!build.has_assembly) {
        f->status = DOCTOR_WARN;
        DOCTOR_ADVICE(
            f,
            "TLS is many times slower: rebuild with --enable-intelasm "
            "(tools/setup does)");
    }
}
