/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: what the client's reader says about a stream of responses (events, their bytes, the
 * failure and its text) does not depend on where the input is cut; its invariant holds after every
 * call (HPX_XASSERT); no limit is passed; no error text has an unprintable byte.
 *
 * Byte 0: exchange (bits 0, 1), tight limits (bit 2), how the stream ends (bits 3, 4).
 * Byte 1: size of the pieces. Byte 2: size of the first one.
 */
#include "tests/h1/message_log.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3) {
        return 0;
    }
    log_plan plan = {
        .exchange =
            {.head = (data[0] & 3) == 1,
             .connect = (data[0] & 3) == 2,
             .upgrade = (data[0] & 3) == 3},
        .limits = HPXI_H1_LIMITS_DEFAULT,
        .close = (data[0] >> 3 & 3) == 1   ? LOG_CLOSE_CLEAN
                 : (data[0] >> 3 & 3) == 2 ? LOG_CLOSE_CUT
                                           : LOG_CLOSE_NONE};
    if ((data[0] & 4) != 0) {
        plan.limits = (hpxi_h1_limits){
            .head_bytes_max = 96,
            .fields_max = 3,
            .interim_max = 1,
            .extension_bytes_max = 6,
            .trailer_bytes_max = 20};
    }
    static message_log whole;
    static message_log cut;
    log_read(&whole, &plan, data + 3, size - 3, 0, size);
    log_read(&cut, &plan, data + 3, size - 3, data[2], 1 + (size_t)data[1]);
    HPX_ASSERT(strcmp(whole.text, cut.text) == 0);
    HPX_ASSERT(whole.status == cut.status);
    HPX_ASSERT(whole.message_count == cut.message_count);
    HPX_ASSERT(whole.reusable == cut.reusable);
    HPX_ASSERT(whole.message_count <= 1);
    return 0;
}
