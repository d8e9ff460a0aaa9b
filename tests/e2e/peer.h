/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer.h - other people's programs as peers of a test: started, listened to, stopped.
 *
 * Role      A peer says when it is ready by a line on its stdout ("listening 40123"), so nothing
 *           here sleeps and hopes. Its stderr is the test's. Failures fail the cmocka test.
 * Threads   The test's main thread.
 * Memory    No peer outlives the test process, however that ends: each gets its death signal from
 *           the kernel (PR_SET_PDEATHSIG).
 */
#ifndef HPX_TESTS_E2E_PEER_H
#define HPX_TESTS_E2E_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PEER_LINE_BYTES 1024
#define PEER_PATH_BYTES 512

/* Long enough for a loaded machine under a sanitizer; reached only by a failing test. */
#define PEER_DEADLINE_MS 20000

typedef struct e2e_peer {
    pid_t pid; /* 0: not running */
    int out;   /* its stdout */
    size_t used;
    char buffer[4 * PEER_LINE_BYTES];
    char line[PEER_LINE_BYTES];
    char name[64];
} e2e_peer;

typedef struct peer_options {
    int death_signal; /* 0: SIGKILL; another one for programs that have children to stop */
    int inherited_fd; /* 0: none; stays open in the program */
    const char *env;  /* NULL, or one more "NAME=value" */
} peer_options;

/* Path of tests/e2e/servers/NAME. */
void peer_script(char path[PEER_PATH_BYTES], const char *name);

/* argv ends with NULL; argv[0] is found by PATH. `options` may be NULL. */
void peer_start(e2e_peer *out, const peer_options *options, const char *const *argv);

/* Starts tests/e2e/servers/SCRIPT with its interpreter (.js: node, .py: HPX_PYTHON). */
void peer_start_script(e2e_peer *out, const char *script, const char *const *args);

/*
 * The rest of the next line that begins with `prefix` and a blank (or is `prefix`); lines before it
 * are skipped. Valid until the next call. Fails the test at the deadline.
 */
const char *peer_expect(e2e_peer *peer, const char *prefix);

/* The next line, whatever it is; NULL at the end of the output. */
const char *peer_next_line(e2e_peer *peer);

/* "listening PORT": the port. */
uint16_t peer_port(e2e_peer *peer, const char *prefix);

void peer_signal(const e2e_peer *peer, int signal);

/* Waits for its end. Returns the exit status, or 256 + the signal. */
int peer_wait(e2e_peer *peer);

/* Kills (SIGKILL) and reaps it. A peer that is not running is a no-op. */
void peer_kill(e2e_peer *peer);

/* Runs a program to its end, output captured (NUL-terminated, cut to size). Returns as wait. */
int peer_run(char *out, size_t out_bytes, const char *const *argv);

/* Whether a program is there; a test whose program is absent skips. */
bool peer_has(const char *const *argv);

/* A folder for the test, removed with all that is in it by peer_folder_remove(). */
void peer_folder_make(char path[PEER_PATH_BYTES]);
void peer_folder_remove(const char *path);

/* A TCP socket bound to a free port of 127.0.0.1, listening or only holding the port. */
int peer_bind(bool listening, uint16_t *port);

uint64_t peer_now_ms(void);

#endif /* HPX_TESTS_E2E_PEER_H */
