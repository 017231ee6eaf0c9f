// Exported functions: fi_getinfo, and what is done to its lists.
#define _GNU_SOURCE
#include <stdio.h>
#include "fake.h"

static uint32_t version = FI_VERSION(1, 17);
static int empty_infos = -1; // How many more fi_dupinfo makes of nothing; without a limit

// For the libraries that are loaded from here on.
void fake_version(uint32_t value) { version = value; }

// fi_allocinfo(3) is fi_dupinfo of nothing, which belongs to no world.
void fake_limit_infos(int count) { empty_infos = count; }

uint32_t fi_version(void) { return version; }

const char *fi_strerror(int error) { return error < 256 ? strerror(error) : "an error of libfabric's own"; }

static void *copy(const void *from, size_t length) {
    void *made = calloc(1, length);
    if (from)
        memcpy(made, from, length);
    return made;
}

static char *copy_text(const char *text) { return text ? strdup(text) : NULL; }

static struct fi_info *duplicate(const struct fi_info *from) {
    struct fi_info *info = copy(from, sizeof *info);
    info->next = NULL;
    info->tx_attr = copy(from ? from->tx_attr : NULL, sizeof *info->tx_attr);
    info->rx_attr = copy(from ? from->rx_attr : NULL, sizeof *info->rx_attr);
    info->ep_attr = copy(from ? from->ep_attr : NULL, sizeof *info->ep_attr);
    info->domain_attr = copy(from ? from->domain_attr : NULL, sizeof *info->domain_attr);
    info->fabric_attr = copy(from ? from->fabric_attr : NULL, sizeof *info->fabric_attr);
    info->domain_attr->name = copy_text(info->domain_attr->name);
    info->fabric_attr->name = copy_text(info->fabric_attr->name);
    info->fabric_attr->prov_name = copy_text(info->fabric_attr->prov_name);
    info->src_addr = NULL;
    info->dest_addr = NULL;
    info->nic = NULL;
    info->handle = NULL;
    return info;
}

// The handle, which nobody has a use for here, says whose it is.
static void count(struct fi_info *info, struct world *world) {
    info->handle = (fid_t)world;
    world->infos++;
}

struct fi_info *fi_dupinfo(const struct fi_info *from) {
    // Hints that are empty belong to no world yet.
    struct world *world = from ? fake_find(from->domain_attr->name) : NULL;
    if (world && fake_enter(world, "fi_dupinfo") != 0)
        return NULL;
    if (!from && empty_infos >= 0 && empty_infos-- <= 0)
        return NULL;
    struct fi_info *info = duplicate(from);
    if (world) {
        count(info, world);
        fake_leave(world);
    }
    return info;
}

void fi_freeinfo(struct fi_info *info) {
    while (info) {
        struct fi_info *next = info->next;
        struct world *world = (struct world *)info->handle;
        if (world) {
            pthread_mutex_lock(&world->lock);
            world->infos--;
            pthread_mutex_unlock(&world->lock);
        }
        free(info->domain_attr->name);
        free(info->fabric_attr->name);
        free(info->fabric_attr->prov_name);
        free(info->tx_attr);
        free(info->rx_attr);
        free(info->ep_attr);
        free(info->domain_attr);
        free(info->fabric_attr);
        free(info);
        info = next;
    }
}

int fi_getinfo(uint32_t api, const char *node, const char *service, uint64_t flags, const struct fi_info *hints, struct fi_info **info) {
    (void)api, (void)node, (void)service, (void)flags;
    struct world *world = hints ? fake_find(hints->domain_attr->name) : NULL;
    if (!world || !hints->fabric_attr->prov_name || strcmp(hints->fabric_attr->prov_name, "fake") != 0)
        return -FI_ENODATA;
    int error = fake_enter(world, "fi_getinfo");
    if (error)
        return error;
    struct config *config = &world->config;
    bool is_offered = (config->mr_mode & ~(uint64_t)hints->domain_attr->mr_mode) == 0
        && (config->delivery || !(hints->tx_attr->op_flags & FI_DELIVERY_COMPLETE));
    if (is_offered) {
        struct fi_info *made = duplicate(hints);
        made->domain_attr->mr_mode = (int)config->mr_mode;
        made->domain_attr->mr_key_size = config->key_size;
        made->domain_attr->mr_cnt = 1024;
        made->domain_attr->cq_data_size = 8;
        made->caps &= ~FI_SOURCE;
        made->domain_attr->av_type = FI_AV_TABLE;
        made->ep_attr->max_msg_size = config->max_message;
        made->tx_attr->msg_order = FI_ORDER_SAS | FI_ORDER_SAW;
        made->tx_attr->size = made->rx_attr->size = 1024;
        made->tx_attr->iov_limit = made->rx_attr->iov_limit = 4;
        made->addr_format = FI_ADDR_STR;
        made->mode = 0;
        made->fabric_attr->name = strdup(world->text);
        count(made, world);
        *info = made;
    }
    fake_leave(world);
    return is_offered ? 0 : -FI_ENODATA;
}
