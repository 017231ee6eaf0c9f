// Fabrics, domains and address vectors.
#define _GNU_SOURCE
#include <stdio.h>
#include "fake.h"

static int fabric_close(struct fid *fid) {
    struct fabric *self = SELF(struct fabric, fid.fid, fid);
    int error = fake_enter(self->object.world, "fi_close fabric");
    if (error)
        return error;
    error = fake_close(&self->object, "fi_close");
    fake_leave(self->object.world);
    return error;
}

static struct fi_ops fabric_fid_ops = { .size = sizeof(struct fi_ops), .close = fabric_close };
static struct fi_ops_fabric fabric_ops = { .size = sizeof(struct fi_ops_fabric), .domain = fake_domain, .trywait = fake_trywait };

// As short as a table may be: what an older library never heard of is not there.
static struct fi_ops small_fabric_fid_ops = { .size = offsetof(struct fi_ops, bind), .close = fabric_close };
static struct fi_ops_fabric small_fabric_ops = { .size = offsetof(struct fi_ops_fabric, passive_ep), .domain = fake_domain };

int fi_fabric(struct fi_fabric_attr *attr, struct fid_fabric **fabric, void *context) {
    struct world *world = fake_find(attr->name);
    if (!world)
        return -FI_EINVAL;
    int error = fake_enter(world, "fi_fabric");
    if (error)
        return error;
    struct fabric *self = calloc(1, sizeof *self);
    bool is_small = world->config.small != 0;
    self->fid.fid = (struct fid){ FI_CLASS_FABRIC, context, is_small ? &small_fabric_fid_ops : &fabric_fid_ops };
    self->fid.ops = is_small ? &small_fabric_ops : &fabric_ops;
    fake_opened(&self->object, world, KIND_FABRIC, NULL);
    *fabric = &self->fid;
    fake_leave(world);
    return 0;
}

static int domain_close(struct fid *fid) {
    struct domain *self = SELF(struct domain, fid.fid, fid);
    int error = fake_enter(self->object.world, "fi_close domain");
    if (error)
        return error;
    if (self->mapped)
        fake_misused(self->object.world, 0, "a domain was closed with raw keys mapped");
    error = fake_close(&self->object, "fi_close");
    fake_leave(self->object.world);
    return error;
}

static struct fi_ops domain_fid_ops = { .size = sizeof(struct fi_ops), .close = domain_close, .control = fake_domain_control };
static struct fi_ops_domain domain_ops = { .size = sizeof(struct fi_ops_domain), .av_open = fake_av_open, .cq_open = fake_cq_open, .endpoint = fake_endpoint };
static struct fi_ops_mr mr_ops = { .size = sizeof(struct fi_ops_mr), .regattr = fake_regattr };

static struct fi_ops small_domain_fid_ops = { .size = offsetof(struct fi_ops, ops_open), .close = domain_close, .control = fake_domain_control };
static struct fi_ops_domain small_domain_ops = { .size = offsetof(struct fi_ops_domain, scalable_ep), .av_open = fake_av_open, .cq_open = fake_cq_open, .endpoint = fake_endpoint };

int fake_domain(struct fid_fabric *fabric, struct fi_info *info, struct fid_domain **domain, void *context) {
    (void)info;
    struct fabric *parent = SELF(struct fabric, fid, fabric);
    struct world *world = parent->object.world;
    int error = fake_enter(world, "fi_domain");
    if (error)
        return error;
    error = fake_check(&parent->object, "fi_domain");
    if (!error) {
        struct domain *self = calloc(1, sizeof *self);
        bool is_small = world->config.small != 0;
        self->fid.fid = (struct fid){ FI_CLASS_DOMAIN, context, is_small ? &small_domain_fid_ops : &domain_fid_ops };
        self->fid.ops = is_small ? &small_domain_ops : &domain_ops;
        self->fid.mr = &mr_ops;
        fake_opened(&self->object, world, KIND_DOMAIN, &parent->object);
        *domain = &self->fid;
    }
    fake_leave(world);
    return error;
}

static int av_close(struct fid *fid) {
    struct av *self = SELF(struct av, fid.fid, fid);
    int error = fake_enter(self->object.world, "fi_close av");
    if (error)
        return error;
    error = fake_close(&self->object, "fi_close");
    fake_leave(self->object.world);
    return error;
}

static int av_insert(struct fid_av *av, const void *address, size_t count, fi_addr_t *into, uint64_t flags, void *context) {
    (void)flags, (void)context;
    struct av *self = SELF(struct av, fid, av);
    struct world *world = self->object.world;
    int error = fake_enter(world, "fi_av_insert");
    if (error)
        return error;
    error = fake_check(&self->object, "fi_av_insert");
    if (!error && count != 1)
        error = fake_misused(world, -FI_EINVAL, "fi_av_insert of %zu addresses", count);
    int inserted = error;
    // "fake://WORLD:NUMBER"
    char prefix[FAKE_ADDRESS_ROOM + 8];
    int length = snprintf(prefix, sizeof prefix, "fake://%s:", world->name);
    if (!error && strncmp(address, prefix, (size_t)length) == 0) {
        int number = atoi((const char *)address + length);
        for (struct object *object = world->objects; object; object = object->next) {
            struct ep *ep = SELF(struct ep, object, object);
            if (object->kind != KIND_EP || ep->number != number)
                continue;
            // The place that it has, or the first that is free.
            size_t room = sizeof self->peers / sizeof *self->peers, at = 0;
            while (at < room && self->peers[at] != ep)
                at++;
            for (size_t i = 0; at == room && i < room; i++)
                if (!self->peers[i]) {
                    self->peers[at = i] = ep;
                    self->is_used[i] = false;
                }
            *into = at;
            inserted = at < room;
            break;
        }
    }
    fake_leave(world);
    return inserted;
}

static int av_remove(struct fid_av *av, fi_addr_t *addresses, size_t count, uint64_t flags) {
    (void)flags;
    struct av *self = SELF(struct av, fid, av);
    struct world *world = self->object.world;
    int error = fake_enter(world, "fi_av_remove");
    if (error)
        return error;
    error = fake_check(&self->object, "fi_av_remove");
    if (!error && (count != 1 || addresses[0] >= 64 || !self->peers[addresses[0]]))
        error = fake_misused(world, -FI_EINVAL, "fi_av_remove of what is not in");
    // As sockets of libfabric 2.x, one that no operation has connected to.
    if (!error && world->config.strict && !self->is_used[addresses[0]])
        error = -FI_EINVAL;
    if (!error)
        self->peers[addresses[0]] = NULL;
    fake_leave(world);
    return error;
}

static struct fi_ops av_fid_ops = { .size = sizeof(struct fi_ops), .close = av_close };
static struct fi_ops_av av_ops = { .size = sizeof(struct fi_ops_av), .insert = av_insert, .remove = av_remove };
static struct fi_ops small_av_fid_ops = { .size = offsetof(struct fi_ops, bind), .close = av_close };
static struct fi_ops_av small_av_ops = { .size = offsetof(struct fi_ops_av, lookup), .insert = av_insert, .remove = av_remove };

int fake_av_open(struct fid_domain *domain, struct fi_av_attr *attr, struct fid_av **av, void *context) {
    (void)attr;
    struct domain *parent = SELF(struct domain, fid, domain);
    struct world *world = parent->object.world;
    int error = fake_enter(world, "fi_av_open");
    if (error)
        return error;
    error = fake_check(&parent->object, "fi_av_open");
    if (!error) {
        struct av *self = calloc(1, sizeof *self);
        bool is_small = world->config.small != 0;
        self->fid.fid = (struct fid){ FI_CLASS_AV, context, is_small ? &small_av_fid_ops : &av_fid_ops };
        self->fid.ops = is_small ? &small_av_ops : &av_ops;
        fake_opened(&self->object, world, KIND_AV, &parent->object);
        *av = &self->fid;
    }
    fake_leave(world);
    return error;
}
