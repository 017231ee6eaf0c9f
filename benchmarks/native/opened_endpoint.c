#include "opened_endpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ADDRESS_ROOM = 512, HUGE_PAGE = 2 << 20 };

// LibfabricDiscovery.KnownMrMode, less what this program has no use for: raw keys and registrations of an endpoint.
static const int mr_modes = FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY;

void fail(const char *what, int status)
{
    fprintf(stderr, "%s: %s\n", what, fi_strerror(abs(status)));
    exit(1);
}

static void check(int status, const char *what)
{
    if (status != 0)
        fail(what, status);
}

// LibfabricDiscovery: hints, node and flags.
static struct fi_info *find(const char *provider)
{
    struct fi_info *hints = fi_allocinfo(), *info = NULL;
    hints->caps = FI_MSG | FI_RMA | FI_SEND | FI_RECV | FI_READ | FI_WRITE | FI_REMOTE_READ | FI_REMOTE_WRITE;
    hints->mode = FI_CONTEXT | FI_CONTEXT2;
    hints->ep_attr->type = FI_EP_RDM;
    hints->tx_attr->op_flags = FI_DELIVERY_COMPLETE;
    hints->domain_attr->threading = FI_THREAD_SAFE;
    hints->domain_attr->mr_mode = mr_modes;
    hints->fabric_attr->prov_name = strdup(provider);

    char name[64] = "127.0.0.1";
    if (strcmp(provider, "shm") == 0)
        snprintf(name, sizeof name, "endpoint-in-c-%d", (int)getpid());
    check(fi_getinfo(FI_VERSION(1, 14), name, NULL, FI_SOURCE, hints, &info), "fi_getinfo");
    if (info->domain_attr->mr_mode & ~mr_modes)
        fail("fi_getinfo: a registration mode that is not supported here", FI_ENOSYS);
    fi_freeinfo(hints);
    return info;
}

// LibfabricEndpointResources, with Progress = Caller.
static void open_endpoint(struct fabric *f)
{
    struct fi_av_attr av = {.type = f->info->domain_attr->av_type == FI_AV_UNSPEC ? FI_AV_MAP : f->info->domain_attr->av_type};
    struct fi_cq_attr cq = {.size = MAX_OUTSTANDING + 1, .format = FI_CQ_FORMAT_MSG, .wait_obj = FI_WAIT_NONE};
    check(fi_av_open(f->domain, &av, &f->av, NULL), "fi_av_open");
    check(fi_cq_open(f->domain, &cq, &f->cq, NULL), "fi_cq_open");
    check(fi_endpoint(f->domain, f->info, &f->ep, NULL), "fi_endpoint");
    check(fi_ep_bind(f->ep, &f->av->fid, 0), "fi_ep_bind");
    check(fi_ep_bind(f->ep, &f->cq->fid, FI_SEND | FI_RECV), "fi_ep_bind");
    check(fi_enable(f->ep), "fi_enable");
}

// LibfabricContext.Register, on memory such as SystemPages gives: huge pages where they fit, all of it backed.
static void register_memory(struct fabric *f, size_t size)
{
    f->memory_size = (size + HUGE_PAGE - 1) & ~(size_t)(HUGE_PAGE - 1);
    f->memory = aligned_alloc(HUGE_PAGE, f->memory_size);
    if (f->memory == NULL)
        fail("aligned_alloc", FI_ENOMEM);
    madvise(f->memory, f->memory_size, MADV_HUGEPAGE);
    memset(f->memory, 1, f->memory_size);
    struct iovec range = {.iov_base = f->memory, .iov_len = f->memory_size};
    struct fi_mr_attr mr = {
        .mr_iov = &range,
        .iov_count = 1,
        .access = FI_SEND | FI_RECV | FI_READ | FI_WRITE | FI_REMOTE_READ | FI_REMOTE_WRITE,
        .requested_key = 1,
    };
    check(fi_mr_regattr(f->domain, &mr, 0, &f->mr), "fi_mr_regattr");
    f->descriptor = fi_mr_desc(f->mr);
}

void fabric_open(struct fabric *f, const char *provider, size_t memory_size)
{
    // As LibfabricEnvironment and LibfabricLibrary set them.
    setenv("FI_MR_CACHE_MAX_COUNT", "0", 0);
    setenv("IPATH_NO_BACKTRACE", "1", 0);
    memset(f, 0, sizeof *f);
    f->info = find(provider);
    check(fi_fabric(f->info->fabric_attr, &f->fabric, NULL), "fi_fabric");
    check(fi_domain(f->fabric, f->info, &f->domain, NULL), "fi_domain");
    register_memory(f, memory_size);
    open_endpoint(f);
}

void fabric_print(const struct fabric *f)
{
    unsigned char address[ADDRESS_ROOM];
    size_t length = sizeof address;
    check(fi_getname(&f->ep->fid, address, &length), "fi_getname");
    for (size_t i = 0; i < length; i++)
        printf("%02X", address[i]);
    // Where addresses are not virtual they are offsets into the registration.
    uint64_t first = f->info->domain_attr->mr_mode & FI_MR_VIRT_ADDR ? (uintptr_t)f->memory : 0;
    printf(" %llX %llX\n", (unsigned long long)first, (unsigned long long)fi_mr_key(f->mr));
    fflush(stdout);
}

void fabric_connect(struct fabric *f, const char *line)
{
    unsigned char address[ADDRESS_ROOM];
    size_t length = 0;
    unsigned byte;
    for (; length < sizeof address && sscanf(line, "%2X", &byte) == 1 && *line != ' '; line += 2)
        address[length++] = (unsigned char)byte;
    unsigned long long first, key;
    if (sscanf(line, "%llX %llX", &first, &key) != 2)
        fail("the other side's line", FI_EINVAL);
    f->peer_address = first;
    f->peer_key = key;
    if (fi_av_insert(f->av, address, 1, &f->peer, 0, NULL) != 1)
        fail("fi_av_insert", FI_EINVAL);
}

void fabric_close(struct fabric *f)
{
    fi_close(&f->ep->fid);
    fi_close(&f->cq->fid);
    fi_close(&f->av->fid);
    fi_close(&f->mr->fid);
    fi_close(&f->domain->fid);
    fi_close(&f->fabric->fid);
    fi_freeinfo(f->info);
    free(f->memory);
}
