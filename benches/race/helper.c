/* What the race needs small and fast processes for.
 *
 * orphans N    N processes, dead at once, whose parents end before them; says "s" at first and "d" when the last is made
 * stamp FILE   a worker that appends the time at which it runs (CLOCK_MONOTONIC, ns) and its pid
 * listen FD    a worker that waits for connections with epoll, and takes none
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
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
