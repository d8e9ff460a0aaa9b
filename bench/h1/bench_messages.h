/* SPDX-License-Identifier: Apache-2.0 */
/* bench_messages.h - h1 as bench_messages.cc sees it: the internal headers are C only. */
#ifndef HPX_BENCH_MESSAGES_H
#define HPX_BENCH_MESSAGES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bench_reader bench_reader;

bench_reader *bench_reader_new(int is_server);
void bench_reader_free(bench_reader *reader);
/* Reads one message in pieces of `chunk` bytes; bytes of body seen. Aborts when it is refused. */
size_t bench_reader_run(bench_reader *reader, const uint8_t *data, size_t size, size_t chunk);

/* Writes a typical signed GET; its bytes. */
size_t bench_request_write(bench_reader *reader);

#ifdef __cplusplus
}
#endif

#endif /* HPX_BENCH_MESSAGES_H */
