// A libfabric of the tests' own: RMA by memcpy within one process, as strict as fi_mr(3) and told to misbehave.
// What belongs together is a world. It is named by the domain's name, which also says how its provider is:
//   NAME:mr=BITS;key=BYTES;msg=BYTES;depth=N;limit=BYTES;delivery=0|1;small=0|1;wait=0|1;strict=0|1
#pragma once
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_eq.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>

#define FAKE_ADDRESS_ROOM 64
#define FAKE_RAW_KEY_SIZE 24

enum kind { KIND_FABRIC, KIND_DOMAIN, KIND_AV, KIND_CQ, KIND_EP, KIND_MR, KIND_COUNT };
// How operations end that a queue is read for: at once; not before this is changed; with an error and nothing done; with
// success, whether the target has allowed it and it is done, or not.
enum completion { COMPLETE_AT_ONCE, COMPLETE_HELD, COMPLETE_FAILED, COMPLETE_BLINDLY };

#define SELF(type, member, pointer) ((type *)((char *)(pointer) - offsetof(type, member)))

struct config { uint64_t mr_mode, key_size, max_message, depth, limit, delivery, small, wait, strict, flush; };

// The head of each object, after libfabric's own. Objects are never freed before their world, so that a call on one that
// is closed is seen.
struct object {
    struct object *next;
    struct world *world;
    enum kind kind;
    bool is_open;
    int close_refused;      // fi_close gave -FI_EBUSY so often
    struct object *parent;
    struct object *bound[4]; // what this one keeps open by fi_bind
    int bound_count;
    int users;               // open children, and those bound to this one
};

struct fabric { struct fid_fabric fid; struct object object; };
struct domain { struct fid_domain fid; struct object object; struct mapped *mapped; };
struct av { struct fid_av fid; struct object object; struct ep *peers[64]; bool is_used[64]; };
// The descriptor is readable while there are events that no fi_trywait has seen; -1 for a queue that is not waited for.
struct cq { struct fid_cq fid; struct object object; struct event *first, *last; int wait_fd; bool is_broken; };
struct ep { struct fid_ep fid; struct object object; struct av *av; struct cq *cq; bool is_enabled; int number;
            struct op *receives; struct message *messages; };
struct mr { struct fid_mr fid; struct object object; struct domain *domain; uint8_t *address; uint64_t length, access, key;
            struct ep *ep; bool is_enabled; uint8_t raw[FAKE_RAW_KEY_SIZE]; };

// A raw key that a peer has mapped.
struct mapped { struct mapped *next; uint64_t key; uint8_t raw[FAKE_RAW_KEY_SIZE]; uint64_t base; };

enum op_kind { OP_WRITE, OP_READ, OP_SEND, OP_RECEIVE };

struct op { struct op *next; enum op_kind kind; struct ep *ep, *peer; struct mr *mr; uint8_t *local; uint64_t length, remote, key; void *context;
            uint8_t *more; uint64_t more_length; // What a receive has behind its first range
            bool has_data; uint64_t data;        // What a write's target gets with it
            bool is_deferred; };                 // Was posted with FI_MORE, and nothing without it since

// A message that nobody waits for yet.
struct message { struct message *next; uint64_t length; uint8_t bytes[]; };

struct event { struct event *next; void *context; uint64_t flags, length, excess, data; int error; };

// What happens to a call, its k-th from now: it fails, or it is held until the next release.
struct plan { struct plan *next; char call[32]; int countdown; int error; };
struct tally { struct tally *next; char call[32]; long count; };

struct world {
    struct world *next;
    char name[FAKE_ADDRESS_ROOM];
    char text[256];
    struct config config;
    pthread_mutex_t lock;
    pthread_cond_t released;
    uint64_t releases;
    struct object *objects;
    int open[KIND_COUNT];
    int infos;
    uint64_t registered;
    uint64_t next_key;
    int next_ep, next_mr;
    struct op *ops, **last_op;
    uint64_t outstanding;
    enum completion completion;
    int completion_error;
    long flip_in;           // The operation whose bytes get a flipped bit, counted down; 0 for none
    uint64_t flip_bit;
    uint64_t flipped;       // How many bytes that operation has moved; 0 before it
    struct plan *plans;
    struct tally *tallies;
    char misuse[512];
};

// world.c
struct world *fake_find(const char *text);
int fake_enter(struct world *world, const char *call); // Counts the call; locks the world unless it fails by plan: then the error
void fake_leave(struct world *world);
int fake_misused(struct world *world, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
void fake_opened(struct object *object, struct world *world, enum kind kind, struct object *parent);
int fake_close(struct object *object, const char *call); // To be called within the world
int fake_check(struct object *object, const char *call); // 0, or -FI_EBADF for one that is closed
int fake_bind(struct object *object, struct object *other);

// objects
int fake_domain(struct fid_fabric *fabric, struct fi_info *info, struct fid_domain **domain, void *context);
int fake_av_open(struct fid_domain *domain, struct fi_av_attr *attr, struct fid_av **av, void *context);
int fake_trywait(struct fid_fabric *fabric, struct fid **fids, int count);
void fake_wake(struct world *world); // Has all who wait look at their queues
int fake_cq_open(struct fid_domain *domain, struct fi_cq_attr *attr, struct fid_cq **cq, void *context);
int fake_endpoint(struct fid_domain *domain, struct fi_info *info, struct fid_ep **ep, void *context);
int fake_regattr(struct fid *fid, const struct fi_mr_attr *attr, uint64_t flags, struct fid_mr **mr);
int fake_domain_control(struct fid *fid, int command, void *argument);
bool fake_covers(const struct mr *mr, const uint8_t *address, uint64_t length);
int fake_local(struct ep *ep, void *desc, const void *address, uint64_t length, uint64_t access, const char *call, struct mr **mr);
int fake_reach(const struct op *op, uint8_t **at); // The target's memory, or a positive error
void fake_complete(struct cq *cq, const struct op *op, uint64_t length, int error);
void fake_notify(struct cq *cq, uint64_t data);
void fake_post(struct op *op);
void fake_count(struct world *world, const char *call);
void fake_flush(struct ep *ep); // What was posted with FI_MORE waits for nothing any more
void fake_deliver(struct ep *to, const uint8_t *bytes, uint64_t length);
void fake_progress(struct world *world);
void fake_drop(struct ep *ep); // What is outstanding at an endpoint that is closed
bool fake_uses(const struct mr *mr); // An operation that is outstanding needs it
