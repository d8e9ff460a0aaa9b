/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text.c - text built in a fixed buffer.
 *
 * An append that does not fit adds nothing, nor does any after it: check `full` before using a text
 * that must be whole.
 */
#include "text.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void text_init(text *out, char *buffer, size_t capacity)
{
    assert(capacity > 0);
    *out = (text){.data = buffer, .capacity = capacity};
    buffer[0] = '\0';
}

void text_add_bytes(text *out, const char *bytes, size_t size)
{
    assert(out->size < out->capacity);
    if (out->full || size >= out->capacity - out->size) {
        out->full = true;
        return;
    }
    if (size > 0) {
        memcpy(out->data + out->size, bytes, size);
    }
    out->size += size;
    out->data[out->size] = '\0';
}

void text_add(text *out, const char *string)
{
    text_add_bytes(out, string, strlen(string));
}

void text_addf(text *out, const char *format, ...)
{
    assert(out->size < out->capacity);
    if (out->full) {
        return;
    }
    const size_t room = out->capacity - out->size;
    va_list arguments;
    va_start(arguments, format);
    const int written = vsnprintf(out->data + out->size, room, format, arguments);
    va_end(arguments);
    if (written < 0 || (size_t)written >= room) {
        out->data[out->size] = '\0';
        out->full = true;
        return;
    }
    out->size += (size_t)written;
}

void text_add_json(text *out, const char *bytes, size_t size)
{
    text_add(out, "\"");
    for (size_t i = 0; i < size; i++) {
        const unsigned char byte = (unsigned char)bytes[i];
        if (byte == '"' || byte == '\\') {
            text_addf(out, "\\%c", byte);
        } else if (byte < 0x20) {
            text_addf(out, "\\u%04x", byte);
        } else {
            text_add_bytes(out, &bytes[i], 1);
        }
    }
    text_add(out, "\"");
}

void text_add_duration(text *out, uint64_t ns)
{
    static const char *const units[] = {"us", "ms", "s"};
    if (ns < 1000) {
        text_addf(out, "%llu ns", (unsigned long long)ns);
        return;
    }
    double value = (double)ns / 1e3;
    size_t unit = 0;
    while (value >= 999.5 && unit + 1 < CLI_COUNT_OF(units)) {
        value /= 1e3;
        unit++;
    }
    const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    text_addf(out, "%.*f %s", decimals, value, units[unit]);
}

void text_add_count(text *out, uint64_t count)
{
    char digits[24];
    const int total = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)count);
    assert(total > 0);
    for (int i = 0; i < total; i++) {
        if (i > 0 && (total - i) % 3 == 0) {
            text_add_bytes(out, ",", 1);
        }
        text_add_bytes(out, &digits[i], 1);
    }
}
