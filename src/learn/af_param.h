/* ---- parameters ---------------------------------------------------------------------------------
 *
 * All numbers that are learned lie in one flat vector with named views. First the views are
 * declared (af_params_add), then they are used as expressions: optimisers, files and other machines
 * see one array, networks see matrices. */

typedef struct af_params af_params;

typedef enum af_init {
    AF_INIT_NORMAL = 0, /* mean 0, standard deviation `scale` */
    AF_INIT_CONSTANT    /* every element = scale */
} af_init;

/* An empty store. `seed` chooses the initial values. The store uses the context for its
 * expressions. AF_ERROR_MEMORY, *out NULL. Destroy what uses the store (networks, trainers) before
 * it; NULL is fine. */
AF_API af_status af_params_create(af_context *c, uint64_t seed, af_params **out);
AF_API void af_params_destroy(af_params *p);

/* Declares a view and fills it; *view is its number. Fails with AF_ERROR_ARGUMENT for a name that
 * is empty or taken, or once an expression of the store exists, with AF_ERROR_SHAPE for a bad
 * shape, with AF_ERROR_MEMORY; the store is unchanged then. view may be NULL. */
AF_API af_status af_params_add(af_params *p, const char *name, size_t rank, const size_t *dims,
                               af_init init, double scale, size_t *view);

/* The expression of a view, in the view's shape; none when there is no such view. */
AF_API af_expr af_params_expr(af_params *p, size_t view);

/* The input to list when compiling: the whole vector, shape (size). */
AF_API af_expr af_params_input(af_params *p);

/* Gradient of a scalar by the whole vector, shape (size): of what it takes from the views and of
 * what it takes from af_params_input. */
AF_API af_expr af_params_grad(af_params *p, af_expr loss);

AF_API size_t af_params_size(const af_params *p); /* of the vector: all elements of all views */
AF_API double *af_params_data(af_params *p); /* the vector; the caller may change its values. It
                                                moves when a view is declared */
AF_API size_t af_params_count(const af_params *p); /* of views */
AF_API const char *af_params_name(const af_params *p, size_t view);
AF_API double *af_params_view(af_params *p, size_t view); /* where a view begins in the vector */
AF_API af_context *af_params_context(af_params *p);

/* Puts every view into a set of tensors as prefix + name, and takes them out again. prefix NULL:
 * none. Reading fails with AF_ERROR_FORMAT or AF_ERROR_SHAPE when a view is not there as declared;
 * no parameter has changed then. */
AF_API af_status af_params_save(const af_params *p, af_tensors *to, const char *prefix);
AF_API af_status af_params_load(af_params *p, const af_tensors *from, const char *prefix);
