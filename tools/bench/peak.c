/* The multiply-add peak: independent multiply-adds of the widest vectors that the processor has, in
 * registers alone. */
#include "bench.h"

#include <math.h>

#if defined(__GNUC__) && !defined(__clang__)
#  pragma GCC optimize("fp-contract=fast") /* a * b + c in one instruction, whatever the standard */
#endif

/* Independent chains hide the latency of the units (4 or 5 cycles; two to four begin in a cycle)
 * and fit the registers: 16 of them with AVX, 32 on ARM. The factor keeps the numbers near 1. */
#if defined(__x86_64__) && defined(__GNUC__)
#  define PEAK_X86 1
#  define PEAK_CHAINS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
enum { PEAK_COUNT = 12 };
#else
#  define PEAK_X86 0
#  define PEAK_CHAINS(X)                                                                  \
    X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15) \
    X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23)
enum { PEAK_COUNT = 24 };
#endif
#define PEAK_BEGIN(k) vector a##k = factors * (k + 1);
#define PEAK_STEP(k) a##k = a##k * factors + terms;
#define PEAK_END(k) sum += a##k;

#define PEAK_LOOP(name, attribute, type, bytes)                             \
    attribute static double name(size_t rounds, double factor) {            \
        typedef type vector __attribute__((vector_size(bytes)));            \
        vector factors = (vector){0} + (type)factor, terms = 1 - factors;   \
        vector sum = {0};                                                   \
        size_t i;                                                           \
        PEAK_CHAINS(PEAK_BEGIN)                                             \
        for (i = 0; i < rounds; i++) {                                      \
            PEAK_CHAINS(PEAK_STEP)                                          \
        }                                                                   \
        PEAK_CHAINS(PEAK_END)                                               \
        return (double)sum[0];                                              \
    }

#if PEAK_X86
PEAK_LOOP(peak_wide_f64, __attribute__((target("avx512f"))), double, 64)
PEAK_LOOP(peak_wide_f32, __attribute__((target("avx512f"))), float, 64)
PEAK_LOOP(peak_avx_f64, __attribute__((target("avx2,fma"))), double, 32)
PEAK_LOOP(peak_avx_f32, __attribute__((target("avx2,fma"))), float, 32)
#endif
PEAK_LOOP(peak_plain_f64, , double, 16)
PEAK_LOOP(peak_plain_f32, , float, 16)

typedef struct peak_loop {
    double (*run)(size_t rounds, double factor);
    size_t bytes; /* of a vector */
    const char *name;
} peak_loop;

static peak_loop peak_choose(int f32) {
    peak_loop p;
    p.run = f32 ? peak_plain_f32 : peak_plain_f64;
    p.bytes = 16;
    p.name = "vectors of 16 bytes";
#if PEAK_X86
    if (__builtin_cpu_supports("avx512f")) {
        p.run = f32 ? peak_wide_f32 : peak_wide_f64;
        p.bytes = 64;
        p.name = "AVX-512";
    } else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        p.run = f32 ? peak_avx_f32 : peak_avx_f64;
        p.bytes = 32;
        p.name = "AVX2 and FMA";
    }
#endif
    return p;
}

/* Operations of a round: a multiplication and an addition for each number. */
static double peak_flops(const peak_loop *p, int f32) {
    return 2.0 * PEAK_COUNT * (double)(p->bytes / (f32 ? sizeof(float) : sizeof(double)));
}

typedef struct peak_job {
    peak_loop loop;
    size_t rounds;
    int threads;
} peak_job;

static volatile double peak_sink;

static void peak_call(void *data) {
    const peak_job *job = (const peak_job *)data;
    double sum = 0.0;
    int i;
#ifdef _OPENMP
#  pragma omp parallel for num_threads(job->threads) schedule(static, 1) reduction(+ : sum)
#endif
    for (i = 0; i < job->threads; i++) sum += job->loop.run(job->rounds, 1.0 - 1e-9 * (i + 1));
    peak_sink = sum;
}

typedef struct peak_question {
    int f32, threads;
    double seconds;
} peak_question;

/* value[0]: FLOP/s. Runs of some 20 ms, so that starting the threads does not count; those of the
 * first quarter of the time only warm up. */
static void peak_work(const void *arg, bench_result *result) {
    const peak_question *q = (const peak_question *)arg;
    peak_job job;
    double start;
    job.loop = peak_choose(q->f32);
    job.threads = 1;
    job.rounds = 100000;
    start = bench_clock();
    while (bench_clock() - start < 0.25 * q->seconds) peak_call(&job);
    job.rounds = (size_t)(100000.0 * 0.02 / bench_time(peak_call, &job, 0.0)) + 1;
    job.threads = q->threads;
    result->value[0] = (double)q->threads * (double)job.rounds * peak_flops(&job.loop, q->f32) /
                       bench_time(peak_call, &job, q->seconds);
}

/* Where the threads together reach much less than one by one, other programs use the cores. */
static void peak_warn(const bench *b) {
    double reached = b->peak[0][1] / (b->threads * b->peak[0][0]);
    if (b->threads > 1 && reached < 0.8)
        printf("    %d threads reach %.2f of %d times one thread: if other programs use the cores,"
               "\n    what follows is not worth much; OMP_WAIT_POLICY=passive helps\n",
               b->threads, reached, b->threads);
}

void bench_peak(bench *b) {
    int f32, many;
    bench_head("multiply-add peak", NULL);
    for (f32 = 0; f32 < 2; f32++)
        for (many = 0; many < 1 + (b->threads > 1); many++) {
            peak_question q;
            bench_result result;
            bench_row row;
            q.f32 = f32;
            q.threads = many ? b->threads : 1;
            q.seconds = b->quick ? 0.3 : 0.8;
            bench_child(peak_work, &q, &result);
            b->peak[f32][many] = result.value[0];
            if (!many) b->peak[f32][1] = result.value[0];
            row = bench_new_row(NULL, "FMA peak %s %d thread%s", f32 ? "f32" : "f64", q.threads,
                                many ? "s" : "");
            row.ours = 1.0 / result.value[0]; /* of one operation */
            row.flops = 1.0;
            row.peak = result.value[0];
            bench_note(&row, "%s", peak_choose(f32).name);
            bench_report(b, &row);
        }
    peak_warn(b);
}
