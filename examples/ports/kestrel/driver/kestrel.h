/* The driver of Kestrel, an invented accelerator with 64 lanes and memory of its own.
 *
 * It stands for what a vendor ships. The chip is imitated on the host: its memory is an arena whose addresses
 * mean nothing to the host, its kernels are images made by kestrel-cc.
 *
 * Every function returns a kestrel_status, and kestrel_last_error() says more. Launches are put into a queue
 * and run in order; uploads and downloads do not wait for them, kestrel_synchronize() does. */
#ifndef KESTREL_H
#define KESTREL_H
#include <stdint.h>

#define KESTREL_MOST_ARGUMENTS 32

typedef enum {
    KESTREL_OK, KESTREL_NO_DEVICE, KESTREL_OUT_OF_MEMORY, KESTREL_BAD_ADDRESS, KESTREL_BAD_IMAGE,
    KESTREL_NO_FUNCTION, KESTREL_BAD_ARGUMENT
} kestrel_status;
typedef uint64_t kestrel_address; /* in the chip's memory; 0 is none */
typedef struct kestrel_device kestrel_device;
typedef struct kestrel_module kestrel_module;
typedef struct kestrel_function kestrel_function;
typedef struct { char name[32]; char version[16]; uint32_t lanes; uint64_t memory; } kestrel_properties;

kestrel_status kestrel_open(int number, kestrel_device **device);
void kestrel_close(kestrel_device *device);
kestrel_status kestrel_describe(kestrel_device *device, kestrel_properties *properties);
const char *kestrel_last_error(void);

kestrel_status kestrel_malloc(kestrel_device *device, uint64_t nbytes, kestrel_address *address);
kestrel_status kestrel_free(kestrel_device *device, kestrel_address address); /* once the queue is done */
kestrel_status kestrel_upload(kestrel_device *device, kestrel_address to, const void *from, uint64_t nbytes);
kestrel_status kestrel_download(kestrel_device *device, void *to, kestrel_address from, uint64_t nbytes);

/* An image as kestrel-cc writes it; it may be freed once this returns. */
kestrel_status kestrel_load(kestrel_device *device, const void *image, uint64_t nbytes,
                            kestrel_module **module);
kestrel_status kestrel_find(kestrel_module *module, const char *name, kestrel_function **function);

/* Puts a kernel into the queue: it runs once for each of the lanes 0 to lanes - 1. Its arguments are
 * addresses in the chip's memory, at most KESTREL_MOST_ARGUMENTS. */
kestrel_status kestrel_launch(kestrel_device *device, kestrel_function *function, uint64_t lanes,
                              const kestrel_address *arguments, uint32_t count);
kestrel_status kestrel_synchronize(kestrel_device *device);
#endif
