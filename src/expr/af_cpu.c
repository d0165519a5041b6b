/* ---- the CPU backend ------------------------------------------------------------------------- */

#ifdef AF_CBLAS
#  include <cblas.h>
#  include <limits.h>
#endif

/* The best set that this processor has, or the one asked for; NULL when it has not. */
static const af__kernels *af__find_kernels(af_instruction_set set, af_precision precision) {
#ifdef AF__HAVE_AVX
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    int avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                 __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    if (avx512 && (set == AF_SET_BEST || set == AF_SET_AVX512))
        return precision == AF_F64 ? &af__kernels_f64_avx512 : &af__kernels_f32_avx512;
    if (avx2 && (set == AF_SET_BEST || set == AF_SET_AVX2))
        return precision == AF_F64 ? &af__kernels_f64_avx2 : &af__kernels_f32_avx2;
#endif
    if (set != AF_SET_BEST && set != AF_SET_PLAIN) return NULL;
    return precision == AF_F64 ? &af__kernels_f64_plain : &af__kernels_f32_plain;
}

/* ---- fused runs and sums ---- */

static void af__run_tile_chunk(size_t chunk, void *user) {
    const af__job *job = (const af__job *)user;
    size_t begin = chunk * job->chunk, end = begin + job->chunk;
    job->cpu->kernels->tile(job->cpu, job->instr, begin, end < job->total ? end : job->total);
}

static void af__run_tile(const af__cpu *cpu, const af_instr *instr) {
    af__job job = AF__ZERO;
    size_t i;
    job.cpu = cpu;
    job.instr = instr;
    job.total = 1;
    for (i = 0; i < instr->rank; i++) job.total *= instr->dim[i];
    job.chunk = AF__CHUNK;
    if (instr->dim[instr->rank - 1] < job.chunk) /* whole rows */
        job.chunk = af__round_up(job.chunk, instr->dim[instr->rank - 1]);
    af__parallel(cpu->threads, (job.total + job.chunk - 1) / job.chunk, af__run_tile_chunk, &job);
}

static void *af__address(const af__cpu *cpu, const af_operand *o, size_t offset) {
    return (char *)cpu->base[o->buffer] + (o->offset + offset) * cpu->kernels->real;
}

static void af__run_sum(const af__cpu *cpu, const af_instr *instr) {
    const af_operand *out = cpu->program->operand + instr->operand + 2;
    af__job job = AF__ZERO;
    size_t i, outer = instr->rank - instr->inner;
    job.cpu = cpu;
    job.instr = instr;
    job.total = job.depth = 1;
    for (i = 0; i < instr->rank; i++) *(i < outer ? &job.total : &job.depth) *= instr->dim[i];
    job.chunk = af__sum_block(job.depth);
    af__parallel(cpu->threads, (job.total + job.chunk - 1) / job.chunk * instr->chunks,
                 cpu->kernels->sum, &job);
    if (instr->chunks > 1)
        cpu->kernels->sum_parts(af__address(cpu, out, 0), cpu->base[instr->scratch], job.total,
                                instr->chunks);
}

/* ---- matrix products ---- */

#ifdef AF_CBLAS
/* Hands the product to CBLAS where its layouts can express the strides. */
static int af__run_cblas(const af__product *g) {
    int ta = g->a_column != 1, tb = g->b_column != 1;
    size_t lda = ta ? g->a_column : g->a_row, ldb = tb ? g->b_column : g->b_row;
    if ((ta && g->a_row != 1) || (tb && g->b_row != 1)) return 0;
    if (lda < (ta ? g->m : g->k) || ldb < (tb ? g->k : g->n)) return 0;
    if (g->m > INT_MAX || g->n > INT_MAX || g->k > INT_MAX || lda > INT_MAX || ldb > INT_MAX)
        return 0;
    if (g->cpu->program->precision == AF_F64)
        cblas_dgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans,
                    (int)g->m, (int)g->n, (int)g->k, 1.0, (const double *)g->a, (int)lda,
                    (const double *)g->b, (int)ldb, 0.0, (double *)g->c, (int)g->n);
    else
        cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans,
                    (int)g->m, (int)g->n, (int)g->k, 1.0f, (const float *)g->a, (int)lda,
                    (const float *)g->b, (int)ldb, 0.0f, (float *)g->c, (int)g->n);
    return 1;
}
#endif

/* Returns 1 when what shall follow the product has been done with it. */
static int af__run_product(af__product *g, int threads) {
    const af__kernels *kernels = g->cpu->kernels;
    double work = (double)g->m * (double)g->n * (double)g->k;
    if (work <= (double)AF__PRODUCT_TINY) {
        kernels->product_tiny(g);
        return 0;
    }
    if (g->m == 1 && g->b_column == 1) {
        kernels->product_row(g);
        return 0;
    }
    if (g->m <= AF__PRODUCT_ROWS && g->b_row == 1 && g->b_column != 1 && g->a_column == 1 &&
        g->k >= kernels->lanes) {
        kernels->product_dots(g);
        return 0;
    }
#ifdef AF_CBLAS
    if (af__run_cblas(g)) return 0;
#endif
    if (work <= (double)AF__PRODUCT_SHARED) threads = 1;
    if (g->pack)
        af__parallel(threads, (g->n + kernels->columns - 1) / kernels->columns,
                     kernels->product_pack, g);
    af__parallel(threads, g->row_blocks * g->column_blocks * g->parts, kernels->product_unit, g);
    if (g->parts > 1) kernels->sum_parts(g->c, g->partial, g->m * g->n, g->parts);
    return g->then != NULL;
}

/* The shape of one product of a MATMUL instruction, and how it is cut. */
static af__product af__product_of(const af__cpu *cpu, const af_instr *instr, const af_instr *then) {
    const af_operand *o = cpu->program->operand + instr->operand;
    const size_t *dim = instr->dim + instr->rank - 3;
    size_t axes = instr->rank - 3;
    af__product g = AF__ZERO;
    g.cpu = cpu;
    g.m = dim[0];
    g.n = dim[1];
    g.k = dim[2];
    g.a_row = o[0].stride[axes];
    g.a_column = o[0].stride[axes + 1];
    g.b_row = o[1].stride[axes];
    g.b_column = o[1].stride[axes + 1];
    if (g.n <= AF__UNIT_COLUMNS) g.then = then; /* longer rows are cut instead */
    af__product_cut(cpu->kernels, &g);
    g.packed = cpu->scratch;
    if (cpu->scratch) /* there is none while its size is counted */
        g.partial = (char *)cpu->scratch + af__packed_size(cpu->kernels, &g) * cpu->kernels->real;
    return g;
}

/* A batch of products; many small ones are shared out among the threads. */
typedef struct af__products {
    const af_instr *instr;
    af__product shape;
    size_t count, chunk;
    int threads; /* for each product */
} af__products;

static void af__run_batch_chunk(size_t chunk, void *user) {
    const af__products *b = (const af__products *)user;
    const af_operand *o = b->shape.cpu->program->operand + b->instr->operand;
    size_t axes = b->instr->rank - 3, item, end = (chunk + 1) * b->chunk;
    if (end > b->count) end = b->count;
    for (item = chunk * b->chunk; item < end; item++) {
        af__product g = b->shape;
        size_t at[3] = {0, 0, 0}, rest = item, axis, k;
        for (axis = axes; axis-- > 0;) {
            for (k = 0; k < 3; k++) at[k] += rest % b->instr->dim[axis] * o[k].stride[axis];
            rest /= b->instr->dim[axis];
        }
        g.a = af__address(g.cpu, &o[0], at[0]);
        g.b = af__address(g.cpu, &o[1], at[1]);
        g.c = af__address(g.cpu, &o[2], at[2]);
        af__run_product(&g, b->threads);
    }
}

static void af__run_batch(const af__cpu *cpu, const af_instr *instr) {
    af__products b = AF__ZERO;
    size_t i, work;
    b.instr = instr;
    b.shape = af__product_of(cpu, instr, NULL);
    b.count = 1;
    for (i = 0; i < instr->rank - 3; i++) b.count *= instr->dim[i];
    b.chunk = 1;
    b.threads = cpu->threads;
    if (b.shape.pack || b.shape.parts > 1) { /* the scratch memory is one product's */
        for (i = 0; i < b.count; i++) af__run_batch_chunk(i, &b);
        return;
    }
    work = b.shape.m * b.shape.n * b.shape.k; /* few rows */
    b.chunk = af__clamp(AF__SUM_WORK / work, 1, AF__SUM_WORK);
    b.threads = 1;
    af__parallel(cpu->threads, (b.count + b.chunk - 1) / b.chunk, af__run_batch_chunk, &b);
}

/* Runs a product, and the fused run that may go with it; returns 1 when that has been done. */
static int af__run_matmul(const af__cpu *cpu, const af_instr *instr, const af_instr *then) {
    const af_operand *o = cpu->program->operand + instr->operand;
    af__product g;
    if (instr->rank > 3) {
        af__run_batch(cpu, instr);
        return 0;
    }
    g = af__product_of(cpu, instr, then);
    g.a = af__address(cpu, &o[0], 0);
    g.b = af__address(cpu, &o[1], 0);
    g.c = af__address(cpu, &o[2], 0);
    return af__run_product(&g, cpu->threads);
}

/* ---- programs ---- */

static void af__run_instr(const af__cpu *cpu, const af_instr *instr) {
    const af_operand *o = cpu->program->operand + instr->operand;
    switch (instr->kind) {
    case AF_INSTR_TILE: af__run_tile(cpu, instr); break;
    case AF_INSTR_SUM: af__run_sum(cpu, instr); break;
    case AF_INSTR_ZERO:
        memset(cpu->base[o->buffer], 0, cpu->program->buffer[o->buffer].size * cpu->kernels->real);
        break;
    default: cpu->kernels->rows(cpu, instr);
    }
}

/* ---- the table ---- */

static void af__cpu_close(const af_program *program, void *state) {
    af__cpu *cpu = (af__cpu *)state;
    af_allocator allocator = cpu->allocator;
    if (cpu->memory) allocator.release(cpu->memory, cpu->bytes, allocator.user);
    if (cpu->base)
        allocator.release(cpu->base, (program->buffer_count + 1) * sizeof *cpu->base,
                          allocator.user);
    allocator.release(cpu, sizeof *cpu, allocator.user);
}

static void af__copy_tensor(const af_buffer *b, af_precision precision, void *to) {
    size_t i;
    for (i = 0; i < b->size; i++) {
        if (precision == AF_F64) ((double *)to)[i] = b->data[i];
        else ((float *)to)[i] = (float)b->data[i];
    }
}

/* Elements of scratch memory: what the largest product packs, and its partial results. */
static size_t af__scratch_size(const af__cpu *cpu) {
    const af_program *p = cpu->program;
    size_t i, most = 0;
    for (i = 0; i < p->instr_count; i++) {
        af__product g;
        size_t size;
        if (p->instr[i].kind != AF_INSTR_MATMUL) continue;
        g = af__product_of(cpu, &p->instr[i], NULL);
        size = af__packed_size(cpu->kernels, &g) + (g.parts > 1 ? g.parts * g.m * g.n : 0);
        if (size > most) most = size;
    }
    return af__round_up(most, 16);
}

/* Work memory first, then scratch, then the tensors, each on a 64-byte boundary. */
static void af__cpu_place(af__cpu *cpu, size_t scratch) {
    const af_program *p = cpu->program;
    size_t i, real = cpu->kernels->real, top = p->work_size + scratch;
    char *memory =
        (char *)(((uintptr_t)cpu->memory + AF__ALIGNMENT - 1) / AF__ALIGNMENT * AF__ALIGNMENT);
    cpu->scratch = memory + p->work_size * real;
    for (i = 0; i < p->buffer_count; i++) {
        const af_buffer *b = &p->buffer[i];
        if (b->kind == AF_BUFFER_WORK) cpu->base[i] = memory + b->offset * real;
        if (b->kind != AF_BUFFER_TENSOR) continue;
        cpu->base[i] = memory + top * real;
        af__copy_tensor(b, p->precision, cpu->base[i]);
        top += af__round_up(b->size, 16);
    }
}

static af_status af__cpu_open_set(const af_program *p, const af_allocator *allocator, int threads,
                                  af_instruction_set set, void **state) {
    af__cpu *cpu = (af__cpu *)allocator->allocate(sizeof *cpu, allocator->user);
    size_t i, elements, scratch;
    *state = NULL;
    if (!cpu) return AF_ERROR_MEMORY;
    memset(cpu, 0, sizeof *cpu);
    cpu->program = p;
    cpu->kernels = af__find_kernels(set, p->precision);
    cpu->allocator = *allocator;
    cpu->threads = threads;
    scratch = af__scratch_size(cpu);
    elements = p->work_size + scratch;
    for (i = 0; i < p->buffer_count; i++)
        if (p->buffer[i].kind == AF_BUFFER_TENSOR) elements += af__round_up(p->buffer[i].size, 16);
    cpu->bytes = elements * cpu->kernels->real + 2 * AF__ALIGNMENT;
    cpu->memory = allocator->allocate(cpu->bytes, allocator->user);
    cpu->base =
        (void **)allocator->allocate((p->buffer_count + 1) * sizeof *cpu->base, allocator->user);
    if (!cpu->memory || !cpu->base) {
        af__cpu_close(p, cpu);
        return AF_ERROR_MEMORY;
    }
    memset(cpu->memory, 0, cpu->bytes);
    af__cpu_place(cpu, scratch);
    *state = cpu;
    return AF_OK;
}

static af_status af__cpu_run(const af_program *p, void *state, const void *const *inputs,
                             void *const *outputs) {
    af__cpu *cpu = (af__cpu *)state;
    size_t i;
    for (i = 0; i < p->buffer_count; i++) {
        const af_buffer *b = &p->buffer[i];
        if (b->kind == AF_BUFFER_INPUT) cpu->base[i] = (void *)(uintptr_t)inputs[b->index];
        if (b->kind == AF_BUFFER_OUTPUT) cpu->base[i] = outputs[b->index];
    }
    for (i = 0; i < p->instr_count; i++) {
        const af_instr *next = i + 1 < p->instr_count ? &p->instr[i + 1] : NULL;
        if (p->instr[i].kind != AF_INSTR_MATMUL) af__run_instr(cpu, &p->instr[i]);
        else if (af__run_matmul(cpu, &p->instr[i], next && next->follows ? next : NULL)) i++;
    }
    return AF_OK;
}

/* One function for each set: a backend's `open` has no argument to tell it. */
#define AF__CPU_OPEN(name, set)                                                                    \
    static af_status af__cpu_open_##name(const af_program *p, const af_allocator *allocator,       \
                                         int threads, void **state) {                              \
        return af__cpu_open_set(p, allocator, threads, set, state);                                \
    }
AF__CPU_OPEN(best, AF_SET_BEST)
AF__CPU_OPEN(plain, AF_SET_PLAIN)
AF__CPU_OPEN(avx2, AF_SET_AVX2)
AF__CPU_OPEN(avx512, AF_SET_AVX512)
#undef AF__CPU_OPEN

AF_API const af_backend *af_backend_cpu_set(af_instruction_set set) {
    static const af_backend cpu[] = {
        {"cpu", af__cpu_open_best, af__cpu_run, af__cpu_close, NULL, NULL, 0},
        {"cpu, plain", af__cpu_open_plain, af__cpu_run, af__cpu_close, NULL, NULL, 0},
        {"cpu, AVX2", af__cpu_open_avx2, af__cpu_run, af__cpu_close, NULL, NULL, 0},
        {"cpu, AVX-512", af__cpu_open_avx512, af__cpu_run, af__cpu_close, NULL, NULL, 0}};
    if ((size_t)set >= sizeof cpu / sizeof cpu[0] || !af__find_kernels(set, AF_F64)) return NULL;
    return &cpu[set];
}

AF_API const af_backend *af_backend_cpu(void) { return af_backend_cpu_set(AF_SET_BEST); }
