/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor.c - `hpx doctor`: runs the checks and prints them as a table or as JSON.
 */
#include "doctor.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

#include <hpx/hpx.h>

#include "cli.h"
#include "commands.h"

static const char doctor_help[] =
    "usage: hpx doctor [--json] [--sysroot DIR]\n\n"
    "Checks this machine for what hpx needs and for what makes it fast. For each finding that is\n"
    "not OK it says what to do. Changes nothing.\n\n"
    "  --json         print {\"ok\":...,\"checks\":[{name,status,value,advice}]}\n"
    "  --sysroot DIR  read /proc and /sys below DIR\n\n"
    "Exit status: 0 if nothing failed, 1 otherwise. 'unknown' is never a failure: containers\n"
    "hide files.\n";

static const char *doctor_status_name(doctor_status status)
{
    switch (status) {
    case DOCTOR_OK:
        return "OK";
    case DOCTOR_INFO:
        return "INFO";
    case DOCTOR_WARN:
        return "WARN";
    case DOCTOR_FAIL:
        return "FAIL";
    }
    return "";
}

doctor_finding *doctor_add(doctor *d, const char *name, doctor_status status)
{
    assert(d->count < DOCTOR_FINDINGS_MAX);
    doctor_finding *f = &d->findings[d->count++];
    *f = (doctor_finding){.name = name, .status = status};
    return f;
}

const char *doctor_read(const doctor *d, const char *path, char *buffer, size_t capacity)
{
    assert(path[0] == '/');
    char full[DOCTOR_ROOT_BYTES + 128];
    snprintf(full, sizeof(full), "%s%s", d->root, path);
    FILE *file = fopen(full, "re");
    if (file == NULL) {
        return NULL;
    }
    const size_t size = fread(buffer, 1, capacity - 1, file);
    fclose(file);
    buffer[size] = '\0';
    buffer[strcspn(buffer, "\n")] = '\0';
    for (char *c = buffer; *c != '\0'; c++) {
        *c = *c < ' ' || *c > '~' ? ' ' : *c; /* tabs, and anything a terminal would act on */
    }
    return buffer;
}

static bool doctor_has_failed(const doctor *d)
{
    for (size_t i = 0; i < d->count; i++) {
        if (d->findings[i].status == DOCTOR_FAIL) {
            return true;
        }
    }
    return false;
}

static void doctor_print_table(const doctor *d)
{
    static const char *const colors[] = {
        [DOCTOR_OK] = "\033[32m",
        [DOCTOR_INFO] = "\033[2m",
        [DOCTOR_WARN] = "\033[33m",
        [DOCTOR_FAIL] = "\033[31m",
    };
    const bool has_color = cli_has_escapes();
    size_t counts[DOCTOR_FAIL + 1] = {0};
    printf("hpx %s\n\n", hpx_version());
    for (size_t i = 0; i < d->count; i++) {
        const doctor_finding *f = &d->findings[i];
        counts[f->status]++;
        printf(
            "  %s%-4s%s  %-14s %s\n",
            has_color ? colors[f->status] : "",
            doctor_status_name(f->status),
            has_color ? "\033[0m" : "",
            f->name,
            f->value);
        if (f->advice[0] != '\0') {
            printf("  %-4s  %-14s   -> %s\n", "", "", f->advice);
        }
    }
    printf(
        "\n%s: %zu failed, %zu warnings\n",
        doctor_has_failed(d) ? "hpx cannot run here" : "hpx can run here",
        counts[DOCTOR_FAIL],
        counts[DOCTOR_WARN]);
}

static bool doctor_print_json(const doctor *d)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc);
    yyjson_mut_val *checks = yyjson_mut_arr(doc);
    yyjson_mut_doc_set_root(doc, root);
    yyjson_mut_obj_add_str(doc, root, "version", hpx_version());
    yyjson_mut_obj_add_bool(doc, root, "ok", !doctor_has_failed(d));
    yyjson_mut_obj_add_val(doc, root, "checks", checks);
    for (size_t i = 0; i < d->count; i++) {
        const doctor_finding *f = &d->findings[i];
        yyjson_mut_val *check = yyjson_mut_arr_add_obj(doc, checks);
        yyjson_mut_obj_add_str(doc, check, "name", f->name);
        yyjson_mut_obj_add_str(doc, check, "status", doctor_status_name(f->status));
        yyjson_mut_obj_add_str(doc, check, "value", f->value);
        yyjson_mut_obj_add_str(doc, check, "advice", f->advice);
    }
    char *json = yyjson_mut_write(doc, YYJSON_WRITE_PRETTY, NULL);
    yyjson_mut_doc_free(doc);
    if (json == NULL) {
        cli_error("doctor: out of memory");
        return false;
    }
    puts(json);
    free(json);
    return true;
}

enum { DOCTOR_JSON = 256, DOCTOR_SYSROOT };

static const struct option doctor_longs[] = {
    {"json", no_argument, NULL, DOCTOR_JSON},
    {"sysroot", required_argument, NULL, DOCTOR_SYSROOT},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

int command_doctor(int argc, char **argv)
{
    static doctor d;
    bool wants_json = false;
    int option;
    while ((option = cli_option(argc, argv, ":h", doctor_longs)) != CLI_OPTION_END) {
        switch (option) {
        case DOCTOR_JSON:
            wants_json = true;
            break;
        case DOCTOR_SYSROOT:
            if (strlen(optarg) >= sizeof(d.root)) {
                return cli_usage("doctor", "--sysroot is too long");
            }
            snprintf(d.root, sizeof(d.root), "%s", optarg);
            break;
        case 'h':
            fputs(doctor_help, stdout);
            return CLI_EXIT_OK;
        default:
            return CLI_EXIT_USAGE;
        }
    }
    if (optind < argc) {
        return cli_usage("doctor", "unexpected '%s'", argv[optind]);
    }
    doctor_check_kernel(&d);
    doctor_check_machine(&d);
    doctor_check_network(&d);
    doctor_check_build(&d);
    if (!wants_json) {
        doctor_print_table(&d);
    } else if (!doctor_print_json(&d)) {
        return CLI_EXIT_FAILED;
    }
    return doctor_has_failed(&d) ? CLI_EXIT_FAILED : CLI_EXIT_OK;
}
