/* ---- the CPU backend ------------------------------------------------------------------------- */

#ifdef AF_CBLAS
#  include <cblas.h>
#  include <limits.h>
#endif

static size_t af__real_bytes(const af_program *p) {
    return p->precision == AF_F64 ? sizeof(double) : sizeof(float);
}

/* The elementwise, sum and product kernels of the program's precision. */
#define AF__PICK(program, name) \
    ((program)->precision == AF_F64 ? af__##name##_f64 : af__##name##_f32)

static void af__run_tile(const af__cpu *cpu, const af_instr *instr) {
    af__job job = AF__ZERO;
    size_t i, fits = AF__TILE_BYTES / af__real_bytes(cpu->program) / instr->registers;
    job.cpu = cpu;
    job.instr = instr;
    job.total = 1;
    for (i = 0; i < instr->rank; i++) job.total *= instr->dim[i];
    job.tile = fits / 16 * 16; /* whole vectors of 64 bytes */
    if (job.tile > 1024) job.tile = 1024;
    job.chunk = af__round_up(AF__CHUNK, job.tile);
    af__parallel(cpu->threads, (job.total + job.chunk - 1) / job.chunk,
                 AF__PICK(cpu->program, tile_chunk), &job);
}

static void af__run_sum(const af__cpu *cpu, const af_instr *instr) {
    const af_operand *out = cpu->program->operand + instr->operand + 1;
    af__job job = AF__ZERO;
    size_t i, outer = instr->rank - instr->inner;
    job.cpu = cpu;
    job.instr = instr;
    job.total = job.depth = 1;
    for (i = 0; i < instr->rank; i++) *(i < outer ? &job.total : &job.depth) *= instr->dim[i];
    job.chunk = af__sum_block(job.depth);
    af__parallel(cpu->threads, (job.total + job.chunk - 1) / job.chunk * instr->chunks,
                 AF__PICK(cpu->program, sum_chunk), &job);
    if (instr->chunks == 1) return;
    if (cpu->program->precision == AF_F64)
        af__sum_parts_f64((double *)cpu->base[out->buffer] + out->offset,
                          (const double *)cpu->base[instr->scratch], job.total, instr->chunks);
    else
        af__sum_parts_f32((float *)cpu->base[out->buffer] + out->offset,
                          (const float *)cpu->base[instr->scratch], job.total, instr->chunks);
}

static void *af__address(const af__cpu *cpu, const af_operand *o, size_t offset) {
    return (char *)cpu->base[o->buffer] + (o->offset + offset) * af__real_bytes(cpu->program);
}

#ifdef AF_CBLAS
/* Hands the product to CBLAS where its layouts can express the strides. */
static int af__run_cblas(af_precision precision, const af__gemm *g) {
    int ta = g->a_column != 1, tb = g->b_column != 1;
    size_t lda = ta ? g->a_column : g->a_row, ldb = tb ? g->b_column : g->b_row;
    if (g->small || (ta && g->a_row != 1) || (tb && g->b_row != 1)) return 0;
    if (lda < (ta ? g->m : g->k) || ldb < (tb ? g->k : g->n)) return 0;
    if (g->m > INT_MAX || g->n > INT_MAX || g->k > INT_MAX || lda > INT_MAX || ldb > INT_MAX)
        return 0;
    if (precision == AF_F64)
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

static void af__run_gemm(const af__cpu *cpu, const af__gemm *g, int threads) {
    const af_program *p = cpu->program;
    size_t lanes = AF__VECTOR_BYTES / af__real_bytes(p);
#ifdef AF_CBLAS
    if (af__run_cblas(p->precision, g)) return;
#endif
    if (g->m * g->n * g->k <= AF__GEMM_SHARED) threads = 1;
    if (g->small) {
        af__parallel(threads, g->column_blocks, AF__PICK(p, gemm_small), (void *)(uintptr_t)g);
        return;
    }
    af__parallel(threads, (g->n + AF__NV * lanes - 1) / (AF__NV * lanes),
                 AF__PICK(p, gemm_pack_chunk), (void *)(uintptr_t)g);
    af__parallel(threads, g->row_blocks * g->column_blocks * g->parts, AF__PICK(p, gemm_chunk),
                 (void *)(uintptr_t)g);
    if (g->parts == 1) return;
    if (p->precision == AF_F64)
        af__sum_parts_f64((double *)g->c, (const double *)g->partial, g->m * g->n, g->parts);
    else
        af__sum_parts_f32((float *)g->c, (const float *)g->partial, g->m * g->n, g->parts);
}

/* A batch of products; many small ones are shared out among the threads. */
typedef struct af__batch {
    const af__cpu *cpu;
    const af_instr *instr;
    af__gemm shape;
    size_t count, chunk;
} af__batch;

static void af__run_batch_chunk(size_t chunk, void *user) {
    const af__batch *b = (const af__batch *)user;
    const af_operand *o = b->cpu->program->operand + b->instr->operand;
    size_t axes = b->instr->rank - 3, item, end = (chunk + 1) * b->chunk;
    if (end > b->count) end = b->count;
    for (item = chunk * b->chunk; item < end; item++) {
        af__gemm g = b->shape;
        size_t at[3] = {0, 0, 0}, rest = item, axis, k;
        for (axis = axes; axis-- > 0;) {
            for (k = 0; k < 3; k++) at[k] += rest % b->instr->dim[axis] * o[k].stride[axis];
            rest /= b->instr->dim[axis];
        }
        g.a = af__address(b->cpu, &o[0], at[0]);
        g.b = af__address(b->cpu, &o[1], at[1]);
        g.c = af__address(b->cpu, &o[2], at[2]);
        af__run_gemm(b->cpu, &g, b->chunk > 1 ? 1 : b->cpu->threads);
    }
}

static void af__run_matmul(const af__cpu *cpu, const af_instr *instr) {
    const af_operand *o = cpu->program->operand + instr->operand;
    const size_t *dim = instr->dim + instr->rank - 3;
    size_t i, axes = instr->rank - 3, lanes = AF__VECTOR_BYTES / af__real_bytes(cpu->program);
    af__batch b = AF__ZERO;
    b.cpu = cpu;
    b.instr = instr;
    b.shape.m = dim[0];
    b.shape.n = dim[1];
    b.shape.k = dim[2];
    b.shape.a_row = o[0].stride[axes];
    b.shape.a_column = o[0].stride[axes + 1];
    b.shape.b_row = o[1].stride[axes];
    b.shape.b_column = o[1].stride[axes + 1];
    af__gemm_cut(af__real_bytes(cpu->program), &b.shape);
    if (instr->scratch != AF_NO_BUFFER) {
        size_t packed = b.shape.small ? 0 : dim[2] * af__round_up(dim[1], AF__NV * lanes);
        b.shape.packed = cpu->base[instr->scratch];
        b.shape.partial = (char *)cpu->base[instr->scratch] + packed * af__real_bytes(cpu->program);
    }
    b.count = 1;
    for (i = 0; i < axes; i++) b.count *= instr->dim[i];
    b.chunk = 1;
    if (b.shape.small) {
        size_t work = dim[0] * dim[1] * dim[2];
        b.chunk = af__clamp(AF__SUM_WORK / work, 1, AF__SUM_WORK);
    }
    if (b.chunk > 1)
        af__parallel(cpu->threads, (b.count + b.chunk - 1) / b.chunk, af__run_batch_chunk, &b);
    else
        for (i = 0; i < b.count; i++) af__run_batch_chunk(i, &b);
}

static void af__run_instr(const af__cpu *cpu, const af_instr *instr) {
    const af_operand *o = cpu->program->operand + instr->operand;
    switch (instr->kind) {
    case AF_INSTR_TILE: af__run_tile(cpu, instr); break;
    case AF_INSTR_SUM: af__run_sum(cpu, instr); break;
    case AF_INSTR_MATMUL: af__run_matmul(cpu, instr); break;
    case AF_INSTR_ZERO:
        memset(cpu->base[o->buffer], 0,
               cpu->program->buffer[o->buffer].size * af__real_bytes(cpu->program));
        break;
    default:
        if (cpu->program->precision == AF_F64) af__rows_f64(cpu, instr);
        else af__rows_f32(cpu, instr);
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

/* Work memory first, then the tensors, each on a 64-byte boundary. */
static void af__cpu_place(af__cpu *cpu) {
    const af_program *p = cpu->program;
    size_t i, real = af__real_bytes(p), top = p->work_size;
    char *memory =
        (char *)(((uintptr_t)cpu->memory + AF__ALIGNMENT - 1) / AF__ALIGNMENT * AF__ALIGNMENT);
    for (i = 0; i < p->buffer_count; i++) {
        const af_buffer *b = &p->buffer[i];
        if (b->kind == AF_BUFFER_WORK) cpu->base[i] = memory + b->offset * real;
        if (b->kind != AF_BUFFER_TENSOR) continue;
        cpu->base[i] = memory + top * real;
        af__copy_tensor(b, p->precision, cpu->base[i]);
        top += af__round_up(b->size, 16);
    }
}

static af_status af__cpu_open(const af_program *p, const af_allocator *allocator, int threads,
                              void **state) {
    af__cpu *cpu = (af__cpu *)allocator->allocate(sizeof *cpu, allocator->user);
    size_t i, elements = p->work_size;
    *state = NULL;
    if (!cpu) return AF_ERROR_MEMORY;
    memset(cpu, 0, sizeof *cpu);
    cpu->program = p;
    cpu->allocator = *allocator;
    cpu->threads = threads;
    for (i = 0; i < p->buffer_count; i++)
        if (p->buffer[i].kind == AF_BUFFER_TENSOR) elements += af__round_up(p->buffer[i].size, 16);
    cpu->bytes = elements * af__real_bytes(p) + 2 * AF__ALIGNMENT;
    cpu->memory = allocator->allocate(cpu->bytes, allocator->user);
    cpu->base =
        (void **)allocator->allocate((p->buffer_count + 1) * sizeof *cpu->base, allocator->user);
    if (!cpu->memory || !cpu->base) {
        af__cpu_close(p, cpu);
        return AF_ERROR_MEMORY;
    }
    memset(cpu->memory, 0, cpu->bytes);
    af__cpu_place(cpu);
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
    for (i = 0; i < p->instr_count; i++) af__run_instr(cpu, &p->instr[i]);
    return AF_OK;
}

AF_API const af_backend *af_backend_cpu(void) {
    static const af_backend cpu = {"cpu", af__cpu_open, af__cpu_run, af__cpu_close};
    return &cpu;
}

#undef AF__PICK
