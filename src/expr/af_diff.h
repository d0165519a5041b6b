/* ---- differentiation ----------------------------------------------------------------------------
 *
 * Differentiation takes expressions and returns expressions, so it can be repeated to any order.
 * Take derivatives by few inputs forward (af_jvp), by many parameters in reverse (af_grad). The xs
 * are treated as independent of each other: nothing is differentiated through them. Any node may be
 * an x, except that constants are folded away where they are used: use af_input or
 * af_constant_array. The results may overwrite the ys (af_jvp) or the xs (the others). After a
 * failure they are none: it is AF_ERROR_SHAPE, AF_ERROR_ARGUMENT for an expression that is none, or
 * AF_ERROR_MEMORY. */

/* Gradient of the scalar y by each of the count xs: out[i] has the shape of xs[i]; a zero constant
 * where y does not depend on it. Fails when y has more than one element. */
AF_API af_status af_grad(af_context *c, af_expr y, size_t count, const af_expr *xs, af_expr *out);

/* Reverse mode with a given weight: out[i] = sum over elements of weight * dy/dxs[i]. `weight` has
 * the shape of y. */
AF_API af_status af_vjp(af_context *c, af_expr y, af_expr weight, size_t count, const af_expr *xs,
                        af_expr *out);

/* Forward mode: out[k] = sum_i dys[k]/dxs[i] tangents[i]. Each tangent has the shape of its x, or,
 * to carry D directions through one pass, (D, shape of x); all tangents of one call alike. out[k]
 * has the shape of ys[k], with D in front then. */
AF_API af_status af_jvp(af_context *c, size_t y_count, const af_expr *ys, size_t x_count,
                        const af_expr *xs, const af_expr *tangents, af_expr *out);

/* Value, gradient and Laplacian carried together: x (..., D), y any function that treats the
 * leading axes as independent points. gradient gets (D, shape of y) = dy/dx_d, laplacian gets the
 * shape of y, = sum_d d2y/dx_d2. Either pointer may be NULL. */
AF_API af_status af_laplacian(af_context *c, af_expr y, af_expr x, af_expr *gradient,
                              af_expr *laplacian);
