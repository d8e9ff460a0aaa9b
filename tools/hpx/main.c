/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - the hpx command: finds the subcommand and runs it.
 */
#include <stdio.h>
#include <string.h>

#include <hpx/hpx.h>

#include "cli.h"
#include "commands.h"

typedef struct command {
    const char *name;
    const char *summary;
    int (*run)(int argc, char **argv);
} command;

static const command commands[] = {
    {"quickstart",
     "an exchange and a client in one command, with live figures",
     command_quickstart},
    {"doctor", "check this machine and say what to change", command_doctor},
    {"ws", "talk to a WebSocket server from the terminal", command_ws},
    {"get", "HTTP requests from the terminal, HTTP/1.1 and HTTP/2", command_get},
    {"post", "as get, with that method", command_post},
    {"put", "as get, with that method", command_put},
    {"delete", "as get, with that method", command_delete},
    {"head", "as get, with that method", command_head},
    {"tls", "show a TLS server's certificates, and whether hpx accepts it", command_tls},
    {"exchange", "a local exchange simulator, over TLS", command_exchange},
    {"echo", "a WebSocket echo server", command_echo},
    {"ws-testee", "drive the Autobahn test suite's fuzzing server", command_testee},
};

static void main_help(FILE *out)
{
    fputs(
        "hpx - network engine on io_uring: tools\n\n"
        "usage: hpx COMMAND [OPTIONS]\n"
        "       hpx COMMAND --help\n"
        "       hpx --help | --version\n\n"
        "commands:\n",
        out);
    for (size_t i = 0; i < CLI_COUNT_OF(commands); i++) {
        fprintf(out, "  %-12s%s\n", commands[i].name, commands[i].summary);
    }
    fputs(
        "\nexit status:\n"
        "  0  ok\n"
        "  1  could not connect, connection lost, or a check failed; one line on stderr names\n"
        "     the stage (config, resolve, connect, tls, upgrade, ready, close; of a request also\n"
        "     queue, request, response, body) and the cause\n"
        "  2  wrong usage\n"
        "  3  the time given with --timeout ran out\n"
        "  4  the peer closed before --count messages had come\n"
        "  5  with --fail: the server answered with a status of 400 or more\n",
        out);
}

static const command *main_find(const char *name)
{
    for (size_t i = 0; i < CLI_COUNT_OF(commands); i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

static int main_dispatch(int argc, char **argv)
{
    if (argc < 2) {
        main_help(stderr);
        return CLI_EXIT_USAGE;
    }
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 ||
        (strcmp(word, "help") == 0 && argc == 2)) {
        main_help(stdout);
        return CLI_EXIT_OK;
    }
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
        printf("hpx %s\n", hpx_version());
        return CLI_EXIT_OK;
    }
    if (strcmp(word, "help") == 0) { /* hpx help ws: the same as hpx ws --help */
        const command *about = main_find(argv[2]);
        char help[] = "--help";
        char *words[] = {argv[2], help, NULL};
        if (about != NULL) {
            return about->run(2, words);
        }
        word = argv[2];
    }
    const command *found = main_find(word);
    if (found == NULL) {
        cli_error("unknown %s '%s' (try: hpx --help)", word[0] == '-' ? "option" : "command", word);
        return CLI_EXIT_USAGE;
    }
    return found->run(argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
    cli_init();
    return cli_finish(main_dispatch(argc, argv));
}
