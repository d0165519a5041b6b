/* ---- base: visibility, status, context ------------------------------------------------------- */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
#  define AF__ZERO {}
#else
#  define AF__ZERO {0}
#endif

#if defined(__GNUC__) || defined(__clang__)
#  define AF__UNUSED __attribute__((unused))
#else
#  define AF__UNUSED
#endif

#define AF__PI 3.14159265358979323846264338327950288

enum { AF__ERROR_CAPACITY = 512, AF__ALIGNMENT = 64, AF__BLOCK_BYTES = 65536 };

/* A list of blocks from one allocator, freed together: every object of the library owns one. */
typedef struct af__block {
    struct af__block *next;
    size_t bytes; /* of the whole block, header included */
    size_t used;
} af__block;

typedef struct af__arena {
    af_allocator allocator;
    af__block *blocks; /* the first one is being filled */
    void *grown;       /* AF__RESERVE's hand-over */
} af__arena;

struct af__graph; /* the expressions: floor expr */

struct af_context {
    af_allocator allocator;
    af_logger logger;
    const af_backend *backend; /* NULL: the CPU */
    int threads;
    af_status status;
    char error[AF__ERROR_CAPACITY];
    af__arena arena;
    struct af__graph *graph;
};

static void *af__default_allocate(size_t bytes, void *user) {
    (void)user;
    return malloc(bytes);
}

static void af__default_release(void *pointer, size_t bytes, void *user) {
    (void)bytes;
    (void)user;
    free(pointer);
}

static af_status af__vfail(af_context *context, af_status status, const char *format,
                           va_list arguments) {
    if (context->status == AF_OK) {
        vsnprintf(context->error, sizeof context->error, format, arguments);
        context->status = status;
    }
    return status;
}

AF__UNUSED AF_PRINTF(3, 4) static af_status af__fail(af_context *context, af_status status,
                                                    const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    status = af__vfail(context, status, format, arguments);
    va_end(arguments);
    return status;
}

AF_API af_status af_fail(af_context *context, af_status status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    status = af__vfail(context, status, format, arguments);
    va_end(arguments);
    return status;
}

AF__UNUSED static af_status af__fail_memory(af_context *context, const char *what) {
    return af__fail(context, AF_ERROR_MEMORY, "out of memory: %s", what);
}

static void af__vlog(af_context *context, const char *format, va_list arguments) {
    char text[AF__ERROR_CAPACITY];
    if (!context->logger.log) return;
    vsnprintf(text, sizeof text, format, arguments);
    context->logger.log(text, context->logger.user);
}

AF__UNUSED AF_PRINTF(2, 3) static void af__log(af_context *context, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    af__vlog(context, format, arguments);
    va_end(arguments);
}

AF_API void af_say(af_context *context, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    af__vlog(context, format, arguments);
    va_end(arguments);
}

AF_API af_status af_context_create(const af_context_desc *desc, af_context **out) {
    af_context_desc d = AF__ZERO;
    af_context *context;
    *out = NULL;
    if (desc) d = *desc;
    if (d.start_canary != 0 || d.end_canary != 0) return AF_ERROR_ARGUMENT;
    if (d.allocator.allocate && !d.allocator.release) return AF_ERROR_ARGUMENT;
    if (!d.allocator.allocate) {
        d.allocator.allocate = af__default_allocate;
        d.allocator.release = af__default_release;
    }
    context = (af_context *)d.allocator.allocate(sizeof *context, d.allocator.user);
    if (!context) return AF_ERROR_MEMORY;
    memset(context, 0, sizeof *context);
    context->allocator = d.allocator;
    context->logger = d.logger;
    context->backend = d.backend;
    context->threads = d.threads;
    context->arena.allocator = d.allocator;
    *out = context;
    return AF_OK;
}

static void af__arena_free(af__arena *arena);

AF_API void af_context_destroy(af_context *context) {
    af_allocator allocator;
    if (!context) return;
    allocator = context->allocator;
    af__arena_free(&context->arena);
    allocator.release(context, sizeof *context, allocator.user);
}

AF_API void af_context_set_threads(af_context *context, int threads) {
    context->threads = threads;
}

AF_API const char *af_error(const af_context *context) { return context->error; }

AF_API af_status af_error_status(const af_context *context) { return context->status; }

AF_API void af_error_clear(af_context *context) {
    context->status = AF_OK;
    context->error[0] = 0;
}

AF_API af_allocator af_context_allocator(const af_context *context) {
    return context->allocator;
}

AF_API int af_context_threads(const af_context *context) { return context->threads; }

AF_API const af_backend *af_context_backend(const af_context *context) { return context->backend; }

AF_API const char *af_version(void) { return AF_VERSION; }
