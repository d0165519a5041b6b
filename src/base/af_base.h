/* ---- base: visibility, status, context ------------------------------------------------------- */

#include <stddef.h>
#include <stdint.h>

#define AF_VERSION_MAJOR 0
#define AF_VERSION_MINOR 1
#define AF_VERSION_PATCH 0
#define AF_VERSION "0.1.0"

#ifndef AF_API
#  ifdef AF_STATIC
#    if defined(__GNUC__) || defined(__clang__)
#      define AF_API __attribute__((unused)) static
#    else
#      define AF_API static
#    endif
#  elif defined(__cplusplus)
#    define AF_API extern "C"
#  else
#    define AF_API extern
#  endif
#endif

/* Lets the compiler check the arguments of a printf-like function. */
#if defined(__GNUC__) || defined(__clang__)
#  define AF_PRINTF(format_index, first_index) \
    __attribute__((format(printf, format_index, first_index)))
#else
#  define AF_PRINTF(format_index, first_index)
#endif

/* What a function that can fail returns. The sentence that goes with it is af_error(context). */
typedef enum af_status {
    AF_OK = 0,
    AF_ERROR_MEMORY,    /* the allocator returned NULL, or a size overflows */
    AF_ERROR_SHAPE,     /* shapes that do not fit together */
    AF_ERROR_ARGUMENT,  /* an argument outside what the function documents */
    AF_ERROR_IO,        /* a file could not be opened, read or written */
    AF_ERROR_FORMAT,    /* a file is not what it should be */
    AF_ERROR_DATA,      /* the data make the task impossible: NaN, one star a stream, unbound */
    AF_ERROR_BACKEND,   /* the device failed */
    AF_ERROR_NONFINITE, /* a computed value is not finite */
    AF_STOPPED          /* the caller's progress function asked to stop; results are valid */
} af_status;

/* Memory comes from here. `release` gets the size that was asked for. allocate NULL: malloc and
 * free; otherwise release must be there too. */
typedef struct af_allocator {
    void *(*allocate)(size_t bytes, void *user);
    void (*release)(void *pointer, size_t bytes, void *user);
    void *user;
} af_allocator;

/* Messages go here: what a finder has chosen from the data, where a training resumes. The sentence
 * is the callback's for the call. Without a logger the library is silent. */
typedef struct af_logger {
    void (*log)(const char *sentence, void *user);
    void *user;
} af_logger;

/* What runs compiled functions: see af_program.h. */
typedef struct af_backend af_backend;

/* Zero means default for every field. The canaries must stay zero: they catch a struct that was
 * never initialised. */
typedef struct af_context_desc {
    uint32_t start_canary;
    af_allocator allocator;
    af_logger logger;
    const af_backend *backend; /* of all functions compiled in this context that name none, those of
                                  fits and evaluators too; NULL: the CPU */
    int threads; /* 0: as many as OpenMP would use; results do not depend on it */
    uint32_t end_canary;
} af_context_desc;

/* Owns expressions and remembers the first error. One thread at a time per context; different
 * contexts are independent. */
typedef struct af_context af_context;

/* Creates a context; desc NULL means all defaults. Fails with AF_ERROR_MEMORY, or AF_ERROR_ARGUMENT
 * when a canary is not zero or an allocator cannot release; *out is NULL then. */
AF_API af_status af_context_create(const af_context_desc *desc, af_context **out);

/* Frees the context and every expression in it. Functions, parameter stores and models made with it
 * must be destroyed first. NULL is fine. */
AF_API void af_context_destroy(af_context *context);

/* Threads used for work made with this context from now on; 0: OpenMP's choice. */
AF_API void af_context_set_threads(af_context *context, int threads);

/* The sentence of the first error since the last af_error_clear; "" when there was none. */
AF_API const char *af_error(const af_context *context);

/* Its status, AF_OK when there was none; and forgetting it, to go on after a failure: nothing is
 * compiled in a context that holds an error. */
AF_API af_status af_error_status(const af_context *context);
AF_API void af_error_clear(af_context *context);

/* The version of the implementation, to compare with AF_VERSION of the header. */
AF_API const char *af_version(void);

/* ---- base: for libraries built on this one --------------------------------------------------- */

/* Records the first error with its sentence (printf's format) and returns the status, so that
 * callers can write `return af_fail(...)`. Later errors keep the first sentence: it names the
 * cause. */
AF_API af_status af_fail(af_context *context, af_status status, const char *format, ...)
    AF_PRINTF(3, 4);

/* Hands a sentence to the context's logger, if it has one. */
AF_API void af_say(af_context *context, const char *format, ...) AF_PRINTF(2, 3);

/* The allocator, the number of threads as it was set (0: OpenMP's choice), and the backend, NULL:
 * the CPU. */
AF_API af_allocator af_context_allocator(const af_context *context);
AF_API int af_context_threads(const af_context *context);
AF_API const af_backend *af_context_backend(const af_context *context);

/* Calls run(chunk, user) once for each chunk in [0, chunks), on the context's threads, in any
 * order. Where the chunks depend on the problem alone, so do the results. `run` may not use the
 * context. */
AF_API void af_parallel(const af_context *context, size_t chunks,
                        void (*run)(size_t chunk, void *user), void *user);
