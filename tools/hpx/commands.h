/* SPDX-License-Identifier: Apache-2.0 */
/*
 * commands.h - the subcommands. Each gets argv from its own name on and returns the exit code.
 */
#ifndef HPX_TOOL_COMMANDS_H
#define HPX_TOOL_COMMANDS_H

int command_ws(int argc, char **argv);
int command_get(int argc, char **argv);
int command_post(int argc, char **argv);
int command_put(int argc, char **argv);
int command_delete(int argc, char **argv);
int command_head(int argc, char **argv);
int command_exchange(int argc, char **argv);
int command_echo(int argc, char **argv);
int command_tls(int argc, char **argv);
int command_testee(int argc, char **argv);
int command_doctor(int argc, char **argv);
int command_quickstart(int argc, char **argv);

#endif /* HPX_TOOL_COMMANDS_H */
