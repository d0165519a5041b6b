/* ---- base: parallel loops over fixed chunks ----------------------------------------------------
 *
 * The number of chunks is the caller's and depends on the problem alone, so results are the same to
 * the bit for any number of threads. */

#ifdef _OPENMP
#  include <omp.h>
#  define AF__PRAGMA(text) _Pragma(#text)
#else
#  define AF__PRAGMA(text)
#endif

typedef void (*af__chunk_function)(size_t chunk, void *user);

static int af__threads(int wanted) {
#ifdef _OPENMP
    return wanted > 0 ? wanted : omp_get_max_threads();
#else
    (void)wanted;
    return 1;
#endif
}

/* Calls run(chunk, user) once for every chunk in [0, chunks). threads 0: OpenMP's choice. */
static void af__parallel(int threads, size_t chunks, af__chunk_function run, void *user) {
    long i;
    int team = af__threads(threads);
    if ((size_t)team > chunks) team = (int)chunks;
    if (team <= 1) {
        for (i = 0; i < (long)chunks; i++) run((size_t)i, user);
        return;
    }
    AF__PRAGMA(omp parallel for num_threads(team) schedule(dynamic, 1))
    for (i = 0; i < (long)chunks; i++) run((size_t)i, user);
}

AF_API void af_parallel(const af_context *context, size_t chunks,
                        void (*run)(size_t chunk, void *user), void *user) {
    af__parallel(context->threads, chunks, run, user);
}
