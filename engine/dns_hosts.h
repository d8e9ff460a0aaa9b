/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dns_hosts.h - the hosts file (/etc/hosts), kept in memory.
 *
 * Role      c-ares 1.18 opens and parses that file anew for every query. Here it is read once, and
 *           again when it has changed: one stat(2) a second at most, and only when somebody asks.
 * Threads   The shard's.
 * Memory    The first HPXI_DNS_HOSTS_BYTES_MAX bytes of the file and its first
 *           HPXI_DNS_HOSTS_NAMES_MAX names; what is beyond is not seen. That bounds the time of a
 *           reload as well, to a few milliseconds.
 */
#ifndef HPXI_DNS_HOSTS_H
#define HPXI_DNS_HOSTS_H

#include <sys/stat.h>

#include "ring/net.h"

#define HPXI_DNS_HOSTS_BYTES_MAX ((size_t)256 * 1024)
#define HPXI_DNS_HOSTS_NAMES_MAX 8192u

typedef struct hpxi_dns_hosts_name {
    uint32_t text_at; /* offset of the name in `text`, lower case */
    hpxi_address address;
} hpxi_dns_hosts_name;

typedef struct hpxi_dns_hosts {
    const hpx_allocator *allocator;
    const char *path;
    uint64_t check_ns; /* no look at the file before this time */
    struct stat seen;  /* of the file that the names are from; zero: none */
    char *text;
    size_t text_bytes;
    hpxi_dns_hosts_name *names;
    size_t names_bytes;
    uint32_t name_count;
} hpxi_dns_hosts;

/* `path` and `allocator` are borrowed until _fini(). Reads nothing yet. */
void hpxi_dns_hosts_init(hpxi_dns_hosts *hosts, const char *path, const hpx_allocator *allocator);
void hpxi_dns_hosts_fini(hpxi_dns_hosts *hosts);

/* Read the file if it is new or has changed since it was last looked at, a second ago or more. A
 * file that is missing or unreadable has no names. */
void hpxi_dns_hosts_refresh(hpxi_dns_hosts *hosts, uint64_t now_ns);

/* The addresses of `name` (lower case) one after the other, in the file's order, then NULL.
 * `*cursor` starts at 0. Borrowed until the next refresh. */
const hpxi_address *
hpxi_dns_hosts_next(const hpxi_dns_hosts *hosts, const char *name, uint32_t *cursor);

#endif /* HPXI_DNS_HOSTS_H */
