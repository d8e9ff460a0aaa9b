/* SPDX-License-Identifier: Apache-2.0 */
/* thread.c - pins and names shard threads. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>

#include "engine/engine.h"
#include "engine/error.h"

/* "0-3,8" for the CPUs in `set`; cut at the end of `text`. */
static void thread_format_cpus(const cpu_set_t *set, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t cpu = 0; cpu < CPU_SETSIZE && used + 16 < size; cpu++) {
        if (!CPU_ISSET(cpu, set)) {
            continue;
        }
        const size_t first = cpu;
        while (cpu + 1 < CPU_SETSIZE && CPU_ISSET(cpu + 1, set)) {
            cpu++;
        }
        const char *comma = used == 0 ? "" : ",";
        const int wrote = first == cpu
                              ? snprintf(text + used, size - used, "%s%zu", comma, first)
                              : snprintf(text + used, size - used, "%s%zu-%zu", comma, first, cpu);
        used += wrote > 0 ? (size_t)wrote : 0;
    }
}

hpx_status hpxi_thread_pin(uint32_t cpu, hpx_error *error)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (cpu < CPU_SETSIZE) {
        CPU_SET(cpu, &set);
        if (pthread_setaffinity_np(pthread_self(), sizeof(set), &set) == 0) {
            return HPX_OK;
        }
    }
    cpu_set_t allowed;
    char text[96] = "unknown";
    CPU_ZERO(&allowed);
    if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0) {
        thread_format_cpus(&allowed, text, sizeof(text));
    }
    return hpxi_error_set(
        error,
        HPX_E_CPU,
        HPX_STAGE_CONFIG,
        "cannot pin to CPU %u: this process may use CPUs %s (see taskset, cgroup "
        "cpuset, isolcpus)",
        cpu,
        text);
}

void hpxi_thread_name(const char *prefix, uint32_t index)
{
    char name[16]; /* the kernel's limit, NUL included */
    (void)snprintf(name, sizeof(name), "%.11s-%u", prefix, index);
    (void)pthread_setname_np(pthread_self(), name);
}
