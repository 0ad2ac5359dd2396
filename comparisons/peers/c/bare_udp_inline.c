/* The server of bare_udp.c without the C library's wrappers around its system calls. */

#define _GNU_SOURCE
#include "syscalls.h"

#include "bare_udp.c"
