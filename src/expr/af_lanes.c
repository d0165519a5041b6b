/* ---- the CPU backend: what kernels share ----------------------------------------------------- */

enum {
    AF__TILE_BYTES = 32768, /* the tile registers of a fused run, in the first-level cache */
    AF__REGISTERS = AF__GROUP_LOADS + AF__GROUP_MICROS,
    AF__OPERANDS = AF__GROUP_LOADS + AF__GROUP_STORES + AF__GROUP_MICROS, /* of a fused run */
    AF__CHUNK = 32768       /* elements of a fused run that are worth a chunk of their own */
};

/* A workspace of the CPU backend. */
typedef struct af__cpu {
    const af_program *program;
    af_allocator allocator;
    int threads;
    void *memory;       /* work buffers, then the tensors in the program's precision */
    size_t bytes;
    void **base;        /* where each buffer begins; inputs and outputs are set at each run */
} af__cpu;

/* One instruction being run in chunks. */
typedef struct af__job {
    const af__cpu *cpu;
    const af_instr *instr;
    size_t total; /* elements, or outputs of a sum */
    size_t chunk; /* of them a chunk */
    size_t tile;  /* elements of a tile register */
    size_t depth; /* elements summed for one output */
} af__job;
