/* The server of bare_echo.c, which never sleeps: it looks for events again and again. */

#define TIMEOUT 0

#include "bare_echo.c"
