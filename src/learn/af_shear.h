/* ---- symplectic maps from shears ----------------------------------------------------------------
 *
 * A map (q,p) -> (Q,P) in n degrees of freedom, made of kicks p -= dV/dq and drifts q += dT/dp in
 * turn. Each is symplectic whatever V and T are, and undone to rounding by the opposite sign, so
 * both hold for the whole map (SympNets: Jin et al. 2020, Neural Networks 132, 166). V and T are
 * sums of ridge functions and a quadratic form,
 *
 *     V(q) = 1/2 x.L x + sum_h a_h R(k_h . f(q) + b_h)
 *
 * f are features: (q - center)/scale, or cos(m q), sin(m q), m = 1 .. harmonics, of an angle pair;
 * x are those that are not cos or sin; R' is tanh or sin. T(p) is the same in p, with the momenta
 * of all pairs among the x. The q of a cyclic pair (below) is not in V. */

enum { AF_FREEDOMS_MAX = 8 };

/* What the two coordinates of a degree of freedom are. */
typedef enum af_pair {
    AF_PAIR_CARTESIAN = 0, /* q and p any numbers */
    AF_PAIR_POINCARE,      /* q an angle, p >= 0 its action, in and out; sheared as sqrt(2p) sin q,
                              sqrt(2p) cos q, so that nothing is special at p = 0 */
    AF_PAIR_ANGLE,         /* q an angle, p its action of either sign: the map is periodic in q */
    AF_PAIR_CYCLIC         /* q an angle that nothing depends on, so that p is conserved exactly:
                              P = p, and Q = q + a function of p and of all other pairs (the azimuth
                              and L_z about an axis of symmetry). Not all pairs can be cyclic */
} af_pair;

typedef enum af_ridge { AF_RIDGE_TANH = 0, AF_RIDGE_SIN } af_ridge;

/* Zero means default for every field. */
typedef struct af_shear_desc {
    uint32_t start_canary;
    const char *name;     /* prefix of the views' names; default "map" */
    size_t freedoms;      /* n; default 1 */
    const af_pair *pairs; /* (n); NULL: all Cartesian */
    size_t layers;        /* shears, kicks and drifts in turn; default 8 */
    size_t width;         /* ridge functions of each; default 6 */
    af_ridge ridge;
    size_t harmonics;     /* of angles; default 1 */
    int odd;              /* 1: no b and no shift: (-q,-p) -> (-Q,-P). Cartesian pairs alone, and
                             no center */
    const int *even;      /* (n), or NULL: 1 where the map commutes to rounding with half a turn of
                             this pair alone: (q,p) -> (-q,-p) of a Cartesian one, q -> q + pi of
                             others. Angle pairs have 2m in place of m. Cartesian and Poincare pairs
                             have even V and T, no center and no shift; each doubles the ridge
                             functions (their time, not their number of parameters). Cyclic pairs
                             are so anyway */
    double start;         /* the a_h begin as normal numbers of this size; default 0.01 */
    const double *scale;  /* (2n): for the features, of q_1 .. q_n, p_1 .. p_n as the map sees
                             them; NULL: 1 */
    const double *center; /* (2n): the same; NULL: 0. The q of angle and cyclic pairs has neither */
    uint32_t end_canary;
} af_shear_desc;

typedef struct af_shear af_shear;

/* Declares the map's views in the store:
 *
 *     NAME.stretch (n)      Cartesian pairs begin as q e^s, p e^-s;
 *     NAME.shift (2,n)      added to their q and p before; not there when odd
 *     NAME.0.linear         upper triangle of L, row by row; not there where there are no x
 *     NAME.0.amplitude      a (width)
 *     NAME.0.direction      k (width, features): of the x, then of cos(m q) and of sin(m q), each
 *                           of all angles for m = 1, then for m = 2 ...
 *     NAME.0.offset         b (width); not there when odd
 *     NAME.1.linear ...
 *
 * The x stand in the order of the pairs, but behind these come the momenta of angle pairs and then
 * those of cyclic ones. With e even Cartesian and Poincare pairs, V and T are sums of their ridge
 * functions for all 2^e choices of signs of the k of these pairs' x. Nothing depends on the stretch
 * of pairs with an angle, on the shift of these and of even pairs, nor on L_ij, i != j, where x_i
 * or x_j is of an even Cartesian or Poincare pair. A new map is nearly the identity: a is small; L,
 * stretch and shift are 0. desc NULL: all defaults. Nothing of the desc is kept.
 * AF_ERROR_ARGUMENT, AF_ERROR_SHAPE or AF_ERROR_MEMORY, *out NULL; some views may be declared
 * then. */
AF_API af_status af_shear_create(af_params *p, const af_shear_desc *desc, af_shear **out);
AF_API void af_shear_destroy(af_shear *map);

/* How the derivatives of the result come: */
typedef enum af_slopes {
    AF_SLOPES_EXACT = 0, /* right to any order */
    AF_SLOPES_FROZEN     /* first derivatives alone are right, second ones are not; tangents pass a
                            layer with n^2 products instead of through its ridge functions: for
                            Levenberg-Marquardt */
} af_slopes;

/* The map and its inverse, built as expressions: q[i], p[i], i < n, all of one shape; out come
 * Q[i], P[i] of that shape, which may overwrite them. The angle of a Poincare pair comes out in
 * [-pi, pi], those of angle and cyclic pairs keep their turns. Where the action of a Poincare pair
 * is 0, the values are right and the derivatives by that pair are not finite. In case of failure
 * the results are none: AF_ERROR_SHAPE, AF_ERROR_ARGUMENT for a coordinate that is none,
 * AF_ERROR_MEMORY. */
AF_API af_status af_shear_apply(const af_shear *map, af_slopes slopes, const af_expr *q,
                                const af_expr *p, af_expr *q_out, af_expr *p_out);
AF_API af_status af_shear_invert(const af_shear *map, af_slopes slopes, const af_expr *q,
                                 const af_expr *p, af_expr *q_out, af_expr *p_out);

/* Angle and action as a Poincare pair q = sqrt(2J) sin(theta), p = sqrt(2J) cos(theta), which is
 * canonical too, and back: theta in [-pi, pi]. */
AF_API void af_poincare_pair(af_context *c, af_expr theta, af_expr j, af_expr *q, af_expr *p);
AF_API void af_poincare_angle(af_context *c, af_expr q, af_expr p, af_expr *theta, af_expr *j);

/* The gradient of sum_h a_h R(k_h . f + b_h) by f (features, samples), as an array of that shape:
 * the building block of the shears, and of a frequency map dH/dJ. amplitude (h), direction
 * (h, features), offset (h) or none. None in case of failure, with AF_ERROR_SHAPE or
 * AF_ERROR_MEMORY in the context. */
AF_API af_expr af_ridge_gradient(af_context *c, af_ridge ridge, af_expr features,
                                 af_expr amplitude, af_expr direction, af_expr offset);
