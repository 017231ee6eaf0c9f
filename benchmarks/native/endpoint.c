// The loops of LibfabricEndpoint's comparison, on libfabric itself. One process is the initiator, another the target;
// AllocTools.Benchmarks starts both, tells each the other's line, and has them run by turns with its own.
//
// Usage: endpoint PROVIDER initiator|target write|read|ping-pong SIZE WINDOW
// Standard input, after the other side's line: "run N" at the initiator, which answers with nanoseconds and 0 (bytes
// allocated); "go" and "stop" at the target, which answers "going" and "stopped". At its end the process ends.
#include "loops.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_ROOM = 2048, LONGEST_RUN = 120 };  // seconds, after which a run whose other side is gone is ended

static atomic_bool stop;

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

static void run_initiator(const struct loop *loop, const char *mode, unsigned operations)
{
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    if (strcmp(mode, "ping-pong") == 0)
        ping_pong_loop(loop, operations);
    else
        window_loop(loop, strcmp(mode, "write") == 0, operations);
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%lld 0\n", (end.tv_sec - start.tv_sec) * 1000000000LL + (end.tv_nsec - start.tv_nsec));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    char line[LINE_ROOM];
    if (argc != 6) {
        fprintf(stderr, "Usage: endpoint PROVIDER initiator|target write|read|ping-pong SIZE WINDOW\n");
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
            run_target(&loop, strcmp(argv[3], "ping-pong") == 0);
        else
            run_initiator(&loop, argv[3], (unsigned)strtoul(line + strlen("run "), NULL, 10));
        alarm(0);
    }
    fabric_close(&fabric);
    return 0;
}
