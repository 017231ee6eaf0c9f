// What is outstanding, and how it ends.
#include "fake.h"

void fake_post(struct op *op) {
    struct world *world = op->ep->object.world;
    op->next = NULL;
    *world->last_op = op;
    world->last_op = &op->next;
    world->outstanding++;
    fake_wake(world);
}

// Flips a bit of what was moved, if it is time.
static void flip(struct op *op, uint8_t *moved) {
    struct world *world = op->ep->object.world;
    if (op->length == 0 || world->flip_in == 0 || --world->flip_in > 0)
        return;
    uint64_t bit = world->flip_bit % (op->length * 8);
    moved[bit / 8] ^= (uint8_t)(1 << bit % 8);
    world->flipped = op->length;
}

static int execute(struct op *op) {
    if (op->kind == OP_SEND) {
        if (!op->peer->object.is_open)
            return FI_ECONNRESET;
        uint8_t *moved = memcpy(malloc(op->length + 1), op->local, op->length);
        flip(op, moved);
        fake_deliver(op->peer, moved, op->length);
        free(moved);
        return 0;
    }
    uint8_t *there = NULL;
    int error = fake_reach(op, &there);
    if (error)
        return error;
    if (op->kind == OP_WRITE) {
        memcpy(there, op->local, op->length);
        flip(op, there);
        if (op->has_data)
            fake_notify(op->peer->cq, op->data);
    } else {
        memcpy(op->local, there, op->length);
        flip(op, op->local);
    }
    return 0;
}

void fake_progress(struct world *world) {
    if (world->completion == COMPLETE_HELD)
        return;
    struct op **at = &world->ops;
    while (*at) {
        struct op *op = *at;
        if (op->is_deferred) {
            at = &op->next;
            continue;
        }
        *at = op->next;
        world->outstanding--;
        int error = world->completion == COMPLETE_FAILED ? world->completion_error : execute(op);
        fake_complete(op->ep->cq, op, 0, world->completion == COMPLETE_BLINDLY ? 0 : error);
        free(op);
    }
    world->last_op = at;
}

void fake_flush(struct ep *ep) {
    for (struct op *op = ep->object.world->ops; op; op = op->next)
        if (op->ep == ep)
            op->is_deferred = false;
}

void fake_drop(struct ep *ep) {
    struct world *world = ep->object.world;
    struct op **at = &world->ops;
    while (*at) {
        struct op *op = *at;
        if (op->ep != ep) {
            at = &op->next;
            continue;
        }
        *at = op->next;
        world->outstanding--;
        free(op);
    }
    world->last_op = at;
    while (ep->receives) {
        struct op *op = ep->receives;
        ep->receives = op->next;
        free(op);
    }
    while (ep->messages) {
        struct message *message = ep->messages;
        ep->messages = message->next;
        free(message);
    }
}

// Where operations have no descriptors: its memory is that of a registration which ends, and of no other.
static bool needs(const struct op *op, const struct mr *mr) {
    if (op->mr || op->length == 0)
        return op->mr == mr;
    if (&mr->domain->object != op->ep->object.parent || !fake_covers(mr, op->local, op->length))
        return false;
    for (const struct object *object = mr->object.world->objects; object; object = object->next) {
        const struct mr *other = SELF(const struct mr, object, object);
        if (object->kind == KIND_MR && object->is_open && other != mr && other->domain == mr->domain && fake_covers(other, op->local, op->length))
            return false;
    }
    return true;
}

bool fake_uses(const struct mr *mr) {
    for (const struct op *op = mr->object.world->ops; op; op = op->next)
        if (needs(op, mr))
            return true;
    for (const struct object *object = mr->object.world->objects; object; object = object->next) {
        if (object->kind != KIND_EP)
            continue;
        for (const struct op *op = SELF(const struct ep, object, object)->receives; op; op = op->next)
            if (needs(op, mr))
                return true;
    }
    return false;
}
