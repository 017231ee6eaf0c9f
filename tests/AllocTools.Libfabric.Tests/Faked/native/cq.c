// Completion queues. They are read, and waited for by a descriptor where the world has these.
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "fake.h"

// What a provider's own codes begin at, for fi_cq_strerror.
#define PROVIDER_ERRORS 1000

static int cq_close(struct fid *fid) {
    struct cq *self = SELF(struct cq, fid.fid, fid);
    int error = fake_enter(self->object.world, "fi_close cq");
    if (error)
        return error;
    error = fake_close(&self->object, "fi_close");
    if (!error && self->wait_fd >= 0)
        close(self->wait_fd);
    fake_leave(self->object.world);
    return error;
}

static int cq_control(struct fid *fid, int command, void *argument) {
    struct cq *self = SELF(struct cq, fid.fid, fid);
    if (command != FI_GETWAIT)
        return -FI_ENOSYS;
    int error = fake_enter(self->object.world, "fi_control cq");
    if (error)
        return error;
    error = fake_check(&self->object, "fi_control");
    if (!error && self->wait_fd < 0)
        error = fake_misused(self->object.world, -FI_EINVAL, "FI_GETWAIT of a queue without a wait object");
    if (!error)
        *(int *)argument = self->wait_fd;
    fake_leave(self->object.world);
    return error;
}

static void wake(struct cq *cq) {
    uint64_t one = 1;
    // It can't be full: fi_trywait empties it, or nobody waits.
    if (cq->wait_fd >= 0 && !cq->is_broken && cq->object.is_open && write(cq->wait_fd, &one, sizeof one) < 0)
        abort();
}

void fake_wake(struct world *world) {
    for (struct object *object = world->objects; object; object = object->next)
        if (object->kind == KIND_CQ)
            wake(SELF(struct cq, object, object));
}

// The descriptors become those of pipes that nobody reads: poll(2) finds an error.
void fake_break_waiting(const char *name) {
    struct world *world = fake_find(name);
    pthread_mutex_lock(&world->lock);
    for (struct object *object = world->objects; object; object = object->next) {
        struct cq *cq = SELF(struct cq, object, object);
        int ends[2];
        if (object->kind != KIND_CQ || !object->is_open || cq->wait_fd < 0)
            continue;
        if (pipe(ends) != 0 || dup2(ends[1], cq->wait_fd) < 0)
            abort();
        close(ends[0]);
        close(ends[1]);
        cq->is_broken = true;
    }
    pthread_mutex_unlock(&world->lock);
}

// A queue may be waited for when nothing is in it, and no operation can go on that only reading a queue moves.
int fake_trywait(struct fid_fabric *fabric, struct fid **fids, int count) {
    struct world *world = SELF(struct fabric, fid, fabric)->object.world;
    int error = fake_enter(world, "fi_trywait");
    if (error)
        return error;
    error = fake_check(&SELF(struct fabric, fid, fabric)->object, "fi_trywait");
    for (int i = 0; !error && i < count; i++) {
        struct cq *cq = SELF(struct cq, fid.fid, fids[i]);
        error = fake_check(&cq->object, "fi_trywait");
        uint64_t events;
        if (!error && cq->wait_fd < 0)
            error = fake_misused(world, -FI_EINVAL, "fi_trywait of a queue without a wait object");
        else if (!error && !cq->is_broken && read(cq->wait_fd, &events, sizeof events) < 0 && errno != EAGAIN)
            abort();
        if (!error && (cq->first || (world->ops && world->completion != COMPLETE_HELD)))
            error = -FI_EAGAIN;
    }
    fake_leave(world);
    return error;
}

static struct event *take(struct cq *cq) {
    struct event *event = cq->first;
    cq->first = event->next;
    if (!cq->first)
        cq->last = NULL;
    return event;
}

static ssize_t cq_read(struct fid_cq *cq, void *into, size_t count) {
    struct cq *self = SELF(struct cq, fid, cq);
    struct world *world = self->object.world;
    int error = fake_enter(world, "fi_cq_read");
    if (error)
        return error;
    error = fake_check(&self->object, "fi_cq_read");
    size_t taken = 0;
    if (!error) {
        fake_progress(world);
        struct fi_cq_tagged_entry *entries = into;
        while (taken < count && self->first && self->first->error == 0) {
            struct event *event = take(self);
            entries[taken++] = (struct fi_cq_tagged_entry){ .op_context = event->context, .flags = event->flags, .len = event->length, .data = event->data };
            free(event);
        }
        if (taken == 0)
            error = self->first ? -FI_EAVAIL : -FI_EAGAIN;
    }
    fake_leave(world);
    return error ? error : (ssize_t)taken;
}

static ssize_t cq_readerr(struct fid_cq *cq, struct fi_cq_err_entry *into, uint64_t flags) {
    (void)flags;
    struct cq *self = SELF(struct cq, fid, cq);
    struct world *world = self->object.world;
    int error = fake_enter(world, "fi_cq_readerr");
    if (error)
        return error;
    error = fake_check(&self->object, "fi_cq_readerr");
    if (!error && (!self->first || self->first->error == 0))
        error = -FI_EAGAIN;
    if (!error) {
        struct event *event = take(self);
        into->op_context = event->context;
        into->flags = event->flags;
        into->len = event->length;
        into->olen = event->excess;
        into->err = event->error;
        into->prov_errno = event->error == FI_ECANCELED ? 0 : PROVIDER_ERRORS + abs(event->error);
        into->err_data = "nothing more";
        into->err_data_size = 0;
        free(event);
    }
    fake_leave(world);
    return error ? error : 1;
}

static const char *cq_strerror(struct fid_cq *cq, int prov_errno, const void *err_data, char *buffer, size_t length) {
    struct cq *self = SELF(struct cq, fid, cq);
    if (fake_enter(self->object.world, "fi_cq_strerror") != 0)
        return NULL;
    fake_check(&self->object, "fi_cq_strerror");
    if (prov_errno <= PROVIDER_ERRORS)
        fake_misused(self->object.world, 0, "fi_cq_strerror of another number than prov_errno");
    snprintf(buffer, length, "the fake's error %d, %s", prov_errno - PROVIDER_ERRORS, (const char *)err_data);
    fake_leave(self->object.world);
    return buffer;
}

static struct fi_ops cq_fid_ops = { .size = sizeof(struct fi_ops), .close = cq_close, .control = cq_control };
static struct fi_ops_cq cq_ops = { .size = sizeof(struct fi_ops_cq), .read = cq_read, .readerr = cq_readerr, .strerror = cq_strerror };
static struct fi_ops small_cq_fid_ops = { .size = offsetof(struct fi_ops, bind), .close = cq_close };
static struct fi_ops_cq small_cq_ops = { .size = offsetof(struct fi_ops_cq, sread), .read = cq_read, .readerr = cq_readerr };

int fake_cq_open(struct fid_domain *domain, struct fi_cq_attr *attr, struct fid_cq **cq, void *context) {
    struct domain *parent = SELF(struct domain, fid, domain);
    struct world *world = parent->object.world;
    int error = fake_enter(world, "fi_cq_open");
    if (error)
        return error;
    error = fake_check(&parent->object, "fi_cq_open");
    if (!error && attr->format != FI_CQ_FORMAT_TAGGED)
        error = fake_misused(world, -FI_ENOSYS, "fi_cq_open with another format than the one that is read");
    if (!error && attr->wait_obj != FI_WAIT_NONE && attr->wait_obj != FI_WAIT_FD)
        error = fake_misused(world, -FI_ENOSYS, "fi_cq_open with a wait object that is not waited for");
    // As shm does.
    if (!error && attr->wait_obj == FI_WAIT_FD && !world->config.wait)
        error = -FI_ENOSYS;
    if (!error) {
        struct cq *self = calloc(1, sizeof *self);
        bool is_small = world->config.small != 0;
        self->wait_fd = attr->wait_obj == FI_WAIT_FD ? eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) : -1;
        self->fid.fid = (struct fid){ FI_CLASS_CQ, context, is_small ? &small_cq_fid_ops : &cq_fid_ops };
        self->fid.ops = is_small ? &small_cq_ops : &cq_ops;
        fake_opened(&self->object, world, KIND_CQ, &parent->object);
        *cq = &self->fid;
    }
    fake_leave(world);
    return error;
}

static void append(struct cq *cq, struct event *event) {
    *(cq->last ? &cq->last->next : &cq->first) = event;
    cq->last = event;
    wake(cq);
}

// A peer's write with data has no context here.
void fake_notify(struct cq *cq, uint64_t data) {
    struct event *event = calloc(1, sizeof *event);
    *event = (struct event){ .flags = FI_RMA | FI_REMOTE_WRITE | FI_REMOTE_CQ_DATA, .data = data };
    append(cq, event);
}

void fake_complete(struct cq *cq, const struct op *op, uint64_t length, int error) {
    static const uint64_t flags[] = { FI_RMA | FI_WRITE, FI_RMA | FI_READ, FI_MSG | FI_SEND, FI_MSG | FI_RECV };
    struct event *event = calloc(1, sizeof *event);
    *event = (struct event){ .context = op->context, .flags = flags[op->kind], .length = length, .error = error };
    append(cq, event);
}
