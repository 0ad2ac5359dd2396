/* The chat room's messages: 64 bytes each, which may arrive in pieces. */

#ifndef MESSAGE_H
#define MESSAGE_H

#include <string.h>

#define MESSAGE 64

/* The beginning of a message whose end has not come. */
struct partial {
    size_t length;
    char bytes[MESSAGE];
};

/* Puts what was kept in front of the got bytes, where there must be room for it, keeps what is behind
   the last whole message, and returns the length of the messages that *bytes then points to. */
static size_t whole_messages(struct partial *partial, char **bytes, size_t got)
{
    *bytes -= partial->length;
    memcpy(*bytes, partial->bytes, partial->length);
    size_t all = partial->length + got, whole = all - all % MESSAGE;
    partial->length = all - whole;
    memcpy(partial->bytes, *bytes + whole, partial->length);
    return whole;
}

#endif
