/* ---- learn: named arrays in a safetensors file -------------------------------------------------
 *
 * Models and checkpoints are safetensors files (github.com/huggingface/safetensors): an 8-byte
 * little-endian length, a JSON header, then the arrays, row-major and little-endian. A free map of
 * texts goes with them (units, normalisation, architecture). In Python:
 *
 *     safetensors.numpy.load_file("model.safetensors")
 *
 * The same contents give the same bytes on every machine. */

enum { AF_FILE_RANK = 8 }; /* the most axes an array in a file may have */

typedef enum af_dtype { AF_DTYPE_F64, AF_DTYPE_F32, AF_DTYPE_I64, AF_DTYPE_U8 } af_dtype;

typedef struct af_tensors af_tensors;

/* One array of a set. `count` is the product of dims[0..rank); data holds double, float, int64_t or
 * uint8_t, aligned for them. Everything belongs to the set. */
typedef struct af_tensor {
    const char *name;
    af_dtype dtype;
    int rank;
    size_t dims[AF_FILE_RANK];
    size_t count;
    const void *data;
} af_tensor;

/* Creates an empty set; destroy it before the context. Fails with AF_ERROR_MEMORY, *out NULL. */
AF_API af_status af_tensors_create(af_context *context, af_tensors **out);

/* Frees the set with everything in it. NULL is fine. */
AF_API void af_tensors_destroy(af_tensors *tensors);

/* Copies an array into the set. rank 0 is one number (dims may be NULL then), a dimension may be
 * zero. The name is UTF-8, not empty, not "__metadata__", and new to the set; otherwise
 * AF_ERROR_ARGUMENT. AF_ERROR_SHAPE for a rank outside [0, AF_FILE_RANK], AF_ERROR_MEMORY. The set
 * is unchanged after a failure. */
AF_API af_status af_tensors_add(af_tensors *tensors, const char *name, af_dtype dtype, int rank,
                                const size_t *dims, const void *data);

/* The array of that name, NULL when there is none; valid until the next af_tensors_add. */
AF_API const af_tensor *af_tensors_find(const af_tensors *tensors, const char *name);

/* How many arrays there are, and the i-th in the order of adding or of the file's header. */
AF_API size_t af_tensors_count(const af_tensors *tensors);
AF_API const af_tensor *af_tensors_at(const af_tensors *tensors, size_t i);

/* Copies an array of type F64 or F32 as doubles into out, dims[0] * ... * dims[rank - 1] of them.
 * AF_ERROR_FORMAT when the set has no such array or it holds integers, AF_ERROR_SHAPE when its
 * shape is another; the sentence names the file it was read from. */
AF_API af_status af_tensors_get(const af_tensors *tensors, const char *name, int rank,
                                const size_t *dims, double *out);

/* Sets the text of a key, replacing an older one. Both are UTF-8; otherwise AF_ERROR_ARGUMENT. */
AF_API af_status af_tensors_set_text(af_tensors *tensors, const char *key, const char *text);

/* The text of a key, NULL when there is none; valid until that key is set again. */
AF_API const char *af_tensors_text(const af_tensors *tensors, const char *key);

/* The key of the i-th text, to go through them all; NULL beyond the last. */
AF_API const char *af_tensors_key(const af_tensors *tensors, size_t i);

/* Numbers as texts: a double with 17 digits (it comes back the same, nan and inf included) and a
 * whole number up to 2^64 - 1. Reading fails with AF_ERROR_FORMAT when the key is missing or its
 * text is not such a number; *out is untouched then. */
AF_API af_status af_tensors_set_number(af_tensors *tensors, const char *key, double value);
AF_API af_status af_tensors_number(const af_tensors *tensors, const char *key, double *out);
AF_API af_status af_tensors_set_whole(af_tensors *tensors, const char *key, uint64_t value);
AF_API af_status af_tensors_whole(const af_tensors *tensors, const char *key, uint64_t *out);

/* Writes the set. A file that is there is replaced in one step, and only once the new one is on the
 * disk; a symbolic link is replaced by the file. A device or a pipe is written straight through.
 * AF_ERROR_IO (nothing is left behind then) or AF_ERROR_MEMORY. */
AF_API af_status af_tensors_write(const af_tensors *tensors, const char *path);

/* Reads a whole file. Strict: every length, offset and name is checked. AF_ERROR_IO when it cannot
 * be read, AF_ERROR_FORMAT when it is damaged or holds another type than the four above,
 * AF_ERROR_MEMORY; *out is NULL then. */
AF_API af_status af_tensors_read(af_context *context, const char *path, af_tensors **out);
