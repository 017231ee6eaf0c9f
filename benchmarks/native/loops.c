#include "loops.h"

#include <time.h>

enum { BATCH = 64 };  // completions that are read at a time, as in CompletionReader

// LibfabricPoster: a write that completes has been delivered, said with each call. That a message has, its answer says.
static const uint64_t level = FI_COMPLETION | FI_DELIVERY_COMPLETE;

static ssize_t post_write(const struct loop *l, unsigned slot, uint64_t more)
{
    struct fabric *f = l->fabric;
    struct iovec from = {.iov_base = f->memory + slot * l->size, .iov_len = l->size};
    struct fi_rma_iov to = {.addr = f->peer_address + slot * l->size, .len = l->size, .key = f->peer_key};
    struct fi_msg_rma message = {
        .msg_iov = &from,
        .desc = &f->descriptor,
        .iov_count = 1,
        .addr = f->peer,
        .rma_iov = &to,
        .rma_iov_count = 1,
        .context = &f->contexts[slot],
    };
    return fi_writemsg(f->ep, &message, level | more);
}

static ssize_t post_read(const struct loop *l, unsigned slot)
{
    struct fabric *f = l->fabric;
    return fi_read(
        f->ep, f->memory + slot * l->size, l->size, f->descriptor, f->peer, f->peer_address + slot * l->size, f->peer_key, &f->contexts[slot]);
}

static ssize_t post_send(const struct loop *l, unsigned slot)
{
    struct fabric *f = l->fabric;
    struct iovec from = {.iov_base = f->memory + slot * l->size, .iov_len = l->size};
    struct fi_msg message = {
        .msg_iov = &from, .desc = &f->descriptor, .iov_count = 1, .addr = f->peer, .context = &f->contexts[slot]};
    return fi_sendmsg(f->ep, &message, FI_COMPLETION);
}

static ssize_t post_receive(const struct loop *l, unsigned slot)
{
    struct fabric *f = l->fabric;
    return fi_recv(f->ep, f->memory + slot * l->size, l->size, f->descriptor, FI_ADDR_UNSPEC, &f->contexts[slot]);
}

// True where the transport took it.
static bool taken(ssize_t status, const char *what)
{
    if (status != 0 && status != -FI_EAGAIN)
        fail(what, (int)status);
    return status == 0;
}

// The slots whose completions were read.
static unsigned poll_queue(const struct loop *l, unsigned slots[BATCH])
{
    struct fi_cq_msg_entry entries[BATCH];
    ssize_t count = fi_cq_read(l->fabric->cq, entries, BATCH);
    if (count == -FI_EAGAIN)
        return 0;
    if (count == -FI_EAVAIL) {
        struct fi_cq_err_entry error = {0};
        fi_cq_readerr(l->fabric->cq, &error, 0);
        fail("an operation", error.err);
    }
    if (count < 0)
        fail("fi_cq_read", (int)count);
    for (ssize_t i = 0; i < count; i++)
        slots[i] = (unsigned)((struct fi_context2 *)entries[i].op_context - l->fabric->contexts);
    return (unsigned)count;
}

void window_loop(const struct loop *l, bool writes, unsigned operations)
{
    unsigned free_slots[MAX_OUTSTANDING], free_count = l->window;
    for (unsigned i = 0; i < l->window; i++)
        free_slots[i] = i;
    unsigned posted = 0, done = 0;
    while (done < operations) {
        while (posted < operations && free_count > 0) {
            unsigned slot = free_slots[free_count - 1];
            if (!taken(writes ? post_write(l, slot, 0) : post_read(l, slot), writes ? "fi_writemsg" : "fi_read"))
                break;
            free_count--;
            posted++;
        }
        unsigned slots[BATCH], count = poll_queue(l, slots);
        for (unsigned i = 0; i < count; i++)
            free_slots[free_count++] = slots[i];
        done += count;
    }
}

void batch_loop(const struct loop *l, unsigned operations)
{
    unsigned slots[BATCH];
    for (unsigned i = 0; i < operations; i++) {
        unsigned posted = 0, done = 0;
        while (done < l->window) {
            while (posted < l->window && taken(post_write(l, posted, posted + 1 < l->window ? FI_MORE : 0), "fi_writemsg"))
                posted++;
            done += poll_queue(l, slots);
        }
    }
}

enum { SEND_SLOT, RECEIVE_SLOT };

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

void ping_pong_loop(const struct loop *l, unsigned operations, int64_t *times)
{
    unsigned slots[BATCH];
    int64_t last = times ? now() : 0;
    for (unsigned i = 0; i < operations; i++) {
        while (!taken(post_receive(l, RECEIVE_SLOT), "fi_recv"))
            poll_queue(l, slots);
        unsigned pending = 2;
        while (!taken(post_send(l, SEND_SLOT), "fi_sendmsg"))
            pending -= poll_queue(l, slots);
        while (pending > 0)
            pending -= poll_queue(l, slots);
        if (times) {
            int64_t end = now();
            times[i] = end - last;
            last = end;
        }
    }
}

void target_loop(const struct loop *l, bool answers, const atomic_bool *stop)
{
    // What is outstanding stays so from one call to the next.
    static bool receives, sends, owes;
    while (!atomic_load_explicit(stop, memory_order_relaxed)) {
        if (answers && !receives)
            receives = taken(post_receive(l, RECEIVE_SLOT), "fi_recv");
        if (owes && !sends && taken(post_send(l, SEND_SLOT), "fi_sendmsg")) {
            sends = true;
            owes = false;
        }
        unsigned slots[BATCH], count = poll_queue(l, slots);
        for (unsigned i = 0; i < count; i++) {
            if (slots[i] == RECEIVE_SLOT) {
                receives = false;
                owes = true;
            } else {
                sends = false;
            }
        }
    }
}
