/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_view.c - what `hpx tls` found, in words.
 */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "tls.h"

#define VIEW_DAY_S 86400

static void view_date(text *out, int64_t when_s)
{
    struct tm parts;
    char words[32];
    const time_t when = (time_t)when_s;
    if (when_s == 0 || gmtime_r(&when, &parts) == NULL ||
        strftime(words, sizeof(words), "%Y-%m-%d %H:%M:%S UTC", &parts) == 0) {
        text_add(out, "(unreadable)");
        return;
    }
    text_add(out, words);
}

static void view_hex(text *out, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        text_addf(out, "%02x", bytes[i]);
    }
}

static void view_validity(text *out, const hpx_tls_certificate *certificate)
{
    const int64_t now_s = (int64_t)time(NULL);
    view_date(out, certificate->not_before_s);
    text_add(out, " to ");
    view_date(out, certificate->not_after_s);
    if (now_s > certificate->not_after_s) {
        text_add(out, " (EXPIRED)");
    } else if (now_s < certificate->not_before_s) {
        text_add(out, " (NOT YET VALID)");
    } else {
        text_addf(out, " (%" PRId64 " days left)", (certificate->not_after_s - now_s) / VIEW_DAY_S);
    }
}

static void view_certificate(text *out, uint32_t index, const hpx_tls_certificate *certificate)
{
    text_addf(out, "  %-12u%s\n", index, certificate->subject);
    text_addf(
        out,
        "    issuer    %s%s\n",
        certificate->issuer,
        certificate->is_self_signed ? " (itself)" : "");
    if (index == 0 || !certificate->is_ca) {
        text_addf(out, "    names     %s\n", certificate->names);
    }
    text_add(out, "    valid     ");
    view_validity(out, certificate);
    text_addf(out, "\n    key       %s, signed with %s", certificate->key, certificate->signature);
    text_add(out, certificate->is_ca ? ", a CA\n" : "\n");
    text_add(out, "    SHA-256   ");
    view_hex(out, certificate->sha256, sizeof(certificate->sha256));
    text_add(out, "\n    pin       ");
    view_hex(out, certificate->pin_sha256, sizeof(certificate->pin_sha256));
    text_add(out, "\n");
}

static void view_times(text *out, const tls_visit *visit)
{
    text_add(out, "time        resolve ");
    text_add_duration(out, visit->resolve_ns);
    text_add(out, ", connect ");
    text_add_duration(out, visit->connect_ns);
    text_add(out, ", handshake ");
    text_add_duration(out, visit->handshake_ns);
    text_add(out, "\n");
}

void tls_view(
    text *out,
    const tls_options *options,
    const hpx_tls_probe *probe_of_first,
    const tls_visit *first)
{
    text_addf(out, "server      %s:%s", options->host, options->port);
    text_addf(out, "%s%s\n", first->address[0] == '\0' ? "" : ", ", first->address);
    text_addf(out, "name        %s\n", options->name == NULL ? options->host : options->name);
    if (first->handshake_ns != 0) {
        view_times(out, first);
    }
    const hpx_tls_report *report = &first->report;
    if (report->version[0] != '\0') {
        text_addf(out, "protocol    %s\n", report->version);
        text_addf(out, "cipher      %s\n", report->cipher[0] == '\0' ? "-" : report->cipher);
        text_addf(out, "ALPN        %s\n", report->alpn[0] == '\0' ? "none" : report->alpn);
    }
    for (uint32_t i = 0; i < report->certificate_count; i++) {
        hpx_tls_certificate certificate;
        const hpx_status status = hpx_tls_probe_get_certificate(probe_of_first, i, &certificate);
        text_add(out, i == 0 ? "chain\n" : "");
        if (status == HPX_OK) {
            view_certificate(out, i, &certificate);
        } else {
            text_addf(out, "  %-12u%s\n", i, hpx_status_text(status));
        }
    }
    if (first->status == 1) {
        text_add(out, "verdict     accepted\n");
    } else {
        text_addf(
            out,
            "verdict     REFUSED: %s (%s)\n",
            first->error.detail,
            hpx_status_name(first->status));
    }
}

void tls_view_again(text *out, const tls_visit *again)
{
    if (again == NULL) {
        text_add(out, "resumption  no: the server gave no session\n");
    } else if (again->status != 1) {
        text_addf(out, "resumption  the second connection failed: %s\n", again->error.detail);
    } else {
        text_addf(
            out,
            "resumption  %s: the second handshake took ",
            again->report.resumed ? "yes" : "no, the server wanted a full handshake");
        text_add_duration(out, again->handshake_ns);
        text_add(out, "\n");
    }
}
