/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls.c - `hpx tls`: would hpx trust this server, and what does it show?
 */
#include "tls.h"

#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "commands.h"

#define TLS_OUTPUT_BYTES (64u << 10)

static const char tls_help[] =
    "usage: hpx tls HOST[:PORT] [OPTIONS]\n\n"
    "Connects, shakes hands and verifies as a connection of hpx would, and shows what the server\n"
    "has: certificates, names, validity, protocol, cipher, ALPN; then connects again to see\n"
    "whether the session is resumed. PORT is 443 if not given; an IPv6 address takes brackets.\n\n"
    "  --name NAME        verify this name or address instead of HOST\n"
    "  --cacert FILE      trust these roots (PEM) instead of the system's\n"
    "  --cert FILE        client certificate chain (PEM), with --key\n"
    "  --key FILE         its private key (PEM)\n"
    "  --pin HEX          require this key on the chain (SHA-256 of the public key, 64 digits,\n"
    "                     as printed by this command); may be given again\n"
    "  --alpn LIST        protocols to offer, best first (default h2,http/1.1; '' for none)\n"
    "  --min 1.2|1.3      oldest version allowed (default 1.2)\n"
    "  --max 1.2|1.3      newest version offered (default 1.3)\n"
    "  --timeout S        for each connection (default 10)\n\n"
    "Exit status: 0 if hpx accepts the server; 1 if not, with the check that failed on stderr.\n";

enum {
    TLS_NAME = 256,
    TLS_CACERT,
    TLS_CERT,
    TLS_KEY,
    TLS_PIN,
    TLS_ALPN,
    TLS_MIN,
    TLS_MAX,
    TLS_TIMEOUT,
};

static const struct option tls_longs[] = {
    {"name", required_argument, NULL, TLS_NAME},
    {"cacert", required_argument, NULL, TLS_CACERT},
    {"cert", required_argument, NULL, TLS_CERT},
    {"key", required_argument, NULL, TLS_KEY},
    {"pin", required_argument, NULL, TLS_PIN},
    {"alpn", required_argument, NULL, TLS_ALPN},
    {"min", required_argument, NULL, TLS_MIN},
    {"max", required_argument, NULL, TLS_MAX},
    {"timeout", required_argument, NULL, TLS_TIMEOUT},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static bool tls_take_version(const char *option, const char *value, hpx_tls_version *out)
{
    if (strcmp(value, "1.2") == 0 || strcmp(value, "1.3") == 0) {
        *out = value[2] == '2' ? HPX_TLS_VERSION_1_2 : HPX_TLS_VERSION_1_3;
        return true;
    }
    cli_usage("tls", "--%s is 1.2 or 1.3, not '%s'", option, value);
    return false;
}

/* The value of a hexadecimal digit, or -1. */
static int tls_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char lower = c >= 'A' && c <= 'F' ? (char)(c - 'A' + 'a') : c;
    const char *at = lower == '\0' ? NULL : strchr(digits, lower);
    return at == NULL ? -1 : (int)(at - digits);
}

static bool tls_take_pin(tls_options *options, const char *value)
{
    if (options->pin_count == TLS_PINS_MAX) {
        cli_usage("tls", "--pin: at most %d", TLS_PINS_MAX);
        return false;
    }
    bool good = strlen(value) == 2 * (size_t)HPX_TLS_PIN_BYTES;
    for (size_t i = 0; good && i < HPX_TLS_PIN_BYTES; i++) {
        const int high = tls_digit(value[2 * i]);
        const int low = tls_digit(value[2 * i + 1]);
        good = high >= 0 && low >= 0;
        options->pins[options->pin_count][i] = (uint8_t)(good ? high << 4 | low : 0);
    }
    if (!good) {
        cli_usage("tls", "--pin '%s' is not 64 hexadecimal digits", value);
        return false;
    }
    options->pin_count++;
    return true;
}

static bool tls_take(tls_options *options, int option)
{
    switch (option) {
    case TLS_NAME:
        options->name = optarg;
        return true;
    case TLS_CACERT:
        options->ca_file = optarg;
        return true;
    case TLS_CERT:
        options->cert_file = optarg;
        return true;
    case TLS_KEY:
        options->key_file = optarg;
        return true;
    case TLS_PIN:
        return tls_take_pin(options, optarg);
    case TLS_ALPN:
        options->alpn = optarg[0] == '\0' ? NULL : optarg;
        return true;
    case TLS_MIN:
        return tls_take_version("min", optarg, &options->version_min);
    case TLS_MAX:
        return tls_take_version("max", optarg, &options->version_max);
    case TLS_TIMEOUT:
        return cli_seconds("tls", "timeout", optarg, &options->timeout_ns);
    default:
        return false; /* printed by cli_option() */
    }
}

/* "host", "host:port", "[::1]", "[::1]:port"; a bare IPv6 address has no port. */
static bool tls_take_target(tls_options *options, const char *target)
{
    const char *host = target;
    size_t host_bytes = strlen(target);
    const char *port = "443";
    const char *colon = strrchr(target, ':');
    const char *bracket = strchr(target, ']');
    if (target[0] == '[') {
        if (bracket == NULL || (bracket[1] != '\0' && bracket[1] != ':')) {
            return false;
        }
        host = target + 1;
        host_bytes = (size_t)(bracket - host);
        port = bracket[1] == ':' ? bracket + 2 : port;
    } else if (colon != NULL && strchr(target, ':') == colon) {
        host_bytes = (size_t)(colon - target);
        port = colon + 1;
    }
    const size_t port_bytes = strlen(port);
    if (host_bytes == 0 || host_bytes >= sizeof(options->host) || port_bytes == 0 ||
        port_bytes > 5 || strspn(port, "0123456789") != port_bytes) {
        return false;
    }
    memcpy(options->host, host, host_bytes);
    options->host[host_bytes] = '\0';
    memcpy(options->port, port, port_bytes + 1);
    return true;
}

static hpx_tls_probe *tls_make_probe(const tls_options *options, hpx_error *error)
{
    hpx_tls_context *context = NULL;
    hpx_tls_probe *probe = NULL;
    hpx_tls_config config = HPX_TLS_CONFIG_INIT;
    config.ca_file = options->ca_file;
    config.cert_file = options->cert_file;
    config.key_file = options->key_file;
    config.version_min = options->version_min;
    config.version_max = options->version_max;
    config.pin_count = options->pin_count;
    config.pin_sha256 = options->pin_count == 0 ? NULL : options->pins[0];
    if (hpx_tls_client_context_new(&context, &config, error) != HPX_OK) {
        return NULL;
    }
    hpx_tls_probe_config probe_config = HPX_TLS_PROBE_CONFIG_INIT;
    probe_config.context = context;
    probe_config.server_name = options->name == NULL ? options->host : options->name;
    probe_config.alpn = options->alpn;
    if (hpx_tls_probe_new(&probe, &probe_config, error) != HPX_OK) {
        probe = NULL;
    }
    hpx_tls_context_release(context); /* the probe holds its own reference */
    return probe;
}

static int tls_run(const tls_options *options)
{
    static char buffer[TLS_OUTPUT_BYTES];
    text out;
    hpx_error error = {0};
    tls_visit first;
    tls_visit again;
    hpx_tls_probe *probe = tls_make_probe(options, &error);
    if (probe == NULL) {
        cli_report(&error);
        return error.status == HPX_E_INVALID ? CLI_EXIT_USAGE : CLI_EXIT_FAILED;
    }
    text_init(&out, buffer, sizeof(buffer));
    tls_visit_make(&first, probe, options, NULL);
    if (first.status == 1 || first.error.stage == HPX_STAGE_TLS) {
        tls_view(&out, options, probe, &first);
    }
    if (first.status == 1) {
        const bool has_session = first.report.session_count != 0;
        if (has_session) {
            tls_visit_make(&again, probe, options, &first);
        }
        tls_view_again(&out, has_session ? &again : NULL);
    } else {
        cli_report(&first.error);
    }
    fputs(buffer, stdout);
    hpx_tls_probe_free(probe);
    return first.status == 1 ? CLI_EXIT_OK : CLI_EXIT_FAILED;
}

int command_tls(int argc, char **argv)
{
    tls_options options = {.alpn = "h2,http/1.1", .timeout_ns = 10 * HPX_NS_PER_S};
    for (;;) {
        const int option = cli_option(argc, argv, ":h", tls_longs);
        if (option == CLI_OPTION_END) {
            break;
        }
        if (option == 'h') {
            fputs(tls_help, stdout);
            return CLI_EXIT_OK;
        }
        if (!tls_take(&options, option)) {
            return CLI_EXIT_USAGE;
        }
    }
    if (optind >= argc) {
        return cli_usage("tls", "HOST:PORT is missing");
    }
    if (!tls_take_target(&options, argv[optind])) {
        return cli_usage("tls", "'%s' is not HOST[:PORT]", argv[optind]);
    }
    if (optind + 1 < argc) {
        return cli_usage("tls", "unexpected '%s'", argv[optind + 1]);
    }
    return tls_run(&options);
}
