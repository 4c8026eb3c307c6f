/* The driver of Kestrel, imitated on the host: see kestrel.h.
 *
 *     cc -O2 -shared -fPIC kestrel.c -o libkestrel.so -ldl */
#define _GNU_SOURCE
#include "kestrel.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEMORY (1ull << 30)
#define BASE 0x4b00000000ull /* where the chip's addresses begin: no address of the host's */
#define LINE 256ull          /* memory is given out in lines */
#define QUEUE 64

static const char MAGIC[] = "KESTREL1";

struct frame { long long lane; void *const *arguments; };
struct kestrel_function { void (*code)(const struct frame *); };
struct kestrel_module { void *code; };

typedef struct block { uint64_t at, nbytes; int used; struct block *next; } block;
typedef struct {
    kestrel_function *function;
    uint64_t lanes;
    void *arguments[KESTREL_MOST_ARGUMENTS];
} launch;

struct kestrel_device {
    char *memory;
    block *blocks; /* all of the memory, in order of address */
    launch queue[QUEUE];
    int queued;
};

static _Thread_local char said[256];

static kestrel_status fail(kestrel_status status, const char *format, ...) {
    va_list values;
    va_start(values, format);
    vsnprintf(said, sizeof said, format, values);
    va_end(values);
    return status;
}

const char *kestrel_last_error(void) { return said; }

kestrel_status kestrel_open(int number, kestrel_device **device) {
    if (number != 0) return fail(KESTREL_NO_DEVICE, "there is no Kestrel number %d", number);
    kestrel_device *made = calloc(1, sizeof *made);
    block *all = calloc(1, sizeof *all);
    int how = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    char *memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, how, -1, 0);
    if (!made || !all || memory == MAP_FAILED) {
        if (memory != MAP_FAILED) munmap(memory, MEMORY);
        free(all);
        free(made);
        return fail(KESTREL_OUT_OF_MEMORY, "the host has no room to imitate a Kestrel");
    }
    all->nbytes = MEMORY;
    made->memory = memory;
    made->blocks = all;
    *device = made;
    return KESTREL_OK;
}

void kestrel_close(kestrel_device *device) {
    for (block *b = device->blocks, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    munmap(device->memory, MEMORY);
    free(device);
}

kestrel_status kestrel_describe(kestrel_device *device, kestrel_properties *properties) {
    (void)device;
    memset(properties, 0, sizeof *properties);
    strcpy(properties->name, "Kestrel K1 (imitated)");
    strcpy(properties->version, "2024.3");
    properties->lanes = 64;
    properties->memory = MEMORY;
    return KESTREL_OK;
}

/* ------------------------------------------------------------------------------------------ memory */

/* The block in use that holds nbytes from an address on. */
static block *find(kestrel_device *device, kestrel_address address, uint64_t nbytes) {
    for (block *b = device->blocks; b; b = b->next)
        if (b->used && address >= BASE + b->at && address - BASE - b->at < b->nbytes)
            return nbytes <= b->nbytes - (address - BASE - b->at) ? b : NULL;
    return NULL;
}

kestrel_status kestrel_malloc(kestrel_device *device, uint64_t nbytes, kestrel_address *address) {
    uint64_t lines = (nbytes + LINE - 1) / LINE * LINE;
    block *b = device->blocks;
    while (b && (b->used || b->nbytes < lines)) b = b->next;
    if (!b || nbytes == 0 || nbytes > MEMORY)
        return fail(KESTREL_OUT_OF_MEMORY, "no room for %llu bytes", (unsigned long long)nbytes);
    if (b->nbytes > lines) {
        block *rest = calloc(1, sizeof *rest);
        if (!rest) return fail(KESTREL_OUT_OF_MEMORY, "the host has no room");
        *rest = (block){b->at + lines, b->nbytes - lines, 0, b->next};
        b->nbytes = lines;
        b->next = rest;
    }
    b->used = 1;
    *address = BASE + b->at;
    return KESTREL_OK;
}

kestrel_status kestrel_free(kestrel_device *device, kestrel_address address) {
    kestrel_synchronize(device);
    block *b = find(device, address, 1);
    if (!b || BASE + b->at != address)
        return fail(KESTREL_BAD_ADDRESS, "nothing was allocated at 0x%llx", (unsigned long long)address);
    b->used = 0;
    for (block *c = device->blocks; c;) { /* neighbours that are free become one */
        block *next = c->next;
        if (next && !c->used && !next->used) {
            c->nbytes += next->nbytes;
            c->next = next->next;
            free(next);
        } else {
            c = next;
        }
    }
    return KESTREL_OK;
}

/* Where the host keeps nbytes of the chip's memory; NULL where they are not of one allocation. */
static void *reach(kestrel_device *device, kestrel_address address, uint64_t nbytes) {
    if (find(device, address, nbytes)) return device->memory + (address - BASE);
    fail(KESTREL_BAD_ADDRESS, "%llu bytes from 0x%llx on are not of one allocation",
         (unsigned long long)nbytes, (unsigned long long)address);
    return NULL;
}

kestrel_status kestrel_upload(kestrel_device *device, kestrel_address to, const void *from, uint64_t nbytes) {
    void *host = reach(device, to, nbytes);
    if (!host) return KESTREL_BAD_ADDRESS;
    memcpy(host, from, nbytes);
    return KESTREL_OK;
}

kestrel_status kestrel_download(kestrel_device *device, void *to, kestrel_address from, uint64_t nbytes) {
    void *host = reach(device, from, nbytes);
    if (!host) return KESTREL_BAD_ADDRESS;
    memcpy(to, host, nbytes);
    return KESTREL_OK;
}

/* ----------------------------------------------------------------------------------------- kernels */

kestrel_status kestrel_load(kestrel_device *device, const void *image, uint64_t nbytes,
                            kestrel_module **module) {
    (void)device;
    uint64_t head = sizeof MAGIC - 1;
    if (nbytes < head || memcmp(image, MAGIC, head) != 0)
        return fail(KESTREL_BAD_IMAGE, "an image that kestrel-cc did not write");
    char path[] = "/tmp/kestrel-image-XXXXXX";
    int file = mkstemp(path);
    if (file < 0) return fail(KESTREL_BAD_IMAGE, "no room in /tmp for an image");
    const char *from = (const char *)image + head, *end = (const char *)image + nbytes;
    while (from < end) {
        ssize_t wrote = write(file, from, (size_t)(end - from));
        if (wrote <= 0) break;
        from += wrote;
    }
    close(file);
    void *code = from == end ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    unlink(path);
    if (!code) return fail(KESTREL_BAD_IMAGE, "this image does not load: %s", from == end ? dlerror() : "");
    *module = calloc(1, sizeof **module);
    (*module)->code = code;
    return KESTREL_OK;
}

kestrel_status kestrel_find(kestrel_module *module, const char *name, kestrel_function **function) {
    void *code = dlsym(module->code, name);
    if (!code) return fail(KESTREL_NO_FUNCTION, "the image has no kernel '%s'", name);
    *function = calloc(1, sizeof **function);
    memcpy(&(*function)->code, &code, sizeof code);
    return KESTREL_OK;
}

kestrel_status kestrel_launch(kestrel_device *device, kestrel_function *function, uint64_t lanes,
                              const kestrel_address *arguments, uint32_t count) {
    if (count > KESTREL_MOST_ARGUMENTS)
        return fail(KESTREL_BAD_ARGUMENT, "%u arguments: a kernel takes fewer", count);
    if (device->queued == QUEUE) kestrel_synchronize(device);
    launch *l = &device->queue[device->queued];
    for (uint32_t i = 0; i < count; i++) {
        l->arguments[i] = reach(device, arguments[i], 1);
        if (!l->arguments[i]) return KESTREL_BAD_ADDRESS;
    }
    l->function = function;
    l->lanes = lanes;
    device->queued++;
    return KESTREL_OK;
}

kestrel_status kestrel_synchronize(kestrel_device *device) {
    for (int i = 0; i < device->queued; i++) {
        launch *l = &device->queue[i];
        struct frame frame = {0, l->arguments};
        for (frame.lane = 0; (uint64_t)frame.lane < l->lanes; frame.lane++) l->function->code(&frame);
    }
    device->queued = 0;
    return KESTREL_OK;
}
