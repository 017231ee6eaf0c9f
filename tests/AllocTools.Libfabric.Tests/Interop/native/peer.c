// A peer in C, as docs/wire-forms.md lets one write it: nothing of AllocTools but the two forms.
// peer PROVIDER NODE: a line in, a line out; bytes are hexadecimal.
#define _GNU_SOURCE
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>

#define MEMORY 4096
#define CHECK(call) check(call, #call)

static struct fid_cq *cq;
static struct fid_ep *ep;
static uint8_t memory[MEMORY], bytes[4096];

static void check(long status, const char *what) {
    if (status < 0) {
        fprintf(stderr, "%s: %s\n", what, fi_strerror((int)-status));
        exit(1);
    }
}

static uint32_t crc32c(const uint8_t *from, size_t length) {
    uint32_t crc = ~0u;
    for (size_t i = 0; i < length; i++) {
        crc ^= from[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? (crc >> 1) ^ 0x82F63B78u : crc >> 1;
    }
    return ~crc;
}

// Numbers are little-endian, whatever the machine is.
static size_t put(uint8_t *to, uint64_t value, size_t length) {
    for (size_t i = 0; i < length; i++)
        to[i] = (uint8_t)(value >> (8 * i));
    return length;
}

static uint64_t get(const uint8_t *from, size_t length) {
    uint64_t value = 0;
    for (size_t i = 0; i < length; i++)
        value |= (uint64_t)from[i] << (8 * i);
    return value;
}

static void print(const uint8_t *from, size_t length) {
    for (size_t i = 0; i < length; i++)
        printf("%02X", from[i]);
    printf("\n");
}

static size_t read_hex(const char *text) {
    size_t length = 0;
    unsigned value;
    while (sscanf(text + 2 * length, "%2x", &value) == 1)
        bytes[length++] = (uint8_t)value;
    return length;
}

// Reads the queue until the operation has ended: data moves only while somebody does.
static bool progress(void *context) {
    struct fi_cq_msg_entry entry;
    ssize_t count = fi_cq_read(cq, &entry, 1);
    if (count == -FI_EAVAIL) {
        struct fi_cq_err_entry error = { 0 };
        fi_cq_readerr(cq, &error, 0);
        check(-error.err, "an operation");
    }
    return count == 1 && entry.op_context == context;
}

static void wait_for(void *context) {
    while (!progress(context))
        ;
}

// An address with a trailer: what it is of, and nothing else.
static void print_described(const uint8_t *address, size_t length, const char *provider, uint32_t protocol, uint32_t version) {
    size_t at = length;
    memcpy(bytes, address, length);
    at += put(bytes + at, 0x414D52A7, 4);
    at += put(bytes + at, 0x8001, 2);
    at += put(bytes + at, strlen(provider), 2);
    memcpy(bytes + at, provider, strlen(provider));
    at += strlen(provider);
    at += put(bytes + at, 0x8002, 2);
    at += put(bytes + at, 8, 2);
    at += put(bytes + at, protocol, 4);
    at += put(bytes + at, version, 4);
    size_t trailer = at - length + 12;
    at += put(bytes + at, crc32c(bytes + length, at - length), 4);
    at += put(bytes + at, trailer, 2);
    at += put(bytes + at, 1, 2);
    at += put(bytes + at, 0xA7414D52, 4);
    print(bytes, at);
}

static void print_memory(uint64_t address, uint64_t key) {
    size_t at = 0;
    at += put(bytes + at, 0xA7, 1);
    at += put(bytes + at, 2, 1);
    at += put(bytes + at, 2 | 4, 1); // RemoteRead, RemoteWrite
    at += put(bytes + at, 0, 1);
    at += put(bytes + at, 8, 2);
    at += put(bytes + at, 0, 2);
    at += put(bytes + at, address, 8);
    at += put(bytes + at, MEMORY, 8);
    at += put(bytes + at, 0, 8);
    at += put(bytes + at, key, 8);
    at += put(bytes + at, crc32c(bytes, at), 4);
    print(bytes, at);
}

int main(int count, char **arguments) {
    struct fi_info *hints = fi_allocinfo(), *info;
    struct fid_fabric *fabric;
    struct fid_domain *domain;
    struct fid_av *av;
    struct fid_mr *mr;
    if (count != 3)
        return 2;
    hints->caps = FI_MSG | FI_RMA;
    hints->mode = FI_CONTEXT;
    hints->ep_attr->type = FI_EP_RDM;
    hints->domain_attr->mr_mode = FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY;
    hints->fabric_attr->prov_name = strdup(arguments[1]);
    CHECK(fi_getinfo(FI_VERSION(1, 14), arguments[2], NULL, FI_SOURCE, hints, &info));
    struct fi_av_attr av_attr = { .type = info->domain_attr->av_type ? info->domain_attr->av_type : FI_AV_MAP };
    struct fi_cq_attr cq_attr = { .size = 64, .format = FI_CQ_FORMAT_MSG };
    CHECK(fi_fabric(info->fabric_attr, &fabric, NULL));
    CHECK(fi_domain(fabric, info, &domain, NULL));
    CHECK(fi_av_open(domain, &av_attr, &av, NULL));
    CHECK(fi_cq_open(domain, &cq_attr, &cq, NULL));
    CHECK(fi_endpoint(domain, info, &ep, NULL));
    CHECK(fi_ep_bind(ep, &av->fid, 0));
    CHECK(fi_ep_bind(ep, &cq->fid, FI_SEND | FI_RECV));
    CHECK(fi_enable(ep));
    CHECK(fi_mr_reg(domain, memory, MEMORY, FI_SEND | FI_RECV | FI_READ | FI_WRITE | FI_REMOTE_READ | FI_REMOTE_WRITE, 0, 4711, 0, &mr, NULL));

    uint8_t own[512];
    size_t own_length = sizeof own;
    fi_addr_t peer = FI_ADDR_UNSPEC;
    struct fi_context context;
    char line[8192];
    CHECK(fi_getname(&ep->fid, own, &own_length));
    setvbuf(stdin, NULL, _IONBF, 0);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (;;) {
        struct pollfd input = { .fd = 0, .events = POLLIN };
        if (poll(&input, 1, 0) == 0) {
            progress(NULL);
            continue;
        }
        if (!fgets(line, sizeof line, stdin))
            return 0;
        line[strcspn(line, "\n")] = 0;
        char *value = strchr(line, ' ') ? strchr(line, ' ') + 1 : line;
        if (strcmp(line, "address") == 0) {
            print(own, own_length);
        } else if (strcmp(line, "described") == 0) {
            print_described(own, own_length, info->fabric_attr->prov_name, info->ep_attr->protocol, info->ep_attr->protocol_version);
        } else if (strcmp(line, "foreign") == 0) {
            print_described(own, own_length, "tcp", 4711, 0);
        } else if (strcmp(line, "memory") == 0) {
            print_memory(info->domain_attr->mr_mode & FI_MR_VIRT_ADDR ? (uintptr_t)memory : 0, fi_mr_key(mr));
        } else if (strncmp(line, "peer ", 5) == 0) {
            // The whole address, trailer and all.
            read_hex(value);
            printf("%d\n", fi_av_insert(av, bytes, 1, &peer, 0, NULL));
        } else if (strncmp(line, "send ", 5) == 0) {
            size_t length = read_hex(value);
            memcpy(memory, bytes, length);
            while (fi_send(ep, memory, length, fi_mr_desc(mr), peer, &context) == -FI_EAGAIN)
                progress(NULL);
            wait_for(&context);
            printf("ok\n");
        } else if (strncmp(line, "write ", 6) == 0) {
            // Into memory that the other side exposes, in its form.
            read_hex(value);
            uint64_t address = get(bytes + 8, 8), length = get(bytes + 16, 8), key = get(bytes + 32, 8);
            memset(memory, 0xC5, length);
            while (fi_write(ep, memory, length, fi_mr_desc(mr), peer, address, key, &context) == -FI_EAGAIN)
                progress(NULL);
            wait_for(&context);
            printf("ok\n");
        } else if (strcmp(line, "peek") == 0) {
            print(memory, 64);
        } else {
            printf("unknown\n");
        }
    }
}
