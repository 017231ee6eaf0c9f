// The loops of UcxProvider's comparison, on UCX itself: as endpoint.c, with the same command line and conversation. The provider
// is "ucx;TRANSPORTS", such as ucx;tcp, or ucx;shm, which works without error handling.
//
// A write has arrived when a flush that was started after it has ended. As UcxProvider does it, one that is alone is flushed at once,
// and those that are posted while a flush is under way are flushed together; a batch has one flush.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <ucp/api/ucp.h>
#include <unistd.h>

enum { LINE_ROOM = 8192, LONGEST_RUN = 120, MAX_OUTSTANDING = 1024, FLUSHES = 64, HUGE_PAGE = 2 << 20 };
enum { SEND_SLOT, RECEIVE_SLOT };

static const uint64_t message_tag = 1ull << 62, kind_mask = 3ull << 62;

static ucp_context_h context;
static ucp_worker_h worker;
static ucp_ep_h peer;
static ucp_mem_h memory_handle;
static ucp_rkey_h peer_key;
static uint64_t peer_address;
static char *memory;
static size_t memory_size, size, request_size;
static unsigned window;
static atomic_bool stop;

// What has ended since it was last looked at.
static unsigned ended[MAX_OUTSTANDING], ended_count;

struct flush {
    void *request;
    unsigned slots[MAX_OUTSTANDING], count;
};

static void *requests[MAX_OUTSTANDING];
static struct flush flushes[FLUSHES];
static unsigned free_flushes[FLUSHES], free_flush_count, flushes_under_way;
static unsigned unflushed[MAX_OUTSTANDING], unflushed_count;

static _Noreturn void fail(const char *what, ucs_status_t status)
{
    fprintf(stderr, "%s: %s\n", what, ucs_status_string(status));
    exit(1);
}

static void check(ucs_status_t status, const char *what)
{
    if (status != UCS_OK)
        fail(what, status);
}

static void *new_request(void)
{
    size_t before = (request_size + 63) / 64 * 64;
    char *room = aligned_alloc(64, before + 64);
    return room + before;
}

static void on_ended(void *request, ucs_status_t status, void *slot)
{
    (void)request;
    check(status, "an operation");
    ended[ended_count++] = (unsigned)(uintptr_t)slot;
}

static void on_received(void *request, ucs_status_t status, const ucp_tag_recv_info_t *info, void *slot)
{
    (void)info;
    on_ended(request, status, slot);
}

static void on_put(void *request, ucs_status_t status, void *unused)
{
    (void)request;
    (void)unused;
    check(status, "ucp_put_nbx");
}

static void on_flushed(void *request, ucs_status_t status, void *number)
{
    struct flush *flush = &flushes[(uintptr_t)number];
    (void)request;
    check(status, "ucp_ep_flush_nbx");
    flushes_under_way--;
    for (unsigned i = 0; i < flush->count; i++)
        ended[ended_count++] = flush->slots[i];
    free_flushes[free_flush_count++] = (unsigned)(uintptr_t)number;
}

static ucp_request_param_t parameters(void *request, void *data)
{
    return (ucp_request_param_t){
        .op_attr_mask = UCP_OP_ATTR_FIELD_REQUEST | UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA
            | UCP_OP_ATTR_FIELD_MEMORY_TYPE | UCP_OP_ATTR_FIELD_MEMH,
        .request = request,
        .cb.send = on_ended,
        .user_data = data,
        .memory_type = UCS_MEMORY_TYPE_HOST,
        .memh = memory_handle,
    };
}

// What has ended at once is told as what ends later.
static void check_posted(ucs_status_ptr_t result, unsigned slot, const char *what)
{
    if (UCS_PTR_IS_ERR(result))
        fail(what, UCS_PTR_STATUS(result));
    if (result == NULL)
        ended[ended_count++] = slot;
}

static void flush_all(void)
{
    unsigned number = free_flushes[--free_flush_count];
    struct flush *flush = &flushes[number];
    ucp_request_param_t p = {
        .op_attr_mask = UCP_OP_ATTR_FIELD_REQUEST | UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA,
        .request = flush->request,
        .cb.send = on_flushed,
        .user_data = (void *)(uintptr_t)number,
    };
    memcpy(flush->slots, unflushed, unflushed_count * sizeof *unflushed);
    flush->count = unflushed_count;
    unflushed_count = 0;
    flushes_under_way++;
    ucs_status_ptr_t result = ucp_ep_flush_nbx(peer, &p);
    if (UCS_PTR_IS_ERR(result))
        fail("ucp_ep_flush_nbx", UCS_PTR_STATUS(result));
    if (result == NULL)
        on_flushed(NULL, UCS_OK, (void *)(uintptr_t)number);
}

static void post_write(unsigned slot, bool more)
{
    ucp_request_param_t p = parameters(requests[slot], NULL);
    p.cb.send = on_put;
    ucs_status_ptr_t result = ucp_put_nbx(peer, memory + slot * size, size, peer_address + slot * size, peer_key, &p);
    if (UCS_PTR_IS_ERR(result))
        fail("ucp_put_nbx", UCS_PTR_STATUS(result));
    unflushed[unflushed_count++] = slot;
    if (!more && flushes_under_way == 0)
        flush_all();
}

static void post_read(unsigned slot)
{
    ucp_request_param_t p = parameters(requests[slot], (void *)(uintptr_t)slot);
    check_posted(ucp_get_nbx(peer, memory + slot * size, size, peer_address + slot * size, peer_key, &p), slot, "ucp_get_nbx");
}

static void post_send(void)
{
    ucp_request_param_t p = parameters(requests[SEND_SLOT], (void *)(uintptr_t)SEND_SLOT);
    check_posted(ucp_tag_send_nbx(peer, memory + SEND_SLOT * size, size, message_tag, &p), SEND_SLOT, "ucp_tag_send_nbx");
}

static void post_receive(void)
{
    ucp_request_param_t p = parameters(requests[RECEIVE_SLOT], (void *)(uintptr_t)RECEIVE_SLOT);
    p.op_attr_mask |= UCP_OP_ATTR_FLAG_NO_IMM_CMPL;
    p.cb.recv = on_received;
    ucs_status_ptr_t result = ucp_tag_recv_nbx(worker, memory + RECEIVE_SLOT * size, size, message_tag, kind_mask, &p);
    if (UCS_PTR_IS_ERR(result))
        fail("ucp_tag_recv_nbx", UCS_PTR_STATUS(result));
}

static void poll_worker(void)
{
    while (ucp_worker_progress(worker) != 0)
        ;
    if (unflushed_count > 0 && free_flush_count > 0)
        flush_all();
}

static void window_loop(bool writes, unsigned operations)
{
    unsigned free_slots[MAX_OUTSTANDING], free_count = window, posted = 0, done = 0;
    for (unsigned i = 0; i < window; i++)
        free_slots[i] = i;
    while (done < operations) {
        while (posted < operations && free_count > 0) {
            unsigned slot = free_slots[--free_count];
            if (writes)
                post_write(slot, false);
            else
                post_read(slot);
            posted++;
        }
        poll_worker();
        for (unsigned i = 0; i < ended_count; i++)
            free_slots[free_count++] = ended[i];
        done += ended_count;
        ended_count = 0;
    }
}

static void batch_loop(unsigned operations)
{
    for (unsigned i = 0; i < operations; i++) {
        for (unsigned slot = 0; slot < window; slot++)
            post_write(slot, slot + 1 < window);
        while (ended_count < window)
            poll_worker();
        ended_count = 0;
    }
}

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void ping_pong_loop(unsigned operations, int64_t *times)
{
    int64_t last = now();
    for (unsigned i = 0; i < operations; i++) {
        post_receive();
        post_send();
        while (ended_count < 2)
            poll_worker();
        ended_count = 0;
        if (times) {
            int64_t end = now();
            times[i] = end - last;
            last = end;
        }
    }
}

static void target_loop(bool answers)
{
    // What is outstanding stays so from one call to the next.
    static bool receives, sends, owes;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        if (answers && !receives) {
            receives = true;
            post_receive();
        }
        if (owes && !sends) {
            sends = true;
            owes = false;
            post_send();
        }
        poll_worker();
        for (unsigned i = 0; i < ended_count; i++) {
            if (ended[i] == RECEIVE_SLOT) {
                receives = false;
                owes = true;
            } else {
                sends = false;
            }
        }
        ended_count = 0;
    }
}

static void print_hex(const void *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        printf("%02X", ((const unsigned char *)bytes)[i]);
}

static size_t read_hex(const char *text, unsigned char *bytes)
{
    size_t length = strlen(text) / 2;
    for (size_t i = 0; i < length; i++)
        sscanf(text + 2 * i, "%2hhx", &bytes[i]);
    return length;
}

static void open_all(const char *transports, bool has_errors)
{
    ucp_config_t *config;
    check(ucp_config_read(NULL, NULL, &config), "ucp_config_read");
    check(ucp_config_modify(config, "TLS", transports), "UCX_TLS");
    if (has_errors)
        check(ucp_config_modify(config, "NET_DEVICES", "lo"), "UCX_NET_DEVICES");
    ucp_params_t params = {
        .field_mask = UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_MT_WORKERS_SHARED,
        .features = UCP_FEATURE_TAG | UCP_FEATURE_RMA,
        .mt_workers_shared = 1,
    };
    check(ucp_init(&params, config, &context), "ucp_init");
    ucp_config_release(config);
    ucp_context_attr_t attributes = {.field_mask = UCP_ATTR_FIELD_REQUEST_SIZE};
    check(ucp_context_query(context, &attributes), "ucp_context_query");
    request_size = attributes.request_size;
    ucp_worker_params_t worker_params = {.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE, .thread_mode = UCS_THREAD_MODE_MULTI};
    check(ucp_worker_create(context, &worker_params, &worker), "ucp_worker_create");
    memory_size = (memory_size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    memory = aligned_alloc(HUGE_PAGE, memory_size);
    madvise(memory, memory_size, MADV_HUGEPAGE);
    memset(memory, 1, memory_size);
    ucp_mem_map_params_t map = {
        .field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS | UCP_MEM_MAP_PARAM_FIELD_LENGTH, .address = memory, .length = memory_size};
    check(ucp_mem_map(context, &map, &memory_handle), "ucp_mem_map");
    for (unsigned i = 0; i < MAX_OUTSTANDING; i++)
        requests[i] = new_request();
    for (unsigned i = 0; i < FLUSHES; i++) {
        flushes[i].request = new_request();
        free_flushes[free_flush_count++] = i;
    }
}

static void print_own(void)
{
    ucp_address_t *address;
    void *key;
    size_t address_length, key_length;
    check(ucp_worker_get_address(worker, &address, &address_length), "ucp_worker_get_address");
    check(ucp_rkey_pack(context, memory_handle, &key, &key_length), "ucp_rkey_pack");
    print_hex(address, address_length);
    printf(" %llX ", (unsigned long long)(uintptr_t)memory);
    print_hex(key, key_length);
    puts("");
    fflush(stdout);
    ucp_worker_release_address(worker, address);
    ucp_rkey_buffer_release(key);
}

static void on_failed(void *unused, ucp_ep_h ep, ucs_status_t status)
{
    (void)unused;
    (void)ep;
    (void)status;
}

static void connect_to(const char *line, bool has_errors)
{
    static char address_text[LINE_ROOM], key_text[LINE_ROOM];
    static unsigned char address[LINE_ROOM], key[LINE_ROOM];
    unsigned long long remote;
    if (sscanf(line, "%8191s %llX %8191s", address_text, &remote, key_text) != 3)
        fail("the other side's line", UCS_ERR_INVALID_PARAM);
    read_hex(address_text, address);
    read_hex(key_text, key);
    peer_address = remote;
    ucp_ep_params_t params = {
        .field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE | UCP_EP_PARAM_FIELD_ERR_HANDLER,
        .address = (const ucp_address_t *)address,
        .err_mode = has_errors ? UCP_ERR_HANDLING_MODE_PEER : UCP_ERR_HANDLING_MODE_NONE,
        .err_handler = {.cb = on_failed},
    };
    check(ucp_ep_create(worker, &params, &peer), "ucp_ep_create");
    check(ucp_ep_rkey_unpack(peer, key, &peer_key), "ucp_ep_rkey_unpack");
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

static void run_target(bool answers)
{
    pthread_t reader;
    atomic_store(&stop, false);
    if (pthread_create(&reader, NULL, await_stop, NULL) != 0)
        fail("pthread_create", UCS_ERR_NO_MEMORY);
    say("going");
    target_loop(answers);
    pthread_join(reader, NULL);
    say("stopped");
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void run_initiator(const char *mode, unsigned operations)
{
    int64_t *times = strcmp(mode, "ping-pong-async") == 0 ? calloc(operations, sizeof *times) : NULL;
    int64_t start = now();
    if (strncmp(mode, "ping-pong", strlen("ping-pong")) == 0)
        ping_pong_loop(operations, times);
    else if (strcmp(mode, "batch") == 0)
        batch_loop(operations);
    else
        window_loop(strcmp(mode, "write") == 0, operations);
    int64_t time = now() - start;
    if (times != NULL)
        qsort(times, operations, sizeof *times, compare);
    printf("%lld 0 %lld\n", (long long)time, times == NULL ? 0LL : (long long)times[(size_t)(0.99 * operations)]);
    free(times);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    char line[LINE_ROOM];
    if (argc != 6 || strncmp(argv[1], "ucx;", 4) != 0) {
        fprintf(stderr, "Usage: endpoint-ucx ucx;TRANSPORTS initiator|target write|read|batch|ping-pong|ping-pong-async SIZE WINDOW\n");
        return 2;
    }
    bool is_target = strcmp(argv[2], "target") == 0, has_errors = strstr(argv[1], "shm") == NULL;
    size = strtoul(argv[4], NULL, 10);
    window = (unsigned)strtoul(argv[5], NULL, 10);
    if (window == 0 || window > MAX_OUTSTANDING)
        fail("the window", UCS_ERR_INVALID_PARAM);
    memory_size = size * (window < 2 ? 2 : window);
    open_all(argv[1] + strlen("ucx;"), has_errors);
    print_own();
    if (fgets(line, sizeof line, stdin) == NULL)
        return 1;
    connect_to(line, has_errors);
    while (fgets(line, sizeof line, stdin) != NULL) {
        alarm(LONGEST_RUN);
        if (is_target)
            run_target(strncmp(argv[3], "ping-pong", strlen("ping-pong")) == 0);
        else
            run_initiator(argv[3], (unsigned)strtoul(line + strlen("run "), NULL, 10));
        alarm(0);
    }
    // The process ends, and with it all that it has.
    _exit(0);
}
