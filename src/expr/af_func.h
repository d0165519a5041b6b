/* ---- functions ----------------------------------------------------------------------------------
 *
 * af_compile turns expressions into a function: dead nodes dropped, runs of elementwise operations
 * fused, views (slices, transposes, repeats) resolved to strides, memory planned by last use, one
 * precision. A function never changes; numbers live in workspaces. Threads may share a function,
 * each with a workspace of its own. */

typedef struct af_func af_func;
typedef struct af_workspace af_workspace;

typedef struct af_func_desc {
    uint32_t start_canary;
    const af_expr *inputs; /* made by af_input, in the order in which af_run gets them */
    size_t input_count;
    const af_expr *outputs;
    size_t output_count;
    af_precision precision;    /* of inputs, outputs and arithmetic */
    const af_backend *backend; /* NULL: the context's, by default the CPU */
    const char *label;         /* names the function in error sentences */
    uint32_t end_canary;
} af_func_desc;

/* Compiles the outputs as a function of the inputs. Reports the first error made while building
 * them, whatever its kind; otherwise AF_ERROR_ARGUMENT for a canary that is not zero, no outputs,
 * an input or output that is none, an input that is used and not listed; AF_ERROR_MEMORY. *out is
 * NULL then. The desc is not kept. The function owns its memory; it stays valid when the context is
 * destroyed, but not when the context's allocator goes. */
AF_API af_status af_compile(af_context *c, const af_func_desc *desc, af_func **out);

/* Frees the function; destroy its workspaces first. NULL is fine. */
AF_API void af_func_destroy(af_func *f);

/* The program, for backends and for the curious; the elements of workspace memory it needs;
 * floating point operations of its matrix products. */
AF_API const af_program *af_func_program(const af_func *f);
AF_API size_t af_func_work_size(const af_func *f);
AF_API double af_func_matmul_flops(const af_func *f);

/* Memory for one run at a time, using at most `threads` threads (0: OpenMP's choice). Thread-safe;
 * it belongs to no context, so that only af_func_error tells of a failure (AF_ERROR_MEMORY,
 * AF_ERROR_BACKEND); *out is NULL then. */
AF_API af_status af_workspace_create(const af_func *f, int threads, af_workspace **out);
AF_API void af_workspace_destroy(af_workspace *w);

/* The same for one thread at a time: a failure's sentence goes to the context. */
AF_API af_status af_context_workspace(af_context *c, const af_func *f, int threads,
                                      af_workspace **out);

/* The sentence of the function's backend for the last failure of af_workspace_create or af_run on
 * this thread; "" where it has none, as the CPU. */
AF_API const char *af_func_error(const af_func *f);

/* Computes. inputs[i] and outputs[i] point to arrays (C order) in the function's precision, of the
 * shapes given when building; outputs must not overlap inputs. Allocates nothing; thread-safe for
 * different workspaces. AF_ERROR_ARGUMENT when the workspace is another function's,
 * AF_ERROR_BACKEND, and all outputs in the host's memory are NaN. Values that are not finite are no
 * failure. */
AF_API af_status af_run(const af_func *f, af_workspace *w, const void *const *inputs,
                        void *const *outputs);
