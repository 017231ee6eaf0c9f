// The loops of LibfabricEndpoint's comparison, on libfabric itself. One process is the initiator, another the target;
// AllocTools.Benchmarks starts both, tells each the other's line, and has them run by turns with its own.
//
// Usage: endpoint PROVIDER initiator|target write|read|batch|ping-pong|ping-pong-async SIZE WINDOW
// Standard input, after the other side's line: "run N" at the initiator, which answers with nanoseconds, 0 (bytes
// allocated) and the 99th percentile of an operation, or 0; "go" and "stop" at the target, which answers "going" and
// "stopped". At its end the process ends.
#include "loops.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_ROOM = 2048, LONGEST_RUN = 120 };  // seconds, after which a run whose other side is gone is ended

static atomic_bool stop;

static bool is_ping_pong(const char *mode)
{
    return strncmp(mode, "ping-pong", strlen("ping-pong")) == 0;
}

static void *await_stop(void *unused)
{
    char line[LINE_ROOM];
    (void)unused;
    (void)!fgets(line, sizeof line, stdin);
    atomic_store(&stop, true);
    return NULL;
}

static void say(const char *text)
{
    puts(text);
    fflush(stdout);
}

static void run_target(const struct loop *loop, bool answers)
{
    pthread_t reader;
    atomic_store(&stop, false);
    if (pthread_create(&reader, NULL, await_stop, NULL) != 0)
        fail("pthread_create", FI_ENOMEM);
    say("going");
    target_loop(loop, answers, &stop);
    pthread_join(reader, NULL);
    say("stopped");
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void run_initiator(const struct loop *loop, const char *mode, unsigned operations)
{
    // By tasks each operation's time is kept, there and here.
    int64_t *times = strcmp(mode, "ping-pong-async") == 0 ? calloc(operations, sizeof *times) : NULL;
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    if (is_ping_pong(mode))
        ping_pong_loop(loop, operations, times);
    else if (strcmp(mode, "batch") == 0)
        batch_loop(loop, operations);
    else
        window_loop(loop, strcmp(mode, "write") == 0, operations);
    clock_gettime(CLOCK_MONOTONIC, &end);
    if (times != NULL)
        qsort(times, operations, sizeof *times, compare);
    int64_t tail = times == NULL ? 0 : times[(size_t)(0.99 * operations)];
    free(times);
    printf("%lld 0 %lld\n", (end.tv_sec - start.tv_sec) * 1000000000LL + (end.tv_nsec - start.tv_nsec), (long long)tail);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    char line[LINE_ROOM];
    if (argc != 6) {
        fprintf(stderr, "Usage: endpoint PROVIDER initiator|target write|read|batch|ping-pong|ping-pong-async SIZE WINDOW\n");
        return 2;
    }
    static struct fabric fabric;
    struct loop loop = {.fabric = &fabric, .size = strtoul(argv[4], NULL, 10), .window = (unsigned)strtoul(argv[5], NULL, 10)};
    bool is_target = strcmp(argv[2], "target") == 0;
    if (loop.window == 0 || loop.window > MAX_OUTSTANDING)
        fail("the window", FI_EINVAL);

    // At least two slots: a ping-pong sends from one and receives into the other.
    fabric_open(&fabric, argv[1], loop.size * (loop.window < 2 ? 2 : loop.window));
    fabric_print(&fabric);
    if (fgets(line, sizeof line, stdin) == NULL) {
        // Closed here, too: shm's file would stay behind.
        fabric_close(&fabric);
        return 1;
    }
    fabric_connect(&fabric, line);
    while (fgets(line, sizeof line, stdin) != NULL) {
        alarm(LONGEST_RUN);
        if (is_target)
            run_target(&loop, is_ping_pong(argv[3]));
        else
            run_initiator(&loop, argv[3], (unsigned)strtoul(line + strlen("run "), NULL, 10));
        alarm(0);
    }
    fabric_close(&fabric);
    return 0;
}
