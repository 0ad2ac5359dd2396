/* The system calls of an echo, made where they stand and not through the C library. */

#ifndef SYSCALLS_H
#define SYSCALLS_H

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#ifdef __x86_64__
static inline long call(long number, long a, long b, long c, long d, long e, long f)
{
    long answer;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(answer)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    if (__builtin_expect(answer < 0, 0)) {
        errno = (int)-answer;
        return -1;
    }
    return answer;
}

#define recv(fd, buffer, size, flags) call(SYS_recvfrom, fd, (long)(buffer), (long)(size), flags, 0, 0)
#define send(fd, bytes, size, flags) call(SYS_sendto, fd, (long)(bytes), (long)(size), flags, 0, 0)
#define recvfrom(fd, buffer, size, flags, from, length) \
    call(SYS_recvfrom, fd, (long)(buffer), (long)(size), flags, (long)(from), (long)(length))
#define sendto(fd, bytes, size, flags, to, length) \
    call(SYS_sendto, fd, (long)(bytes), (long)(size), flags, (long)(to), length)
#define epoll_wait(epoll, events, most, timeout) \
    (int)call(SYS_epoll_pwait, epoll, (long)(events), most, timeout, 0, 8)
#endif

#endif
