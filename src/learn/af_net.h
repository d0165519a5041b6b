/* ---- networks -----------------------------------------------------------------------------------
 *
 * A network is a list of views in a parameter store; applying it builds an expression. Rows are
 * samples: x (..., inputs) -> (..., outputs). */

typedef enum af_activation {
    AF_SILU = 0, /* x sigmoid(x) */
    AF_TANH,
    AF_SOFTPLUS,
    AF_SIN,
    AF_RELU /* its second derivative vanishes: not for losses that hold derivatives */
} af_activation;

typedef enum af_architecture {
    AF_MLP = 0, /* `depth` hidden layers of `width` */
    AF_RESDENSE /* the ActionFinder's (its figure 2): residual blocks of width 64, 128, ...,
                   max_width going up, one in the centre, and the same going down: 2 depth + 1
                   blocks of out = in + D2 act(D1 act(in))    (eq. 11), a linear layer at each end
                   and where the width changes */
} af_architecture;

/* Zero means default for every field. */
typedef struct af_net_desc {
    uint32_t start_canary;
    const char *name; /* prefix of the views' names; default "net" */
    size_t inputs, outputs;
    af_architecture architecture;
    af_activation activation;
    size_t width;         /* MLP: of the hidden layers; RESDENSE: of the first block; default 64 */
    size_t depth;         /* default 2; RESDENSE: blocks before the centre, 7 in the paper */
    size_t max_width;     /* RESDENSE; default 1024 */
    int weight_norm;      /* 1: w = g v/|v| for each unit (Salimans & Kingma 2016) of the hidden
                             layers; RESDENSE: of D1 and D2 alone, as in eq. 11 */
    double dropout;       /* RESDENSE: fraction dropped after each activation, the paper: 0.5 ... */
    size_t dropout_above; /* ... in blocks wider than this; default 256 */
    int random_last;      /* 1: the last layer starts at random; 0: at zero, and so the output */
    uint32_t end_canary;
} af_net_desc;

typedef struct af_net af_net;

/* Declares the network's views in the store: NAME.0.weight, NAME.0.bias, NAME.1.weight, NAME.1.gain
 * ... AF_ERROR_ARGUMENT, AF_ERROR_SHAPE or AF_ERROR_MEMORY, *out NULL; some views may be declared
 * then. */
AF_API af_status af_net_create(af_params *p, const af_net_desc *desc, af_net **out);
AF_API void af_net_destroy(af_net *net);

/* The network applied to x. `dropout_seed` is a scalar expression, a new number at each training
 * step; none means no dropout (evaluation). x has two axes or more, the last of length `inputs`;
 * otherwise none, with AF_ERROR_SHAPE in the context. It may be applied often: the parameters are
 * the same. */
AF_API af_expr af_net_apply(const af_net *net, af_expr x, af_expr dropout_seed);

/* The activation function as an expression. */
AF_API af_expr af_activate(af_context *c, af_activation activation, af_expr x);
