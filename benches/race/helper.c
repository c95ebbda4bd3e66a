/* What the race needs small and fast processes for.
 *
 * steps PROGRAM [ARG...]    how many instructions the program itself executes, each a step of ptrace(2): valgrind knows no
 *              clone(2) that shares memory, and a virtual machine may count none
 * orphans N    N processes, dead at once, whose parents end before them; says "s" at first and "d" when the last is made
 * stamp FILE   a worker that appends the time at which it runs (CLOCK_MONOTONIC, ns) and its pid
 * listen FD    a worker that waits for connections with epoll, and takes none
 */
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static pid_t forked(void)
{
    pid_t pid;
    /* The pids may all be in use by dead ones that are not reaped yet. */
    while ((pid = fork()) < 0)
        usleep(500);
    return pid;
}

/* Where it is. A repeated instruction stops after each time, and is one. */
static long at(pid_t pid)
{
#ifdef __x86_64__
    return ptrace(PTRACE_PEEKUSER, pid, (void *)offsetof(struct user, regs.rip), NULL);
#else
    static long all_differ;
    return all_differ++;
#endif
}

static int steps(char **words)
{
    long count = 0, place, last = -1;
    int status, number = 0;
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        for (int fd = 0; fd < 3; fd++)
            dup2(null, fd);
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        execv(words[0], words);
        _exit(127);
    }
    while (waitpid(pid, &status, 0) == pid && WIFSTOPPED(status)) {
        /* What stops it is our step, or its own execve; any other signal is for it. */
        number = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
        place = at(pid);
        count += number == 0 && place != last;
        last = place;
        if (ptrace(PTRACE_SINGLESTEP, pid, NULL, (void *)(long)number) < 0)
            return 1;
    }
    printf("%ld\n", count);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static void orphans(long count)
{
    write(1, "s", 1);
    while (count > 0) {
        long batch = count < 100 ? count : 100;
        pid_t middle = forked();
        if (middle == 0) {
            while (batch-- > 0)
                if (forked() == 0)
                    _exit(0);
            _exit(0);
        }
        waitpid(middle, NULL, 0);
        count -= batch;
    }
    write(1, "d", 1);
}

static void stamp(const char *file)
{
    struct timespec now;
    char line[64];
    clock_gettime(CLOCK_MONOTONIC, &now);
    int fd = open(file, O_WRONLY | O_CREAT | O_APPEND, 0600);
    int length = snprintf(line, sizeof line, "%lld %d\n", now.tv_sec * 1000000000LL + now.tv_nsec, getpid());
    if (write(fd, line, length) == length)
        close(fd);
}

static void listens(int fd)
{
    struct epoll_event event = {.events = EPOLLRDHUP};
    int epoll = epoll_create1(0);
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    for (;;)
        epoll_wait(epoll, &event, 1, -1);
}

int main(int argc, char **argv)
{
    if (argc >= 3 && strcmp(argv[1], "steps") == 0)
        return steps(argv + 2);
    if (argc != 3)
        return 2;
    if (strcmp(argv[1], "orphans") == 0)
        orphans(atol(argv[2]));
    else if (strcmp(argv[1], "stamp") == 0)
        stamp(argv[2]);
    else if (strcmp(argv[1], "listen") == 0)
        listens(atoi(argv[2]));
    else
        return 2;
    for (;;)
        pause();
}
