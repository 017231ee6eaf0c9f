// Registrations, and the raw keys of peers.
#define _GNU_SOURCE
#include <sys/mman.h>
#include <unistd.h>
#include "fake.h"

static bool has(struct world *world, uint64_t bit) { return (world->config.mr_mode & bit) != 0; }

static uint64_t last_key(struct world *world) {
    return world->config.key_size >= 8 ? UINT64_MAX : (1ULL << (8 * world->config.key_size)) - 1;
}

static struct mr *find(struct domain *domain, uint64_t key) {
    for (struct object *object = domain->object.world->objects; object; object = object->next) {
        struct mr *mr = SELF(struct mr, object, object);
        if (object->kind == KIND_MR && object->is_open && mr->domain == domain && mr->key == key)
            return mr;
    }
    return NULL;
}

// FI_MR_ALLOCATED: physical pages back all of it.
static bool is_backed(const uint8_t *address, uint64_t length) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), first = (uintptr_t)address & ~(page - 1);
    size_t pages = ((uintptr_t)address + length - first + page - 1) / page;
    unsigned char *there = malloc(pages);
    bool backed = mincore((void *)first, pages * page, there) == 0;
    for (size_t i = 0; backed && i < pages; i++)
        backed = there[i] & 1;
    free(there);
    return backed;
}

static int pick_key(struct domain *domain, uint64_t requested, uint64_t *key) {
    struct world *world = domain->object.world;
    uint64_t last = last_key(world);
    if (has(world, FI_MR_PROV_KEY)) {
        for (uint64_t tries = 0; tries <= last && tries < 1 << 20; tries++) {
            *key = world->next_key++ & last;
            if (!find(domain, *key))
                return 0;
        }
        return -FI_ENOKEY;
    }
    *key = requested;
    return requested > last ? -FI_EKEYREJECTED : find(domain, requested) ? -FI_ENOKEY : 0;
}

static int mr_close(struct fid *fid) {
    struct mr *self = SELF(struct mr, fid.fid, fid);
    struct world *world = self->object.world;
    int error = fake_enter(world, "fi_close mr");
    if (error)
        return error;
    if (fake_uses(self))
        fake_misused(world, 0, "a registration was closed under an operation that uses it");
    error = fake_close(&self->object, "fi_close");
    if (!error)
        world->registered -= self->length;
    fake_leave(world);
    return error;
}

static int mr_bind(struct fid *fid, struct fid *other, uint64_t flags) {
    (void)flags;
    struct mr *self = SELF(struct mr, fid.fid, fid);
    struct world *world = self->object.world;
    int error = fake_enter(world, "fi_mr_bind");
    if (error)
        return error;
    error = fake_check(&self->object, "fi_mr_bind");
    struct ep *ep = SELF(struct ep, fid.fid, other);
    if (!error && (!has(world, FI_MR_ENDPOINT) || other->fclass != FI_CLASS_EP || self->ep))
        error = fake_misused(world, -FI_EINVAL, "fi_mr_bind where it may not be");
    if (!error)
        error = fake_check(&ep->object, "fi_mr_bind");
    if (!error)
        error = fake_bind(&self->object, &ep->object);
    if (!error)
        self->ep = ep;
    fake_leave(world);
    return error;
}

static int enable(struct mr *self) {
    struct world *world = self->object.world;
    int error = fake_enter(world, "fi_mr_enable");
    if (error)
        return error;
    error = fake_check(&self->object, "fi_mr_enable");
    if (!error && (!self->ep || self->is_enabled))
        error = fake_misused(world, -FI_EINVAL, "fi_mr_enable of a registration that is %s", self->ep ? "enabled" : "not bound");
    if (!error) {
        self->is_enabled = true;
        if (!has(world, FI_MR_RAW))
            self->fid.key = self->key;
    }
    fake_leave(world);
    return error;
}

static int raw_attributes(struct mr *self, struct fi_mr_raw_attr *into) {
    struct world *world = self->object.world;
    int error = fake_enter(world, "fi_mr_raw_attr");
    if (error)
        return error;
    error = fake_check(&self->object, "fi_mr_raw_attr");
    if (!error && (!has(world, FI_MR_RAW) || !self->is_enabled))
        error = fake_misused(world, -FI_EINVAL, "fi_mr_raw_attr of a registration without, or before it is enabled");
    if (!error) {
        if (*into->key_size < FAKE_RAW_KEY_SIZE)
            error = -FI_ETOOSMALL;
        else
            memcpy(into->raw_key, self->raw, FAKE_RAW_KEY_SIZE);
        *into->key_size = FAKE_RAW_KEY_SIZE;
        *into->base_addr = (uintptr_t)self->address;
    }
    fake_leave(world);
    return error;
}

static int mr_control(struct fid *fid, int command, void *argument) {
    struct mr *self = SELF(struct mr, fid.fid, fid);
    return command == FI_ENABLE ? enable(self) : command == FI_GET_RAW_MR ? raw_attributes(self, argument) : -FI_ENOSYS;
}

static struct fi_ops mr_fid_ops = { .size = sizeof(struct fi_ops), .close = mr_close, .bind = mr_bind, .control = mr_control };
static struct fi_ops small_mr_fid_ops = { .size = offsetof(struct fi_ops, ops_open), .close = mr_close, .bind = mr_bind, .control = mr_control };

int fake_regattr(struct fid *fid, const struct fi_mr_attr *attr, uint64_t flags, struct fid_mr **mr) {
    struct domain *domain = SELF(struct domain, fid.fid, fid);
    struct world *world = domain->object.world;
    int error = fake_enter(world, "fi_mr_regattr");
    if (error)
        return error;
    error = fake_check(&domain->object, "fi_mr_regattr");
    if (!error && (flags || attr->iov_count != 1 || attr->mr_iov->iov_len == 0 || attr->iface != FI_HMEM_SYSTEM))
        error = fake_misused(world, -FI_EINVAL, "fi_mr_regattr with flags, no length, or not one range of the system's memory");
    uint64_t key = 0, length = error ? 0 : attr->mr_iov->iov_len;
    if (!error && length > world->config.limit - world->registered)
        error = -FI_ENOMEM;
    if (!error && has(world, FI_MR_ALLOCATED) && !is_backed(attr->mr_iov->iov_base, length))
        error = fake_misused(world, -FI_EFAULT, "fi_mr_regattr of pages that are not backed");
    if (!error)
        error = pick_key(domain, attr->requested_key, &key);
    if (!error) {
        struct mr *self = calloc(1, sizeof *self);
        self->fid.fid = (struct fid){ FI_CLASS_MR, attr->context, world->config.small ? &small_mr_fid_ops : &mr_fid_ops };
        self->domain = domain;
        self->address = attr->mr_iov->iov_base;
        self->length = length;
        self->access = attr->access;
        self->key = key;
        self->is_enabled = !has(world, FI_MR_ENDPOINT);
        self->fid.mem_desc = has(world, FI_MR_LOCAL) ? self : NULL;
        self->fid.key = has(world, FI_MR_RAW) || !self->is_enabled ? FI_KEY_NOTAVAIL : key;
        uint64_t number = (uint64_t)++world->next_mr * 0x9E3779B97F4A7C15;
        memcpy(self->raw, &number, sizeof number);
        memcpy(self->raw + sizeof number, &key, sizeof key);
        memset(self->raw + 2 * sizeof number, 0xA5, FAKE_RAW_KEY_SIZE - 2 * sizeof number);
        world->registered += length;
        fake_opened(&self->object, world, KIND_MR, &domain->object);
        *mr = &self->fid;
    }
    fake_leave(world);
    return error;
}

static int map_raw(struct domain *domain, const struct fi_mr_map_raw *map) {
    struct world *world = domain->object.world;
    int error = fake_enter(world, "fi_mr_map_raw");
    if (error)
        return error;
    error = fake_check(&domain->object, "fi_mr_map_raw");
    if (!error && !has(world, FI_MR_RAW))
        error = fake_misused(world, -FI_EINVAL, "fi_mr_map_raw where keys are not raw");
    if (!error && map->key_size != FAKE_RAW_KEY_SIZE)
        error = -FI_EINVAL;
    if (!error) {
        struct mapped *mapped = calloc(1, sizeof *mapped);
        mapped->key = world->next_key++;
        mapped->base = map->base_addr;
        memcpy(mapped->raw, map->raw_key, FAKE_RAW_KEY_SIZE);
        mapped->next = domain->mapped;
        domain->mapped = mapped;
        *map->key = mapped->key;
    }
    fake_leave(world);
    return error;
}

// Where it is told to fail the key is gone all the same, as far as its domain's end goes.
static int unmap(struct domain *domain, uint64_t key) {
    struct world *world = domain->object.world;
    int failed = fake_enter(world, "fi_mr_unmap_key");
    if (failed)
        pthread_mutex_lock(&world->lock);
    int error = fake_check(&domain->object, "fi_mr_unmap_key");
    struct mapped **at = &domain->mapped;
    while (*at && (*at)->key != key)
        at = &(*at)->next;
    if (!error && !*at)
        error = fake_misused(world, -FI_EINVAL, "fi_mr_unmap_key of a key that is not mapped");
    if (!error) {
        struct mapped *mapped = *at;
        *at = mapped->next;
        free(mapped);
    }
    fake_leave(world);
    return failed ? failed : error;
}

int fake_domain_control(struct fid *fid, int command, void *argument) {
    struct domain *domain = SELF(struct domain, fid.fid, fid);
    return command == FI_MAP_RAW_MR ? map_raw(domain, argument) : command == FI_UNMAP_KEY ? unmap(domain, *(uint64_t *)argument) : -FI_ENOSYS;
}

bool fake_covers(const struct mr *mr, const uint8_t *address, uint64_t length) {
    return address >= mr->address && address + length <= mr->address + mr->length;
}

int fake_local(struct ep *ep, void *desc, const void *address, uint64_t length, uint64_t access, const char *call, struct mr **mr) {
    struct world *world = ep->object.world;
    *mr = NULL;
    if (!has(world, FI_MR_LOCAL) || length == 0)
        return 0;
    for (struct object *object = world->objects; object; object = object->next) {
        struct mr *candidate = SELF(struct mr, object, object);
        if (object->kind == KIND_MR && candidate == desc)
            *mr = candidate;
    }
    if (!*mr)
        return fake_misused(world, -FI_EINVAL, "%s without a descriptor", call);
    if (!(*mr)->object.is_open || &(*mr)->domain->object != ep->object.parent || (has(world, FI_MR_ENDPOINT) && ((*mr)->ep != ep || !(*mr)->is_enabled)))
        return fake_misused(world, -FI_EINVAL, "%s with a descriptor that is closed, not enabled, or another's", call);
    if (!fake_covers(*mr, address, length))
        return fake_misused(world, -FI_EINVAL, "%s beyond its registration", call);
    if (((*mr)->access & access) != access)
        return fake_misused(world, -FI_EACCES, "%s on memory that is not registered for it", call);
    return 0;
}

int fake_reach(const struct op *op, uint8_t **at) {
    struct world *world = op->ep->object.world;
    struct domain *here = SELF(struct domain, object, op->ep->object.parent), *there = SELF(struct domain, object, op->peer->object.parent);
    if (!op->peer->object.is_open)
        return FI_ECONNRESET;
    struct mr *mr = NULL;
    if (has(world, FI_MR_RAW)) {
        struct mapped *mapped = here->mapped;
        while (mapped && mapped->key != op->key)
            mapped = mapped->next;
        if (!mapped)
            return -fake_misused(world, -FI_EKEYREJECTED, "an operation with a raw key that is not mapped");
        for (struct object *object = world->objects; object && !mr; object = object->next) {
            struct mr *candidate = SELF(struct mr, object, object);
            if (object->kind == KIND_MR && object->is_open && candidate->domain == there && memcmp(candidate->raw, mapped->raw, FAKE_RAW_KEY_SIZE) == 0)
                mr = candidate;
        }
    } else {
        mr = find(there, op->key);
    }
    if (!mr || !mr->is_enabled || (mr->ep && mr->ep != op->peer))
        return FI_EACCES;
    uint64_t offset = has(world, FI_MR_VIRT_ADDR) ? op->remote - (uintptr_t)mr->address : op->remote;
    if (offset > mr->length || op->length > mr->length - offset)
        return FI_EACCES;
    if (!(mr->access & (op->kind == OP_WRITE ? FI_REMOTE_WRITE : FI_REMOTE_READ)))
        return FI_EACCES;
    *at = mr->address + offset;
    return 0;
}
