/* ---- expressions --------------------------------------------------------------------------------
 *
 * An expression is a handle to a node of a graph in the context. Building computes nothing: shapes
 * are checked, equal nodes are shared, simple identities are applied (x + 0, x * 1, ...), but no
 * node is looked through (-(-x) is two nodes), so that derivatives by any of them are right. A
 * builder that fails returns the none handle (id 0) and leaves its sentence in the context; every
 * builder accepts none and returns none, so a long formula needs one check at the end. It fails
 * with AF_ERROR_SHAPE for shapes that do not fit, AF_ERROR_ARGUMENT for an axis, a range or an
 * operand that is not there, AF_ERROR_MEMORY. Expressions and copies of their data belong to the
 * context.
 *
 * Arrays are row-major with up to AF_RANK_MAX axes. Elementwise operations of two or three arrays
 * broadcast as in numpy: shapes are aligned at the last axis, an axis of length 1 is repeated. */

enum { AF_RANK_MAX = 6 };

typedef struct af_expr {
    uint32_t id;
} af_expr;

/* The closed set of operations: the derivative of each is built from operations of the list.
 * X(NAME, text, class, number of arguments) */
#define AF_OPS(X)                            \
    X(INPUT, "input", LEAF, 0)               \
    X(CONSTANT, "constant", LEAF, 0)         \
    X(TENSOR, "tensor", LEAF, 0)             \
    X(NEG, "neg", ELEMENTWISE, 1)            \
    X(EXP, "exp", ELEMENTWISE, 1)            \
    X(EXPM1, "expm1", ELEMENTWISE, 1)        \
    X(LOG, "log", ELEMENTWISE, 1)            \
    X(LOG1P, "log1p", ELEMENTWISE, 1)        \
    X(SQRT, "sqrt", ELEMENTWISE, 1)          \
    X(RECIPROCAL, "reciprocal", ELEMENTWISE, 1) \
    X(SIN, "sin", ELEMENTWISE, 1)            \
    X(COS, "cos", ELEMENTWISE, 1)            \
    X(TANH, "tanh", ELEMENTWISE, 1)          \
    X(SECH2, "sech2", ELEMENTWISE, 1)        \
    X(SIGMOID, "sigmoid", ELEMENTWISE, 1)    \
    X(SOFTPLUS, "softplus", ELEMENTWISE, 1)  \
    X(ATAN, "atan", ELEMENTWISE, 1)          \
    X(ABS, "abs", ELEMENTWISE, 1)            \
    X(SIGN, "sign", ELEMENTWISE, 1)          \
    X(FLOOR, "floor", ELEMENTWISE, 1)        \
    X(ADD, "add", ELEMENTWISE, 2)            \
    X(SUB, "sub", ELEMENTWISE, 2)            \
    X(MUL, "mul", ELEMENTWISE, 2)            \
    X(ATAN2, "atan2", ELEMENTWISE, 2)        \
    X(LESS, "less", ELEMENTWISE, 2)          \
    X(WHERE, "where", ELEMENTWISE, 3)        \
    X(RANDOM, "random", ELEMENTWISE, 1)      \
    X(STOP, "stop", VIEW, 1)                 \
    X(RESHAPE, "reshape", VIEW, 1)           \
    X(PERMUTE, "permute", VIEW, 1)           \
    X(BROADCAST, "broadcast", VIEW, 1)       \
    X(SLICE, "slice", VIEW, 1)               \
    X(PAD, "pad", LINEAR, 1)                 \
    X(CONCAT, "concat", LINEAR, 2)           \
    X(SUM, "sum", LINEAR, 1)                 \
    X(GATHER, "gather", LINEAR, 2)           \
    X(SCATTER, "scatter", LINEAR, 2)         \
    X(MATMUL, "matmul", BILINEAR, 2)

typedef enum af_op {
#define AF__X(name, text, kind, arity) AF_OP_##name,
    AF_OPS(AF__X)
#undef AF__X
    AF_OP_COUNT
} af_op;

/* Leaves. An input gets its numbers at each run, and is unlike any other input; `label` (copied;
 * NULL is fine) names it in error sentences. A constant array copies `data` (C order) now. af_full
 * repeats a value. */
AF_API af_expr af_input(af_context *c, const char *label, size_t rank, const size_t *dims);
AF_API af_expr af_constant(af_context *c, double value); /* a scalar: rank 0 */
AF_API af_expr af_full(af_context *c, size_t rank, const size_t *dims, double value);
AF_API af_expr af_constant_array(af_context *c, size_t rank, const size_t *dims,
                                 const double *data);

/* Names the expression in error sentences; returns it. */
AF_API af_expr af_label(af_context *c, af_expr x, const char *label);

/* The shape of an expression: its rank, and the lengths of its axes in dims (room for AF_RANK_MAX).
 * Rank 0 for none. */
AF_API size_t af_shape(const af_context *c, af_expr x, size_t dims[AF_RANK_MAX]);
AF_API size_t af_size(const af_context *c, af_expr x); /* number of elements */

/* Elementwise. The accurate siblings: sech2(x) = 1/cosh(x)^2, sigmoid(-x) = 1 - sigmoid(x). Outside
 * their domains they give NaN or infinity, as the functions of math.h do; the derivative of sqrt at
 * 0 is infinite. */
AF_API af_expr af_neg(af_context *c, af_expr x);
AF_API af_expr af_exp(af_context *c, af_expr x);
AF_API af_expr af_expm1(af_context *c, af_expr x);
AF_API af_expr af_log(af_context *c, af_expr x);
AF_API af_expr af_log1p(af_context *c, af_expr x);
AF_API af_expr af_sqrt(af_context *c, af_expr x);
AF_API af_expr af_reciprocal(af_context *c, af_expr x);
AF_API af_expr af_sin(af_context *c, af_expr x);
AF_API af_expr af_cos(af_context *c, af_expr x);
AF_API af_expr af_tanh(af_context *c, af_expr x);
AF_API af_expr af_sech2(af_context *c, af_expr x);
AF_API af_expr af_sigmoid(af_context *c, af_expr x);
AF_API af_expr af_softplus(af_context *c, af_expr x); /* log(1 + exp(x)) */
AF_API af_expr af_atan(af_context *c, af_expr x);
AF_API af_expr af_abs(af_context *c, af_expr x);
AF_API af_expr af_sign(af_context *c, af_expr x);  /* -1, 0 or 1; derivative 0 */
AF_API af_expr af_floor(af_context *c, af_expr x); /* derivative 0 */
AF_API af_expr af_add(af_context *c, af_expr a, af_expr b);
AF_API af_expr af_sub(af_context *c, af_expr a, af_expr b);
AF_API af_expr af_mul(af_context *c, af_expr a, af_expr b);
AF_API af_expr af_div(af_context *c, af_expr a, af_expr b);
AF_API af_expr af_atan2(af_context *c, af_expr y, af_expr x);
AF_API af_expr af_less(af_context *c, af_expr a, af_expr b); /* 1 where a < b, else 0 */
AF_API af_expr af_where(af_context *c, af_expr condition, af_expr a, af_expr b); /* a where != 0 */

/* Composed of the above. */
AF_API af_expr af_scale(af_context *c, af_expr x, double factor); /* factor x */
AF_API af_expr af_offset(af_context *c, af_expr x, double term);  /* x + term */
AF_API af_expr af_square(af_context *c, af_expr x);
AF_API af_expr af_power(af_context *c, af_expr x, unsigned exponent); /* by squaring */
AF_API af_expr af_maximum(af_context *c, af_expr a, af_expr b);
AF_API af_expr af_minimum(af_context *c, af_expr a, af_expr b);
AF_API af_expr af_relu(af_context *c, af_expr x);
AF_API af_expr af_silu(af_context *c, af_expr x);                 /* x sigmoid(x) */
AF_API af_expr af_wrap(af_context *c, af_expr x);                 /* modulo 2 pi, to [-pi, pi) */

/* Independent uniform numbers in (0,1): a function of (seed, stream, index of the element), where
 * seed is a scalar expression, a whole number (below 2^53, in f32 2^24), fed anew at each run.
 * Derivative 0. */
AF_API af_expr af_random(af_context *c, size_t rank, const size_t *dims, af_expr seed,
                         uint64_t stream);

/* The value of x, but a constant for differentiation. */
AF_API af_expr af_stop(af_context *c, af_expr x);

/* Shapes. Negative axes count from the end. reshape keeps the order of the elements; broadcast
 * repeats as numpy's broadcast_to does; slice takes [start, start + count) of an axis; pad puts x
 * at `start` of an axis of length `total`; concat joins `count` parts that agree in all other
 * axes. */
AF_API af_expr af_reshape(af_context *c, af_expr x, size_t rank, const size_t *dims);
AF_API af_expr af_permute(af_context *c, af_expr x, const size_t *axes); /* out axis i = axes[i] */
AF_API af_expr af_transpose(af_context *c, af_expr x);                   /* swaps the last two */
AF_API af_expr af_broadcast(af_context *c, af_expr x, size_t rank, const size_t *dims);
AF_API af_expr af_slice(af_context *c, af_expr x, int axis, size_t start, size_t count);
AF_API af_expr af_pad(af_context *c, af_expr x, int axis, size_t start, size_t total); /* zeros */
AF_API af_expr af_concat(af_context *c, int axis, size_t count, const af_expr *parts);

/* Rows x[index[i]] along axis 0; index is (n), whole numbers stored as reals. scatter adds row i of
 * x to row index[i] of `rows` rows of zeros. An index outside the rows, or NaN, counts as row 0; in
 * f32 whole numbers end at 2^24, so that af_compile refuses more rows. */
AF_API af_expr af_gather(af_context *c, af_expr x, af_expr index);
AF_API af_expr af_scatter(af_context *c, af_expr x, af_expr index, size_t rows);

/* Sums along axes; the axis stays with length 1 (sum_axis, mean_axis), or all go (sum, mean). */
AF_API af_expr af_sum_axis(af_context *c, af_expr x, int axis);
AF_API af_expr af_mean_axis(af_context *c, af_expr x, int axis);
AF_API af_expr af_sum(af_context *c, af_expr x);
AF_API af_expr af_mean(af_context *c, af_expr x);

/* Matrix product over the last two axes: (..., M, K) (..., K, N) -> (..., M, N). Leading axes must
 * agree, or one of the two has none: it is then used for every matrix of the other. */
AF_API af_expr af_matmul(af_context *c, af_expr a, af_expr b);
