/* Arrays of zeros, and an allocator for tests: it counts what is out, remembers the largest request
 * and fails at one call. Include it after af_test.h. */
#ifndef AF_HEAP_H
#define AF_HEAP_H

static inline double *test_array(size_t n) {
    double *x = (double *)calloc(n ? n : 1, sizeof *x);
    if (!x) exit(2);
    return x;
}

typedef struct heap {
    long live, calls, fail_at; /* blocks that are out; requests; fail_at 0: never */
    size_t bytes, largest;     /* that are out; of one request */
} heap;

static inline void *heap_allocate(size_t bytes, void *user) {
    heap *h = (heap *)user;
    void *memory;
    if (++h->calls == h->fail_at) return NULL;
    if (bytes > h->largest) h->largest = bytes;
    if (bytes > (size_t)1 << 30) return NULL; /* no test needs a gigabyte */
    memory = malloc(bytes);
    if (memory) {
        h->live++;
        h->bytes += bytes;
    }
    return memory;
}

static inline void heap_release(void *pointer, size_t bytes, void *user) {
    heap *h = (heap *)user;
    if (pointer) {
        h->live--;
        h->bytes -= bytes;
    }
    free(pointer);
}

static inline af_allocator heap_allocator(heap *h) {
    af_allocator a;
    memset(&a, 0, sizeof a);
    a.allocate = heap_allocate;
    a.release = heap_release;
    a.user = h;
    return a;
}

/* A context with such an allocator, which begins at zero and fails at this call. */
static inline af_status heap_open(heap *h, long fail_at, int threads, af_context **out) {
    af_context_desc d = AF__ZERO;
    memset(h, 0, sizeof *h);
    h->fail_at = fail_at;
    d.allocator = heap_allocator(h);
    d.threads = threads;
    return af_context_create(&d, out);
}

/* The same, where the allocator goes on as it is; NULL when it failed. */
static inline af_context *heap_context(heap *h, int threads) {
    af_context_desc d = AF__ZERO;
    af_context *c = NULL;
    d.allocator = heap_allocator(h);
    d.threads = threads;
    af_context_create(&d, &c);
    return c;
}

#endif
