/* SPDX-License-Identifier: Apache-2.0 */
/* reader_head.h - private to the reader: what the lines of a head mean, and how a reader fails. */
#ifndef HPXI_H1_READER_HEAD_H
#define HPXI_H1_READER_HEAD_H

#include "h1/reader.h"

/*
 * Each returns HPX_OK, or the status with which it made the reader fail. The first line may be
 * checked as soon as it has ended; for the others, the lines are complete.
 */
hpx_status hpxi_h1_reader_check_first_line(hpxi_h1_reader *reader);
hpx_status hpxi_h1_reader_check_head(hpxi_h1_reader *reader); /* fills reader->head */
hpx_status hpxi_h1_reader_check_trailers(hpxi_h1_reader *reader);

/* Makes the reader fail for ever. `refusal`: see the reader's member. Returns status. */
hpx_status hpxi_h1_reader_fail(
    hpxi_h1_reader *reader, hpx_status status, uint16_t refusal, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif /* HPXI_H1_READER_HEAD_H */
