// The loops that are compared. Those of LibfabricEndpoint are in AllocTools.Benchmarks/Endpoints, under the same names.
#ifndef ENDPOINT_LOOPS_H
#define ENDPOINT_LOOPS_H

#include "opened_endpoint.h"

#include <stdatomic.h>
#include <stdbool.h>

struct loop {
    struct fabric *fabric;
    size_t size;      // bytes of an operation
    unsigned window;  // operations outstanding at most
};

// Writes or reads so many times, with a window of operations outstanding.
void window_loop(const struct loop *loop, bool writes, unsigned operations);

// So many times: posts as many writes as the window is wide, all but the last with FI_MORE, and waits for the end of all.
void batch_loop(const struct loop *loop, unsigned operations);

// Sends and awaits the answer, so many times. What each took, ns, goes to times, unless that is NULL.
void ping_pong_loop(const struct loop *loop, unsigned operations, int64_t *times);

// Makes progress, and answers each message, until told to stop. The first time it posts the receive.
void target_loop(const struct loop *loop, bool answers, const atomic_bool *stop);

#endif
