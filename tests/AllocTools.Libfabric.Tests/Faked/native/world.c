// Worlds: what is open in them, what is to fail, what was done wrong.
#define _GNU_SOURCE
#include <stdio.h>
#include "fake.h"

static pthread_mutex_t worlds_lock = PTHREAD_MUTEX_INITIALIZER;
static struct world *worlds;

static void parse(struct config *config, const char *text) {
    *config = (struct config){ .key_size = 8, .max_message = 1 << 20, .depth = 1 << 20, .limit = UINT64_MAX, .delivery = 1, .wait = 1, .flush = 1 };
    struct { const char *name; uint64_t *value; } fields[] = {
        { "mr=", &config->mr_mode }, { "key=", &config->key_size }, { "msg=", &config->max_message }, { "depth=", &config->depth },
        { "limit=", &config->limit }, { "delivery=", &config->delivery }, { "small=", &config->small },
        { "wait=", &config->wait }, { "strict=", &config->strict }, { "flush=", &config->flush },
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const char *at = strstr(text, fields[i].name);
        if (at)
            *fields[i].value = strtoull(at + strlen(fields[i].name), NULL, 0);
    }
}

struct world *fake_find(const char *text) {
    const char *end = text ? strchr(text, ':') : NULL;
    if (!end || end - text >= FAKE_ADDRESS_ROOM)
        return NULL;
    size_t length = (size_t)(end - text);
    pthread_mutex_lock(&worlds_lock);
    struct world *world = worlds;
    while (world && (strncmp(world->name, text, length) != 0 || world->name[length] != 0))
        world = world->next;
    if (!world) {
        world = calloc(1, sizeof *world);
        memcpy(world->name, text, length);
        snprintf(world->text, sizeof world->text, "%s", text);
        parse(&world->config, end);
        pthread_mutex_init(&world->lock, NULL);
        pthread_cond_init(&world->released, NULL);
        world->last_op = &world->ops;
        world->next_key = 1000;
        world->next = worlds;
        worlds = world;
    }
    pthread_mutex_unlock(&worlds_lock);
    return world;
}

void fake_count(struct world *world, const char *call) {
    struct tally *tally = world->tallies;
    while (tally && strcmp(tally->call, call) != 0)
        tally = tally->next;
    if (!tally) {
        tally = calloc(1, sizeof *tally);
        snprintf(tally->call, sizeof tally->call, "%s", call);
        tally->next = world->tallies;
        world->tallies = tally;
    }
    tally->count++;
}

int fake_enter(struct world *world, const char *call) {
    pthread_mutex_lock(&world->lock);
    fake_count(world, call);
    int error = 0;
    bool is_held = false;
    for (struct plan **at = &world->plans; *at;) {
        struct plan *plan = *at;
        if (strcmp(plan->call, call) != 0 || --plan->countdown > 0) {
            at = &plan->next;
            continue;
        }
        error = plan->error;
        is_held = error == 0;
        *at = plan->next;
        free(plan);
    }
    // One that is held keeps nobody else out.
    for (uint64_t before = world->releases; is_held && world->releases == before;)
        pthread_cond_wait(&world->released, &world->lock);
    if (error)
        pthread_mutex_unlock(&world->lock);
    return error;
}

void fake_leave(struct world *world) { pthread_mutex_unlock(&world->lock); }

int fake_misused(struct world *world, int error, const char *format, ...) {
    if (world->misuse[0] == 0) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(world->misuse, sizeof world->misuse, format, arguments);
        va_end(arguments);
    }
    return error;
}

void fake_opened(struct object *object, struct world *world, enum kind kind, struct object *parent) {
    object->world = world;
    object->kind = kind;
    object->is_open = true;
    object->parent = parent;
    if (parent)
        parent->users++;
    object->next = world->objects;
    world->objects = object;
    world->open[kind]++;
}

static const char *const kinds[] = { "fabric", "domain", "av", "cq", "ep", "mr" };

int fake_check(struct object *object, const char *call) {
    if (object->is_open)
        return 0;
    return fake_misused(object->world, -FI_EBADF, "%s on a closed %s", call, kinds[object->kind]);
}

int fake_bind(struct object *object, struct object *other) {
    if (object->bound_count == 4)
        return fake_misused(object->world, -FI_EINVAL, "bound too often");
    object->bound[object->bound_count++] = other;
    other->users++;
    return 0;
}

int fake_close(struct object *object, const char *call) {
    if (fake_check(object, call) != 0)
        return -FI_EBADF;
    if (object->users != 0) {
        // libfabric 1.17 aborts the process at the second time.
        if (object->close_refused++ != 0)
            fake_misused(object->world, 0, "%s once more on a %s that was busy", call, kinds[object->kind]);
        else
            fake_misused(object->world, 0, "%s on a %s with %d open children", call, kinds[object->kind], object->users);
        return -FI_EBUSY;
    }
    object->is_open = false;
    object->world->open[object->kind]--;
    if (object->parent)
        object->parent->users--;
    for (int i = 0; i < object->bound_count; i++)
        object->bound[i]->users--;
    return 0;
}

// What the tests call.

// Without an error the call is held.
void fake_fail(const char *name, const char *call, int k, int error) {
    struct world *world = fake_find(name);
    struct plan *plan = calloc(1, sizeof *plan);
    *plan = (struct plan){ .countdown = k, .error = error };
    snprintf(plan->call, sizeof plan->call, "%s", call);
    pthread_mutex_lock(&world->lock);
    plan->next = world->plans;
    world->plans = plan;
    pthread_mutex_unlock(&world->lock);
}

void fake_release(const char *name) {
    struct world *world = fake_find(name);
    pthread_mutex_lock(&world->lock);
    world->releases++;
    pthread_cond_broadcast(&world->released);
    pthread_mutex_unlock(&world->lock);
}

void fake_completions(const char *name, int completion, int error) {
    struct world *world = fake_find(name);
    pthread_mutex_lock(&world->lock);
    world->completion = (enum completion)completion;
    world->completion_error = error;
    fake_wake(world);
    pthread_mutex_unlock(&world->lock);
}

// The k-th operation from now that moves bytes, whatever it is, has that bit of them flipped where they come to.
void fake_flip(const char *name, long k, uint64_t bit) {
    struct world *world = fake_find(name);
    pthread_mutex_lock(&world->lock);
    world->flip_in = k;
    world->flip_bit = bit;
    world->flipped = 0;
    pthread_mutex_unlock(&world->lock);
}

// How many bytes it has moved; 0 while it has not come.
uint64_t fake_flipped(const char *name) {
    struct world *world = fake_find(name);
    pthread_mutex_lock(&world->lock);
    uint64_t flipped = world->flipped;
    pthread_mutex_unlock(&world->lock);
    return flipped;
}

// Each call that was made, as "call count" lines.
void fake_calls(const char *name, char *into, size_t room) {
    struct world *world = fake_find(name);
    pthread_mutex_lock(&world->lock);
    size_t used = 0;
    into[0] = 0;
    for (struct tally *tally = world->tallies; tally && used < room; tally = tally->next)
        used += (size_t)snprintf(into + used, room - used, "%s %ld\n", tally->call, tally->count);
    pthread_mutex_unlock(&world->lock);
}

// What is open: registered bytes, then objects by kind, then interfaces that fi_freeinfo has not seen.
void fake_open(const char *name, int64_t *into) {
    struct world *world = fake_find(name);
    pthread_mutex_lock(&world->lock);
    into[0] = (int64_t)world->registered;
    for (int i = 0; i < KIND_COUNT; i++)
        into[1 + i] = world->open[i];
    into[1 + KIND_COUNT] = world->infos;
    pthread_mutex_unlock(&world->lock);
}

void fake_misuse(const char *name, char *into, size_t room) {
    struct world *world = fake_find(name);
    pthread_mutex_lock(&world->lock);
    snprintf(into, room, "%s", world->misuse);
    pthread_mutex_unlock(&world->lock);
}

void fake_forget_misuse(const char *name) {
    struct world *world = fake_find(name);
    pthread_mutex_lock(&world->lock);
    world->misuse[0] = 0;
    pthread_mutex_unlock(&world->lock);
}
