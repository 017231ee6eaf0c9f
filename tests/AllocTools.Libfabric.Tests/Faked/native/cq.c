// Completion queues. They are read, not waited for.
#include "fake.h"

static int cq_close(struct fid *fid) {
    struct cq *self = SELF(struct cq, fid.fid, fid);
    int error = fake_enter(self->object.world, "fi_close cq");
    if (error)
        return error;
    error = fake_close(&self->object, "fi_close");
    fake_leave(self->object.world);
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
        struct fi_cq_msg_entry *entries = into;
        while (taken < count && self->first && self->first->error == 0) {
            struct event *event = take(self);
            entries[taken++] = (struct fi_cq_msg_entry){ event->context, event->flags, event->length };
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
        into->err = event->error;
        into->prov_errno = 0;
        into->err_data_size = 0;
        free(event);
    }
    fake_leave(world);
    return error ? error : 1;
}

static struct fi_ops cq_fid_ops = { .size = sizeof(struct fi_ops), .close = cq_close };
static struct fi_ops_cq cq_ops = { .size = sizeof(struct fi_ops_cq), .read = cq_read, .readerr = cq_readerr };
static struct fi_ops small_cq_fid_ops = { .size = offsetof(struct fi_ops, bind), .close = cq_close };
static struct fi_ops_cq small_cq_ops = { .size = offsetof(struct fi_ops_cq, sread), .read = cq_read, .readerr = cq_readerr };

int fake_cq_open(struct fid_domain *domain, struct fi_cq_attr *attr, struct fid_cq **cq, void *context) {
    struct domain *parent = SELF(struct domain, fid, domain);
    struct world *world = parent->object.world;
    int error = fake_enter(world, "fi_cq_open");
    if (error)
        return error;
    error = fake_check(&parent->object, "fi_cq_open");
    if (!error && attr->format != FI_CQ_FORMAT_MSG)
        error = fake_misused(world, -FI_ENOSYS, "fi_cq_open with another format than the one that is read");
    if (!error && attr->wait_obj != FI_WAIT_NONE)
        error = -FI_ENOSYS;
    if (!error) {
        struct cq *self = calloc(1, sizeof *self);
        bool is_small = world->config.small != 0;
        self->fid.fid = (struct fid){ FI_CLASS_CQ, context, is_small ? &small_cq_fid_ops : &cq_fid_ops };
        self->fid.ops = is_small ? &small_cq_ops : &cq_ops;
        fake_opened(&self->object, world, KIND_CQ, &parent->object);
        *cq = &self->fid;
    }
    fake_leave(world);
    return error;
}

void fake_complete(struct cq *cq, const struct op *op, uint64_t length, int error) {
    static const uint64_t flags[] = { FI_RMA | FI_WRITE, FI_RMA | FI_READ, FI_MSG | FI_SEND, FI_MSG | FI_RECV };
    struct event *event = calloc(1, sizeof *event);
    *event = (struct event){ .context = op->context, .flags = flags[op->kind], .length = length, .error = error };
    *(cq->last ? &cq->last->next : &cq->first) = event;
    cq->last = event;
}
