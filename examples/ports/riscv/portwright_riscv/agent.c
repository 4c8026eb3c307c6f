/* The simulator that RISC-V International's Riscv starts with: memory of the machine that it runs on, kernels by dlopen.

   It speaks version 1 of Portwright's protocol (docs/porting/simulator.md): requests on stdin, answers on stdout.
   It is yours. Put the chip's model where the comments say MODEL, or let the chip's real simulator speak the same
   protocol and name it in port.py instead. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HELLO = 1, ALLOC, FREE, WRITE, READ, LOAD, LAUNCH, SYNC, CLOSE };
enum { OK, NO_MEMORY, REFUSED, FAULT };
enum { VERSION = 1, MOST_BUFFERS = 256, MOST_ENTRY = 1024 };
static const uint64_t most_data = 64u << 20; /* bytes of one WRITE or READ */
/* A name, its version, and what it counts: "cycles" once they are the chip's; only then seconds are claimed. */
static const char about[] = "riscv-agent\n1\nwork items";

typedef void (*kernel)(void *const *buffers, long first, long last);
struct buffer { unsigned char *at; uint64_t size; uint32_t uses; }; /* uses: how often the place was given out */

static struct buffer *buffers;
static kernel *programs;
static uint32_t buffer_count, program_count;
static uint64_t launch_cycles, total_cycles;
static uint64_t left;              /* bytes of the request's body that are not read yet */
static int out;                    /* where answers go: stdout is stderr's from the start */
static const unsigned char *payload; /* of the answer */
static uint64_t payload_size;
static char text[1024];

/* ---------------------------------------------------------------------------------------------- pipes */

static void take(void *to, uint64_t n) { /* from stdin; when that ends, so do we */
  for (unsigned char *p = to; n;) {
    ssize_t got = read(0, p, n);
    if (got <= 0) exit(0);
    p += got, n -= (uint64_t)got;
  }
}

static void give(const void *from, uint64_t n) {
  for (const unsigned char *p = from; n;) {
    ssize_t put = write(out, p, n);
    if (put <= 0) exit(1);
    p += put, n -= (uint64_t)put;
  }
}

static uint64_t get(const unsigned char *p, int bytes) {
  uint64_t v = 0;
  for (int i = bytes; i--;) v = v << 8 | p[i];
  return v;
}

static void put(unsigned char *p, uint64_t v, int bytes) {
  for (int i = 0; i < bytes; i++) p[i] = (unsigned char)(v >> 8 * i);
}

static int body(void *to, uint64_t n) { /* the next bytes of the body; 0 when it is shorter */
  if (n > left) return 0;
  left -= n;
  take(to, n);
  return 1;
}

static int say(int status, const char *format, ...) { /* the status, with the text that explains it */
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  payload = (unsigned char *)text, payload_size = strlen(text);
  return status;
}

static int number(uint64_t n) { /* OK, with a number for an answer */
  static unsigned char raw[8];
  put(raw, n, 8);
  payload = raw, payload_size = 8;
  return OK;
}

static int is_short(void) { return say(REFUSED, "the body is shorter than its verb wants"); }

/* --------------------------------------------------------------------------------------------- memory */

static struct buffer *held(uint64_t handle) { /* NULL: no buffer that is held */
  uint32_t at = (uint32_t)handle;
  if (!at || at > buffer_count) return NULL;
  struct buffer *b = &buffers[at - 1];
  return b->at && b->uses == handle >> 32 ? b : NULL;
}

static int no_buffer(uint64_t handle) {
  return say(REFUSED, "%#llx is no buffer: never given out, or given back", (unsigned long long)handle);
}

static void *grown(void *array, uint32_t count, size_t size) { /* room for one more */
  if (count & (count - 1)) return array;
  array = realloc(array, (count ? 2 * (size_t)count : 1) * size);
  if (!array) abort();
  return array;
}

static int do_alloc(void) { /* MODEL: the chip's memory */
  static uint32_t next; /* where to look for a free place */
  unsigned char raw[16];
  if (!body(raw, 16)) return is_short();
  uint64_t size = get(raw, 8), alignment = get(raw + 8, 8);
  void *at;
  if (alignment < sizeof(void *)) alignment = sizeof(void *);
  if (size > SIZE_MAX / 2 || posix_memalign(&at, alignment, size ? size : 1))
    return say(NO_MEMORY, "malloc has no %llu bytes", (unsigned long long)size);
  for (uint32_t i = 0; i < buffer_count; i++, next++)
    if (!buffers[next %= buffer_count].at) goto found;
  buffers = grown(buffers, buffer_count, sizeof *buffers);
  next = buffer_count++;
  buffers[next].uses = 0;
found:
  buffers[next] = (struct buffer){at, size, buffers[next].uses + 1};
  return number((uint64_t)buffers[next].uses << 32 | (next + 1));
}

static int do_free(void) {
  unsigned char raw[8];
  if (!body(raw, 8)) return is_short();
  struct buffer *b = held(get(raw, 8));
  if (!b) return no_buffer(get(raw, 8));
  free(b->at);
  b->at = NULL;
  return OK;
}

static int do_copy(int verb) { /* WRITE and READ */
  unsigned char raw[24];
  if (!body(raw, verb == READ ? 24 : 16)) return is_short();
  struct buffer *b = held(get(raw, 8));
  uint64_t offset = get(raw + 8, 8), size = verb == READ ? get(raw + 16, 8) : left;
  if (!b) return no_buffer(get(raw, 8));
  if (size > most_data || offset > b->size || size > b->size - offset)
    return say(REFUSED, "%llu bytes at %llu lie outside of a buffer of %llu", (unsigned long long)size,
               (unsigned long long)offset, (unsigned long long)b->size);
  if (verb == WRITE) body(b->at + offset, size);
  else payload = b->at + offset, payload_size = size;
  return OK;
}

/* -------------------------------------------------------------------------------------------- kernels */

static int do_load(void) { /* MODEL: the chip's own image format */
  unsigned char raw[4], chunk[1 << 16];
  char entry[MOST_ENTRY + 1], path[512];
  if (!body(raw, 4)) return is_short();
  uint64_t length = get(raw, 4);
  if (length > MOST_ENTRY) return say(REFUSED, "an entry's name has at most %d bytes", MOST_ENTRY);
  if (!body(entry, length)) return is_short();
  entry[length] = 0;
  snprintf(path, sizeof path, "%s/riscv-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
  int file = mkstemp(path);
  if (file < 0) return say(REFUSED, "no file can be made for the image: %s", path);
  int whole = 1;
  while (left) {
    uint64_t n = left < sizeof chunk ? left : sizeof chunk;
    body(chunk, n);
    whole &= write(file, chunk, n) == (ssize_t)n;
  }
  close(file);
  void *library = whole ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
  unlink(path);
  if (!library) return say(REFUSED, "the image does not load: %s", whole ? dlerror() : "no room to write it");
  kernel k = (kernel)(uintptr_t)dlsym(library, entry);
  if (!k) return say(REFUSED, "the image has no entry %s", entry);
  programs = grown(programs, program_count, sizeof *programs);
  programs[program_count++] = k;
  return number(program_count);
}

static int do_launch(void) { /* MODEL: the chip's cores, and its true count of cycles */
  unsigned char raw[40], handle[8];
  void *arguments[MOST_BUFFERS];
  if (!body(raw, 40)) return is_short();
  uint64_t program = get(raw, 8), items = get(raw + 8, 4), count = get(raw + 32, 4);
  if (!program || program > program_count) return say(REFUSED, "no program %llu", (unsigned long long)program);
  for (int i = 12; i < 32; i += 4)
    if (get(raw + i, 4) != 1) return say(REFUSED, "work items have one axis here, and blocks one thread");
  if (count > MOST_BUFFERS) return say(REFUSED, "a launch has at most %d buffers", MOST_BUFFERS);
  for (uint64_t i = 0; i < count; i++) {
    if (!body(handle, 8)) return is_short();
    struct buffer *b = held(get(handle, 8));
    if (!b) return no_buffer(get(handle, 8));
    arguments[i] = b->at;
  }
  programs[program - 1](arguments, 0, (long)items);
  launch_cycles = items, total_cycles += items;
  return OK;
}

/* ----------------------------------------------------------------------------------------- the protocol */

static int do_hello(void) {
  static unsigned char raw[40 + sizeof about];
  unsigned char version[4];
  if (!body(version, 4)) return is_short();
  put(raw, VERSION, 4); /* whichever was asked for: who reads it knows what to do */
  put(raw + 4, MOST_BUFFERS, 4);
  put(raw + 8, 0, 8); /* bytes of memory: not said */
  put(raw + 16, most_data, 8);
  put(raw + 24, 1, 4);                               /* threads of a block */
  put(raw + 28, 0x7fffffff, 4);                      /* work items */
  put(raw + 32, 1, 4), put(raw + 36, 1, 4);
  memcpy(raw + 40, about, sizeof about - 1);
  payload = raw, payload_size = 40 + sizeof about - 1;
  return OK;
}

static int answer(uint64_t verb) {
  switch (verb) {
  case HELLO: return do_hello();
  case ALLOC: return do_alloc();
  case FREE: return do_free();
  case WRITE: case READ: return do_copy((int)verb);
  case LOAD: return do_load();
  case LAUNCH: return do_launch();
  case SYNC: case CLOSE: return OK; /* a launch is answered when it is done: there is nothing to wait for */
  default: return say(REFUSED, "verb %llu is none of version %d", (unsigned long long)verb, VERSION);
  }
}

int main(void) {
  out = dup(1); /* what a kernel prints goes to stderr, and not between the answers */
  dup2(2, 1);
  for (;;) {
    unsigned char request[16], head[40] = "PWSA", rest[4096];
    take(request, 16);
    uint64_t verb = get(request, 4);
    left = get(request + 8, 8), payload_size = 0;
    int status = answer(verb);
    while (left) body(rest, left < sizeof rest ? left : sizeof rest); /* of a body that was too long, or refused */
    put(head + 4, (uint64_t)status, 4);
    memcpy(head + 8, request, 8); /* verb and number */
    put(head + 16, launch_cycles, 8), put(head + 24, total_cycles, 8), put(head + 32, payload_size, 8);
    give(head, 40);
    give(payload, payload_size);
    if (verb == CLOSE) return 0;
  }
}
