/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peers.c - raw spinning peers.
 *
 * Threads   peer_start() and peer_stop() on the benchmark's thread; the loop on its own.
 */
#include "peers.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/allocator.h"
#include "tls/tls.h"
#include "ws/handshake.h"

#define PEER_BUFFER_BYTES (256u << 10)

struct peer {
    peer_kind kind;
    int cpu;
    int listener;
    uint16_t port;
    pthread_t thread;
    _Atomic bool stop;
    uint8_t in[PEER_BUFFER_BYTES];
    uint8_t out[PEER_BUFFER_BYTES];
};

static char ca_dir[64];
static char ca_path[96];
static char key_path[96];
static hpx_tls_context *server_context;
static hpxi_counting_allocator memory;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

void peer_pin_self(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    (void)pthread_setaffinity_np(pthread_self(), sizeof(set), &set); /* one CPU only: no pin */
}

static void remove_certificates(void)
{
    char command[128];
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", ca_dir);
    (void)!system(command);
}

/* A self-signed certificate for localhost, made by the openssl command in a fresh directory. */
static void make_certificates(void)
{
    const char *base = getenv("TMPDIR");
    (void)snprintf(ca_dir, sizeof(ca_dir), "%.40s/hpx-bench-XXXXXX", base != NULL ? base : "/tmp");
    if (mkdtemp(ca_dir) == NULL) {
        die("mkdtemp");
    }
    (void)atexit(remove_certificates);
    char command[640];
    (void)snprintf(
        command,
        sizeof(command),
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
        "-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 "
        "-keyout '%s/key.pem' -out '%s/cert.pem' 2>/dev/null",
        ca_dir,
        ca_dir);
    if (system(command) != 0) {
        fprintf(stderr, "the openssl command failed\n");
        exit(1);
    }
    (void)snprintf(ca_path, sizeof(ca_path), "%s/cert.pem", ca_dir);
    (void)snprintf(key_path, sizeof(key_path), "%s/key.pem", ca_dir);
    hpx_tls_config config = HPX_TLS_CONFIG_INIT;
    config.cert_file = ca_path;
    config.key_file = key_path;
    hpx_error error;
    if (hpx_tls_server_context_new(&server_context, &config, &error) != HPX_OK) {
        fprintf(stderr, "certificate: %s\n", error.detail);
        exit(1);
    }
}

const char *peer_ca_file(void)
{
    if (ca_path[0] == '\0') {
        make_certificates();
    }
    return ca_path;
}

const char *peer_key_file(void)
{
    (void)peer_ca_file();
    return key_path;
}

/* ---- Bytes ----------------------------------------------------------------------------------- */

/* Spins until something is there. 0: the end, or told to stop. */
static size_t spin_recv(peer *p, int fd, uint8_t *data, size_t size)
{
    while (!atomic_load_explicit(&p->stop, memory_order_relaxed)) {
        const ssize_t got = recv(fd, data, size, MSG_DONTWAIT);
        if (got > 0) {
            return (size_t)got;
        }
        if (got == 0 || errno != EAGAIN) {
            return 0;
        }
    }
    return 0;
}

static bool spin_send(peer *p, int fd, const uint8_t *data, size_t size)
{
    while (size != 0 && !atomic_load_explicit(&p->stop, memory_order_relaxed)) {
        const ssize_t sent = send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) {
            return false;
        }
        if (sent > 0) {
            data += sent;
            size -= (size_t)sent;
        }
    }
    return size == 0;
}

/* Blocking, for floods: the sender must not compete with the measured thread by spinning. */
static bool block_send(int fd, const uint8_t *data, size_t size)
{
    while (size != 0) {
        const ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        data += sent;
        size -= (size_t)sent;
    }
    return true;
}

/* ---- WebSocket, the least of it -------------------------------------------------------------- */

/* The 101 for the request in `in`; 0 while it is not complete. */
static size_t answer_of(const uint8_t *in, size_t size, uint8_t *out)
{
    static const char field[] = "Sec-WebSocket-Key: ";
    const char *text = (const char *)in;
    if (memmem(text, size, "\r\n\r\n", 4) == NULL) {
        return 0;
    }
    const char *key = memmem(text, size, field, sizeof(field) - 1);
    if (key == NULL) {
        return 0;
    }
    char accept[HPXI_WS_ACCEPT_BYTES + 1];
    hpxi_ws_accept_of(accept, key + sizeof(field) - 1, HPXI_WS_KEY_BYTES);
    const int wrote = snprintf(
        (char *)out,
        256,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
        accept);
    return (size_t)wrote;
}

/* Masked client frames in `in` (whole, under 64 KiB of payload) to server frames in `out`. */
static size_t turn_frames(const uint8_t *in, size_t size, uint8_t *out, size_t *used)
{
    size_t at = 0;
    size_t wrote = 0;
    while (size - at >= 6) {
        const uint8_t *frame = in + at;
        size_t payload = frame[1] & 0x7Fu;
        size_t head = 2;
        if (payload == 126) {
            payload = (size_t)frame[2] << 8 | frame[3];
            head = 4;
        }
        if (size - at < head + 4 + payload) {
            break;
        }
        memcpy(out + wrote, frame, head);
        out[wrote + 1] &= 0x7F;
        const uint8_t *key = frame + head;
        for (size_t i = 0; i < payload; i++) {
            out[wrote + head + i] = frame[head + 4 + i] ^ key[i & 3];
        }
        wrote += head + payload;
        at += head + 4 + payload;
    }
    *used = at;
    return wrote;
}

static size_t upgrade(peer *p, int fd)
{
    size_t have = 0;
    for (;;) {
        const size_t got = spin_recv(p, fd, p->in + have, sizeof(p->in) - have);
        if (got == 0) {
            return 0;
        }
        have += got;
        const size_t answer = answer_of(p->in, have, p->out);
        if (answer != 0) {
            return spin_send(p, fd, p->out, answer) ? answer : 0;
        }
    }
}

/* ---- Loops ----------------------------------------------------------------------------------- */

static void run_raw_echo(peer *p, int fd)
{
    for (;;) {
        const size_t got = spin_recv(p, fd, p->in, sizeof(p->in));
        if (got == 0 || !spin_send(p, fd, p->in, got)) {
            return;
        }
    }
}

static void run_ws_echo(peer *p, int fd)
{
    if (upgrade(p, fd) == 0) {
        return;
    }
    size_t have = 0;
    for (;;) {
        const size_t got = spin_recv(p, fd, p->in + have, sizeof(p->in) - have);
        if (got == 0) {
            return;
        }
        have += got;
        size_t used = 0;
        const size_t wrote = turn_frames(p->in, have, p->out, &used);
        have -= used;
        memmove(p->in, p->in + used, have);
        if (!spin_send(p, fd, p->out, wrote)) {
            return;
        }
    }
}

/* One TLS connection: plain bytes gather in `plain`, records to send in `cipher`. */
static void run_wss_echo(peer *p, int fd)
{
    static uint8_t plain[PEER_BUFFER_BYTES];
    const hpx_allocator *allocator = &memory.counting;
    const hpxi_tls_session_config config = {.context = server_context, .is_server = true};
    hpxi_tls *tls = NULL;
    hpx_error error;
    if (hpxi_tls_new(&tls, &config, allocator, &error) != HPX_OK) {
        return;
    }
    hpxi_buf cipher;
    hpxi_buf_init(&cipher, allocator);
    bool handshaken = false;
    bool upgraded = false;
    size_t have = 0;
    for (size_t got; (got = spin_recv(p, fd, p->in, sizeof(p->in))) != 0;) {
        uint8_t *data = p->in;
        if (!handshaken) {
            const hpx_status status = hpxi_tls_handshake(tls, &data, &got, &cipher, &error);
            handshaken = status == 1;
            if (status < 0 && status != HPX_E_PARTIAL) {
                break;
            }
        }
        for (ptrdiff_t n = 1; handshaken && n > 0;) {
            n = hpxi_tls_read(
                tls, &data, &got, plain + have, sizeof(plain) - have, &cipher, &error);
            have += n > 0 ? (size_t)n : 0;
        }
        size_t wrote = 0;
        size_t used = 0;
        if (upgraded) {
            wrote = turn_frames(plain, have, p->out, &used);
        } else if ((wrote = answer_of(plain, have, p->out)) != 0) {
            upgraded = true;
            used = have;
        }
        have -= used;
        memmove(plain, plain + used, have);
        if (wrote != 0 &&
            hpxi_tls_write(tls, (hpx_span){.data = p->out, .size = wrote}, &cipher, &error) !=
                HPX_OK) {
            break;
        }
        const hpx_span out = hpxi_buf_span(&cipher);
        if (!spin_send(p, fd, out.data, out.size)) {
            break;
        }
        hpxi_buf_consume(&cipher, out.size);
    }
    hpxi_tls_free(tls);
    hpxi_buf_fini(&cipher);
}

static void run_flood(peer *p, int fd)
{
    if (p->kind == PEER_WS_FLOOD ? upgrade(p, fd) == 0 : spin_recv(p, fd, p->in, 1) == 0) {
        return;
    }
    size_t size = 0;
    while (size + PEER_FLOOD_PAYLOAD + 4 <= PEER_FLOOD_BATCH) {
        uint8_t *frame = p->out + size;
        frame[0] = 0x82;
        frame[1] = 126;
        frame[2] = PEER_FLOOD_PAYLOAD >> 8;
        frame[3] = PEER_FLOOD_PAYLOAD & 0xFF;
        memset(frame + 4, 'x', PEER_FLOOD_PAYLOAD);
        size += PEER_FLOOD_PAYLOAD + 4;
    }
    while (!atomic_load_explicit(&p->stop, memory_order_relaxed) && block_send(fd, p->out, size)) {
    }
}

static void *peer_main(void *arg)
{
    peer *p = arg;
    if (p->cpu >= 0) {
        peer_pin_self(p->cpu);
    }
    while (!atomic_load_explicit(&p->stop, memory_order_relaxed)) {
        const int fd = accept(p->listener, NULL, NULL);
        if (fd < 0) {
            break;
        }
        const int one = 1;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        switch (p->kind) {
        case PEER_RAW_ECHO:
            run_raw_echo(p, fd);
            break;
        case PEER_WS_ECHO:
            run_ws_echo(p, fd);
            break;
        case PEER_WSS_ECHO:
            run_wss_echo(p, fd);
            break;
        case PEER_RAW_FLOOD:
        case PEER_WS_FLOOD:
            run_flood(p, fd);
            break;
        }
        (void)close(fd);
    }
    return NULL;
}

peer *peer_start(peer_kind kind, int cpu)
{
    if (memory.counting.alloc == NULL) {
        hpxi_counting_allocator_init(&memory, NULL);
    }
    if (kind == PEER_WSS_ECHO) {
        (void)peer_ca_file();
    }
    peer *p = calloc(1, sizeof(*p));
    if (p == NULL) {
        die("calloc");
    }
    p->kind = kind;
    p->cpu = cpu;
    p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    if (p->listener < 0 || bind(p->listener, (struct sockaddr *)&address, size) != 0 ||
        listen(p->listener, 16) != 0 ||
        getsockname(p->listener, (struct sockaddr *)&address, &size) != 0) {
        die("listen");
    }
    p->port = ntohs(address.sin_port);
    if (pthread_create(&p->thread, NULL, peer_main, p) != 0) {
        die("pthread_create");
    }
    return p;
}

uint16_t peer_port(const peer *p)
{
    return p->port;
}

void peer_stop(peer *p)
{
    atomic_store_explicit(&p->stop, true, memory_order_relaxed);
    (void)shutdown(p->listener, SHUT_RDWR); /* ends accept() */
    (void)pthread_join(p->thread, NULL);
    (void)close(p->listener);
    free(p);
}
