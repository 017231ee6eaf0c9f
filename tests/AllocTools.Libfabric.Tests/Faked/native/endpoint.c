// Endpoints, and the operations that are posted at them.
#define _GNU_SOURCE
#include <stdio.h>
#include "fake.h"

static int ep_close(struct fid *fid) {
    struct ep *self = SELF(struct ep, fid.fid, fid);
    struct world *world = self->object.world;
    int error = fake_enter(world, "fi_close ep");
    if (error)
        return error;
    error = fake_close(&self->object, "fi_close");
    if (!error)
        fake_drop(self);
    fake_leave(world);
    return error;
}

static int ep_bind(struct fid *fid, struct fid *other, uint64_t flags) {
    struct ep *self = SELF(struct ep, fid.fid, fid);
    struct world *world = self->object.world;
    bool is_vector = other->fclass == FI_CLASS_AV;
    int error = fake_enter(world, is_vector ? "fi_ep_bind av" : "fi_ep_bind cq");
    if (error)
        return error;
    struct object *bound = is_vector ? &SELF(struct av, fid.fid, other)->object : &SELF(struct cq, fid.fid, other)->object;
    error = fake_check(&self->object, "fi_ep_bind");
    if (!error)
        error = fake_check(bound, "fi_ep_bind");
    if (!error && (self->is_enabled || flags != (is_vector ? 0 : FI_SEND | FI_RECV)))
        error = fake_misused(world, -FI_EINVAL, "fi_ep_bind after fi_enable, or with other flags");
    if (!error)
        error = fake_bind(&self->object, bound);
    if (!error && is_vector)
        self->av = SELF(struct av, fid.fid, other);
    if (!error && !is_vector)
        self->cq = SELF(struct cq, fid.fid, other);
    fake_leave(world);
    return error;
}

static int ep_control(struct fid *fid, int command, void *argument) {
    (void)argument;
    struct ep *self = SELF(struct ep, fid.fid, fid);
    struct world *world = self->object.world;
    if (command != FI_ENABLE)
        return -FI_ENOSYS;
    int error = fake_enter(world, "fi_enable");
    if (error)
        return error;
    error = fake_check(&self->object, "fi_enable");
    if (!error && (!self->av || !self->cq || self->is_enabled))
        error = fake_misused(world, -FI_EOPBADSTATE, "fi_enable without vector or queue, or twice");
    if (!error)
        self->is_enabled = true;
    fake_leave(world);
    return error;
}

static int ep_getname(fid_t fid, void *into, size_t *length) {
    struct ep *self = SELF(struct ep, fid.fid, fid);
    struct world *world = self->object.world;
    int error = fake_enter(world, "fi_getname");
    if (error)
        return error;
    error = fake_check(&self->object, "fi_getname");
    if (!error && !self->is_enabled)
        error = -FI_EOPBADSTATE;
    if (!error) {
        size_t room = *length;
        *length = (size_t)snprintf(into, room, "fake://%s:%d", world->name, self->number) + 1;
        error = *length > room ? -FI_ETOOSMALL : 0;
    }
    fake_leave(world);
    return error;
}

// Locks the world where it returns 0.
static int begin(struct ep *self, const char *call) {
    struct world *world = self->object.world;
    int error = fake_enter(world, call);
    if (error) {
        pthread_mutex_lock(&world->lock);
        if (world->config.flush)
            fake_flush(self);
        pthread_mutex_unlock(&world->lock);
        return error;
    }
    error = fake_check(&self->object, call);
    if (!error && !self->is_enabled)
        error = fake_misused(world, -FI_EOPBADSTATE, "%s before fi_enable", call);
    if (error)
        fake_leave(world);
    return error;
}

static int post(struct ep *self, const char *call, struct op op, fi_addr_t peer, void *desc, uint64_t access, uint64_t flags) {
    struct world *world = self->object.world;
    int error = 0;
    if (peer >= sizeof self->av->peers / sizeof *self->av->peers || !self->av->peers[peer])
        error = fake_misused(world, -FI_EINVAL, "%s to a peer that is not in the vector", call);
    else if (op.length > world->config.max_message)
        error = fake_misused(world, -FI_EMSGSIZE, "%s of %zu bytes", call, (size_t)op.length);
    else if ((flags & FI_DELIVERY_COMPLETE) && !world->config.delivery)
        error = fake_misused(world, -FI_EOPNOTSUPP, "%s with FI_DELIVERY_COMPLETE", call);
    else
        error = fake_local(self, desc, op.local, op.length, access, call, &op.mr);
    if (!error && world->outstanding >= world->config.depth)
        error = -FI_EAGAIN;
    if (!error) {
        op.ep = self;
        op.peer = self->av->peers[peer];
        op.is_deferred = flags & FI_MORE;
        if (op.is_deferred)
            fake_count(world, "FI_MORE");
        self->av->is_used[peer] = true;
        fake_post(memcpy(malloc(sizeof op), &op, sizeof op));
    }
    // As fi_msg(3) demands since 2.5, or as efa did before.
    if (error ? world->config.flush : !op.is_deferred)
        fake_flush(self);
    fake_leave(world);
    return error;
}

static ssize_t ep_writemsg(struct fid_ep *ep, const struct fi_msg_rma *message, uint64_t flags) {
    struct ep *self = SELF(struct ep, fid, ep);
    int error = begin(self, "fi_writemsg");
    if (error)
        return error;
    const struct iovec *from = message->msg_iov;
    const struct fi_rma_iov *to = message->rma_iov;
    if (message->iov_count != 1 || message->rma_iov_count != 1 || from->iov_len != to->len) {
        error = fake_misused(self->object.world, -FI_EINVAL, "fi_writemsg of ranges that don't match");
        fake_leave(self->object.world);
        return error;
    }
    struct op op = { .kind = OP_WRITE, .local = from->iov_base, .length = from->iov_len, .remote = to->addr, .key = to->key, .context = message->context,
                     .has_data = (flags & FI_REMOTE_CQ_DATA) != 0, .data = message->data };
    return post(self, "fi_writemsg", op, message->addr, message->desc ? *message->desc : NULL, FI_WRITE, flags);
}

static ssize_t ep_read(struct fid_ep *ep, void *into, size_t length, void *desc, fi_addr_t peer, uint64_t address, uint64_t key, void *context) {
    struct ep *self = SELF(struct ep, fid, ep);
    int error = begin(self, "fi_read");
    if (error)
        return error;
    struct op op = { .kind = OP_READ, .local = into, .length = length, .remote = address, .key = key, .context = context };
    return post(self, "fi_read", op, peer, desc, FI_READ, 0);
}

static ssize_t ep_sendmsg(struct fid_ep *ep, const struct fi_msg *message, uint64_t flags) {
    struct ep *self = SELF(struct ep, fid, ep);
    int error = begin(self, "fi_sendmsg");
    if (error)
        return error;
    struct op op = { .kind = OP_SEND, .local = message->msg_iov->iov_base, .length = message->msg_iov->iov_len, .context = message->context };
    return post(self, "fi_sendmsg", op, message->addr, message->desc ? *message->desc : NULL, FI_SEND, flags);
}

static void receive(struct op *op, const uint8_t *bytes, uint64_t length) {
    uint64_t fits = length < op->length ? length : op->length;
    memcpy(op->local, bytes, fits);
    uint64_t rest = length - fits < op->more_length ? length - fits : op->more_length;
    if (rest)
        memcpy(op->more, bytes + fits, rest);
    fake_complete(op->ep->cq, op, fits + rest, length > fits + rest ? FI_ETRUNC : 0);
    op->ep->cq->last->excess = length - fits - rest;
}

// Both calls that receive count as fi_recv.
static ssize_t post_receive(struct ep *self, struct iovec into, void *desc, struct iovec more, void *context) {
    struct world *world = self->object.world;
    int error = begin(self, "fi_recv");
    if (error)
        return error;
    struct op op = { .kind = OP_RECEIVE, .ep = self, .local = into.iov_base, .length = into.iov_len, .more = more.iov_base, .more_length = more.iov_len, .context = context };
    error = fake_local(self, desc, into.iov_base, into.iov_len, FI_RECV, "fi_recv", &op.mr);
    struct message *message = self->messages;
    if (!error && message) {
        receive(&op, message->bytes, message->length);
        self->messages = message->next;
        free(message);
    } else if (!error) {
        struct op **last = &self->receives;
        while (*last)
            last = &(*last)->next;
        *last = memcpy(malloc(sizeof op), &op, sizeof op);
    }
    fake_leave(world);
    return error;
}

static ssize_t ep_recv(struct fid_ep *ep, void *into, size_t length, void *desc, fi_addr_t peer, void *context) {
    (void)peer;
    return post_receive(SELF(struct ep, fid, ep), (struct iovec){ into, length }, desc, (struct iovec){ 0 }, context);
}

static ssize_t ep_recvmsg(struct fid_ep *ep, const struct fi_msg *message, uint64_t flags) {
    (void)flags;
    struct ep *self = SELF(struct ep, fid, ep);
    struct world *world = self->object.world;
    const struct iovec *into = message->msg_iov;
    // The second range is memory that is not registered.
    if (message->iov_count != 2 || world->config.mr_mode & FI_MR_LOCAL) {
        fake_enter(world, "fi_recvmsg");
        int error = fake_misused(world, -FI_EINVAL, "fi_recvmsg with %zu ranges, or with FI_MR_LOCAL", message->iov_count);
        fake_leave(world);
        return error;
    }
    return post_receive(self, into[0], message->desc ? *message->desc : NULL, into[1], message->context);
}

static ssize_t ep_cancel(fid_t fid, void *context) {
    struct ep *self = SELF(struct ep, fid.fid, fid);
    struct world *world = self->object.world;
    int error = begin(self, "fi_cancel");
    if (error)
        return error;
    error = -FI_ENOENT;
    for (struct op **at = &self->receives; *at; at = &(*at)->next) {
        struct op *op = *at;
        if (op->context != context)
            continue;
        *at = op->next;
        fake_complete(self->cq, op, 0, FI_ECANCELED);
        free(op);
        error = 0;
        break;
    }
    fake_leave(world);
    return error;
}

static struct fi_ops ep_fid_ops = { .size = sizeof(struct fi_ops), .close = ep_close, .bind = ep_bind, .control = ep_control };
static struct fi_ops_ep ep_ops = { .size = sizeof(struct fi_ops_ep), .cancel = ep_cancel };
static struct fi_ops_cm cm_ops = { .size = sizeof(struct fi_ops_cm), .getname = ep_getname };
static struct fi_ops_msg msg_ops = { .size = sizeof(struct fi_ops_msg), .recv = ep_recv, .recvmsg = ep_recvmsg, .sendmsg = ep_sendmsg };
static struct fi_ops_rma rma_ops = { .size = sizeof(struct fi_ops_rma), .read = ep_read, .writemsg = ep_writemsg };

static struct fi_ops small_ep_fid_ops = { .size = offsetof(struct fi_ops, ops_open), .close = ep_close, .bind = ep_bind, .control = ep_control };
static struct fi_ops_ep small_ep_ops = { .size = offsetof(struct fi_ops_ep, getopt), .cancel = ep_cancel };
static struct fi_ops_cm small_cm_ops = { .size = offsetof(struct fi_ops_cm, getpeer), .getname = ep_getname };
static struct fi_ops_msg small_msg_ops = { .size = offsetof(struct fi_ops_msg, inject), .recv = ep_recv, .recvmsg = ep_recvmsg, .sendmsg = ep_sendmsg };
static struct fi_ops_rma small_rma_ops = { .size = offsetof(struct fi_ops_rma, inject), .read = ep_read, .writemsg = ep_writemsg };

int fake_endpoint(struct fid_domain *domain, struct fi_info *info, struct fid_ep **ep, void *context) {
    (void)info;
    struct domain *parent = SELF(struct domain, fid, domain);
    struct world *world = parent->object.world;
    int error = fake_enter(world, "fi_endpoint");
    if (error)
        return error;
    error = fake_check(&parent->object, "fi_endpoint");
    if (!error) {
        struct ep *self = calloc(1, sizeof *self);
        bool is_small = world->config.small != 0;
        self->fid.fid = (struct fid){ FI_CLASS_EP, context, is_small ? &small_ep_fid_ops : &ep_fid_ops };
        self->fid.ops = is_small ? &small_ep_ops : &ep_ops;
        self->fid.cm = is_small ? &small_cm_ops : &cm_ops;
        self->fid.msg = is_small ? &small_msg_ops : &msg_ops;
        self->fid.rma = is_small ? &small_rma_ops : &rma_ops;
        self->number = world->next_ep++;
        fake_opened(&self->object, world, KIND_EP, &parent->object);
        *ep = &self->fid;
    }
    fake_leave(world);
    return error;
}

// Here, since it ends a receive.
void fake_deliver(struct ep *to, const uint8_t *bytes, uint64_t length) {
    struct op *op = to->receives;
    if (op) {
        to->receives = op->next;
        receive(op, bytes, length);
        free(op);
        return;
    }
    struct message *message = malloc(sizeof *message + length);
    message->next = NULL;
    message->length = length;
    memcpy(message->bytes, bytes, length);
    struct message **last = &to->messages;
    while (*last)
        last = &(*last)->next;
    *last = message;
}
