/* ---- programs -----------------------------------------------------------------------------------
 *
 * What a function is compiled to, and what a backend runs: plain data. */

typedef enum af_precision { AF_F64 = 0, AF_F32 } af_precision;

typedef enum af_buffer_kind {
    AF_BUFFER_WORK,   /* at `offset` elements into the workspace */
    AF_BUFFER_INPUT,  /* the caller's inputs[index] */
    AF_BUFFER_OUTPUT, /* the caller's outputs[index] */
    AF_BUFFER_TENSOR  /* constant data, `data` in f64 */
} af_buffer_kind;

typedef struct af_buffer {
    af_buffer_kind kind;
    size_t index;
    size_t size; /* elements */
    size_t offset;
    const double *data;
    int wide; /* INPUT, OUTPUT: the caller's array is f64 though the program's precision is f32;
                 only in programs for backends with memory of their own */
} af_buffer;

/* Where an array lies: element (i0, i1, ..) is buffer[offset + sum i_k stride_k]. */
typedef struct af_operand {
    size_t buffer;
    size_t offset;
    size_t stride[AF_RANK_MAX];
} af_operand;

/* One elementwise operation on tile registers: r[out] = op(r[in0], r[in1], r[in2]). CONSTANT fills
 * r[out] with value; RANDOM's stream is `stream`. */
typedef struct af_micro {
    af_op op;
    uint16_t out;
    uint16_t in[3];
    double value;
    uint64_t stream;
} af_micro;

typedef enum af_instr_kind {
    AF_INSTR_TILE,    /* fused elementwise: loads, micro operations, stores over `dim` */
    AF_INSTR_SUM,     /* operand 2 (contiguous) = sum over the last `inner` axes of operand 0, or of
                         operand 0 times operand 1 when `factors` is 2 */
    AF_INSTR_MATMUL,  /* dim = batch.., M, N, K: operand 2 (contiguous) = operand 0 * operand 1 */
    AF_INSTR_ZERO,    /* operand 0's whole buffer = 0 */
    AF_INSTR_GATHER,  /* dim = rows, row length; operands x, index, out */
    AF_INSTR_SCATTER  /* dim = rows of x, row length, rows of out; operands x, index, out */
} af_instr_kind;

typedef struct af_instr {
    af_instr_kind kind;
    size_t rank, dim[AF_RANK_MAX + 1]; /* MATMUL has one more than its arrays */
    size_t inner;         /* SUM: reduced axes */
    size_t factors;       /* SUM: 1 or 2 */
    size_t chunks;        /* SUM: parts of the reduction, a function of the shape alone */
    size_t scratch;       /* SUM: buffer of partial results, or none */
    size_t operand;       /* index of the first operand; TILE: loads, then stores */
    size_t loads, stores; /* TILE */
    size_t micro, micros; /* TILE: range of micro operations */
    size_t registers;     /* TILE: registers 0..loads-1 are the loads */
    size_t store_register;/* TILE: index into `store` of the stored registers */
    int follows;          /* TILE: of the product before it, row i of the run needs row i alone: a
                             backend may run both together */
} af_instr;

enum { AF_NO_BUFFER = 0x7fffffff };

typedef struct af_program {
    const af_instr *instr;
    const af_operand *operand;
    const af_micro *micro;
    const uint16_t *store;
    const af_buffer *buffer;
    size_t instr_count, buffer_count, input_count, output_count;
    size_t work_size; /* elements of workspace memory */
    af_precision precision;
} af_program;

/* A backend opens a program (allocates its workspace), runs it, closes it. Inputs and outputs of
 * run are the caller's pointers, in the program's precision. `error`, which may be NULL, is the
 * sentence of the last failure of open or run on the calling thread. */
struct af_backend {
    const char *name;
    af_status (*open)(const af_program *program, const af_allocator *allocator, int threads,
                      void **state);
    af_status (*run)(const af_program *program, void *state, const void *const *inputs,
                     void *const *outputs);
    void (*close)(const af_program *program, void *state);
    const char *(*error)(void);
    /* Arrays that run reads and writes where they are, and the host can use, too; NULL: any. With
     * it, an output of a fused run may be an array that the run reads in the same places, and a run
     * that fails itself fills the outputs in the host's memory with NaN. */
    const af_allocator *memory;
    int whole_batches; /* it is fast for large arrays only: fits do not cut batches into pieces,
                          unless they are told to */
};

/* The CPU: always there, with the widest vectors that the processor has; threads by OpenMP, results
 * the same for any number of them. Static; never freed. */
AF_API const af_backend *af_backend_cpu(void);

/* It with one instruction set, to compare or to test; NULL where the processor has not got it. BEST
 * is af_backend_cpu. Sets round differently in the last places. */
typedef enum af_instruction_set {
    AF_SET_BEST = 0,
    AF_SET_PLAIN,  /* vectors of 16 bytes: SSE2, NEON */
    AF_SET_AVX2,   /* and FMA */
    AF_SET_AVX512  /* F, DQ, BW, VL */
} af_instruction_set;
AF_API const af_backend *af_backend_cpu_set(af_instruction_set set);

#ifdef AF_CUDA
/* NVIDIA GPUs: the device that is the current one of the thread when a workspace is made. Defined
 * in af_cuda.cu, which is to be compiled by nvcc and linked. NULL where there is no device, its
 * driver is too old or af_cuda.cu was compiled for others; af_error_cuda() says which. As NULL is
 * the CPU wherever a backend is chosen, `desc.backend = af_backend_cuda()` asks for a GPU if there
 * is one. Static; never freed.
 *
 * Arrays in device or managed memory given to af_run are used where they are, all others are
 * copied at each run. A run waits until the results are there. The same bits at each run on
 * devices of one kind. */
AF_API const af_backend *af_backend_cuda(void);

/* Why the last call on this thread failed: "" when none has. */
AF_API const char *af_error_cuda(void);
#endif
