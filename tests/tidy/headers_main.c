/* SPDX-License-Identifier: Apache-2.0 */
/* headers_main.c - the test is that the program's other files, one per public header, compile. */
int main(void)
{
    return 0;
}
