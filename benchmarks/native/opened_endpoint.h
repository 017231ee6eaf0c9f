// One endpoint of libfabric with one registration, opened as LibfabricProvider and LibfabricEndpoint open theirs.
#ifndef OPENED_ENDPOINT_H
#define OPENED_ENDPOINT_H

#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>
#include <stddef.h>
#include <stdint.h>

// LibfabricEndpointOptions.MaxOutstanding, its default: a native context each, and the completion queue's size is one more.
enum { MAX_OUTSTANDING = 1024 };

struct fabric {
    struct fi_info *info;
    struct fid_fabric *fabric;
    struct fid_domain *domain;
    struct fid_av *av;
    struct fid_cq *cq;
    struct fid_ep *ep;
    struct fid_mr *mr;

    char *memory;
    size_t memory_size;
    void *descriptor;
    struct fi_context2 contexts[MAX_OUTSTANDING];

    fi_addr_t peer;
    uint64_t peer_address;
    uint64_t peer_key;
};

// Opens all, and registers so many bytes for local and remote use.
void fabric_open(struct fabric *f, const char *provider, size_t memory_size);

// Prints what the other side needs, in one line: endpoint address, memory address, key, all hexadecimal.
void fabric_print(const struct fabric *f);

// Takes the other side's line.
void fabric_connect(struct fabric *f, const char *line);

void fabric_close(struct fabric *f);

// Ends the process with a message.
_Noreturn void fail(const char *what, int status);

#endif
