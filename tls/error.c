/* SPDX-License-Identifier: Apache-2.0 */
/* error.c - wolfSSL's error codes and the alerts of RFC 8446 section 6, in our vocabulary. */
#include <stdarg.h>
#include <stdio.h>

#include "tls/internal.h"

hpx_status hpxi_tls_status_of(int wolf_error)
{
    switch (wolf_error) {
    case MEMORY_E:
    case MEMORY_ERROR:
        return HPX_E_NO_MEMORY;
    case FATAL_ERROR:
        return HPX_E_TLS_ALERT;
    case ASN_AFTER_DATE_E:
        return HPX_E_TLS_EXPIRED;
    case ASN_BEFORE_DATE_E:
        return HPX_E_TLS_NOT_YET_VALID;
    case ASN_NO_SIGNER_E:
    case ASN_SELF_SIGNED_E:
    case ASN_SIG_CONFIRM_E:
        return HPX_E_TLS_UNTRUSTED;
    case VERIFY_CERT_ERROR:
    case VERIFY_SIGN_ERROR:
    case NO_PEER_CERT:
    case NO_PEER_KEY:
    case NO_PEER_VERIFY:
    case PEER_KEY_ERROR:
    case ECC_PEERKEY_ERROR:
    case NOT_CA_ERROR:
    case MAX_CHAIN_ERROR:
    case KEYUSE_SIGNATURE_E:
    case KEYUSE_ENCIPHER_E:
    case EXTKEYUSE_AUTH_E:
    case RSA_KEY_SIZE_E:
    case ECC_KEY_SIZE_E:
    case UNSUPPORTED_CERTIFICATE:
    case ASN_PATHLEN_SIZE_E:
    case ASN_PATHLEN_INV_E:
        return HPX_E_TLS_CERTIFICATE;
    case VERSION_ERROR:
    case UNSUPPORTED_PROTO_VERSION:
    case UNSUPPORTED_SUITE:
    case MATCH_SUITE_ERROR:
    case KEY_SHARE_ERROR:
    case BAD_KEY_SHARE_DATA:
    case ECC_CURVE_ERROR:
    case UNKNOWN_ALPN_PROTOCOL_NAME_E:
    case VERIFY_FINISHED_ERROR:
    case ZERO_RETURN:
        return HPX_E_TLS_HANDSHAKE;
    default:
        break;
    }
    const bool asn1 = wolf_error <= ASN_PARSE_E && wolf_error >= ASN_NAME_INVALID_E;
    return asn1 ? HPX_E_TLS_CERTIFICATE : HPX_E_TLS_PROTOCOL;
}

const char *hpxi_tls_alert_name(int alert)
{
    switch (alert) {
    case 0:
        return "close_notify";
    case 10:
        return "unexpected_message";
    case 20:
        return "bad_record_mac";
    case 22:
        return "record_overflow";
    case 40:
        return "handshake_failure";
    case 42:
        return "bad_certificate";
    case 43:
        return "unsupported_certificate";
    case 44:
        return "certificate_revoked";
    case 45:
        return "certificate_expired";
    case 46:
        return "certificate_unknown";
    case 47:
        return "illegal_parameter";
    case 48:
        return "unknown_ca";
    case 49:
        return "access_denied";
    case 50:
        return "decode_error";
    case 51:
        return "decrypt_error";
    case 70:
        return "protocol_version";
    case 71:
        return "insufficient_security";
    case 80:
        return "internal_error";
    case 86:
        return "inappropriate_fallback";
    case 90:
        return "user_canceled";
    case 109:
        return "missing_extension";
    case 110:
        return "unsupported_extension";
    case 112:
        return "unrecognized_name";
    case 113:
        return "bad_certificate_status_response";
    case 116:
        return "certificate_required";
    case 120:
        return "no_application_protocol";
    default:
        return "unknown alert";
    }
}

const char *hpxi_tls_reason(int wolf_error)
{
    const char *reason = wolfSSL_ERR_reason_error_string((unsigned long)wolf_error);
    return reason == NULL || reason[0] == '\0' ? "no reason given" : reason;
}

hpx_status hpxi_tls_error_set(
    hpx_error *error, hpx_status status, hpx_stage stage, int wolf_error, const char *format, ...)
{
    HPX_ASSERT(status <= HPX_E_STALE);
    if (error == NULL) {
        return status;
    }
    *error = (hpx_error){.status = status, .stage = stage, .tls_error = wolf_error};
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(error->detail, sizeof(error->detail), format, arguments);
    va_end(arguments);
    return status;
}

void hpxi_tls_copy_text(char *to, size_t to_bytes, const char *from, size_t from_bytes)
{
    HPX_ASSERT(to_bytes > 4);
    const bool cut = from_bytes >= to_bytes;
    const size_t size = cut ? to_bytes - 4 : from_bytes;
    for (size_t i = 0; i < size; i++) {
        to[i] = from[i] >= 0x20 && from[i] < 0x7F ? from[i] : '?';
    }
    memcpy(to + size, "...", 4);
    if (!cut) {
        to[size] = '\0';
    }
}
