/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dns_hosts.c - reads the hosts file: lines of an address and the names it has, '#' to the end of
 * the line is a comment. Lines whose address is not plainly numeric (scoped ones too) are skipped.
 */
#include "engine/dns_hosts.h"

#include <stdio.h>

#include "ring/alloc.h"

#define HOSTS_CHECK_NS HPX_NS_PER_S

void hpxi_dns_hosts_init(hpxi_dns_hosts *hosts, const char *path, const hpx_allocator *allocator)
{
    HPX_ASSERT(path != NULL);
    *hosts = (hpxi_dns_hosts){.allocator = allocator, .path = path};
}

static void hosts_clear(hpxi_dns_hosts *hosts)
{
    hpxi_free(hosts->allocator, hosts->text, hosts->text_bytes);
    hpxi_free(hosts->allocator, hosts->names, hosts->names_bytes);
    hosts->text = NULL;
    hosts->text_bytes = 0;
    hosts->names = NULL;
    hosts->names_bytes = 0;
    hosts->name_count = 0;
}

void hpxi_dns_hosts_fini(hpxi_dns_hosts *hosts)
{
    hosts_clear(hosts);
    HPX_DASSERT(hosts->name_count == 0);
}

static bool hosts_is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

/* The next word of a line at `*at`, NUL-terminated in place; NULL when there is none. */
static char *hosts_word(char **at)
{
    char *word = *at;
    while (hosts_is_blank(*word)) {
        word++;
    }
    if (*word == '\0') {
        *at = word;
        return NULL;
    }
    char *end = word;
    while (*end != '\0' && !hosts_is_blank(*end)) {
        end++;
    }
    *at = *end == '\0' ? end : end + 1;
    *end = '\0';
    return word;
}

/* The next line at `*at`, without its comment, NUL-terminated in place; NULL at the end. */
static char *hosts_line(char **at, const char *end)
{
    HPX_DASSERT(*at <= end);
    if (*at == end) {
        return NULL;
    }
    char *line = *at;
    char *stop = memchr(line, '\n', (size_t)(end - line));
    if (stop == NULL) {
        *at += end - line;
        stop = *at; /* the NUL behind the text */
    } else {
        *at = stop + 1;
    }
    *stop = '\0';
    char *comment = strchr(line, '#');
    if (comment != NULL) {
        *comment = '\0';
    }
    return line;
}

/* Parse `size` bytes of hosts->text into hosts->names, which has room for `room` names. */
static void hosts_parse(hpxi_dns_hosts *hosts, size_t size, uint32_t room)
{
    HPX_ASSERT(size < hosts->text_bytes);
    char *at = hosts->text;
    const char *end = hosts->text + size;
    for (char *line = hosts_line(&at, end); line != NULL; line = hosts_line(&at, end)) {
        hpxi_address address;
        char *word = hosts_word(&line);
        if (word == NULL || !hpxi_address_parse(&address, word, 0)) {
            continue;
        }
        while ((word = hosts_word(&line)) != NULL && hosts->name_count < room) {
            for (char *c = word; *c != '\0'; c++) {
                *c = *c >= 'A' && *c <= 'Z' ? (char)(*c + ('a' - 'A')) : *c;
            }
            hosts->names[hosts->name_count++] = (hpxi_dns_hosts_name){
                .text_at = (uint32_t)(word - hosts->text), .address = address};
        }
    }
    HPX_ASSERT(hosts->name_count <= room);
}

/* Upper bound of the names in a text: its words. */
static uint32_t hosts_words(const char *text, size_t size)
{
    uint32_t words = 0;
    bool inside = false;
    for (size_t i = 0; i < size; i++) {
        const bool blank = hosts_is_blank(text[i]) || text[i] == '\n';
        words += !blank && !inside;
        inside = !blank;
    }
    HPX_DASSERT(words <= size);
    return words < HPXI_DNS_HOSTS_NAMES_MAX ? words : HPXI_DNS_HOSTS_NAMES_MAX;
}

/* False when memory is short: hosts are then empty and to be read again. */
static bool hosts_read(hpxi_dns_hosts *hosts, FILE *file)
{
    HPX_ASSERT(hosts->text == NULL);
    /* One byte for the NUL. A file may grow while it is read: fread() is bounded by the buffer. */
    const size_t file_bytes = hosts->seen.st_size > 0 ? (size_t)hosts->seen.st_size : 0;
    const size_t bytes_max =
        file_bytes < HPXI_DNS_HOSTS_BYTES_MAX ? file_bytes : HPXI_DNS_HOSTS_BYTES_MAX;
    char *text = hpxi_alloc(hosts->allocator, bytes_max + 1, 1);
    if (text == NULL) {
        return false;
    }
    hosts->text = text;
    hosts->text_bytes = bytes_max + 1;
    const size_t size = fread(text, 1, bytes_max, file);
    text[size] = '\0';
    const uint32_t room = hosts_words(text, size);
    if (room == 0) {
        return true;
    }
    hosts->names_bytes = room * sizeof(hpxi_dns_hosts_name);
    hosts->names = hpxi_alloc(hosts->allocator, hosts->names_bytes, _Alignof(hpxi_dns_hosts_name));
    if (hosts->names == NULL) {
        hosts->names_bytes = 0;
        hosts_clear(hosts);
        return false;
    }
    hosts_parse(hosts, size, room);
    return true;
}

static bool hosts_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

void hpxi_dns_hosts_refresh(hpxi_dns_hosts *hosts, uint64_t now_ns)
{
    if (now_ns < hosts->check_ns) {
        return;
    }
    hosts->check_ns = now_ns + HOSTS_CHECK_NS;
    struct stat now;
    if (stat(hosts->path, &now) != 0 || !S_ISREG(now.st_mode)) {
        hosts_clear(hosts);
        hosts->seen = (struct stat){0};
        return;
    }
    if (hosts_same_file(&now, &hosts->seen)) {
        return;
    }
    hosts_clear(hosts);
    hosts->seen = now;
    FILE *file = fopen(hosts->path, "re");
    if (file == NULL) {
        return;
    }
    if (!hosts_read(hosts, file)) {
        hosts->seen = (struct stat){0};
    }
    fclose(file);
}

const hpxi_address *
hpxi_dns_hosts_next(const hpxi_dns_hosts *hosts, const char *name, uint32_t *cursor)
{
    HPX_ASSERT(*cursor <= hosts->name_count);
    while (*cursor < hosts->name_count) {
        const hpxi_dns_hosts_name *entry = &hosts->names[(*cursor)++];
        if (strcmp(hosts->text + entry->text_at, name) == 0) {
            return &entry->address;
        }
    }
    return NULL;
}
