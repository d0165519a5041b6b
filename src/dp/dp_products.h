/* ---- what a potential gives ---------------------------------------------------------------------
 *
 * Each is a sum over points around each of m places. AF_ERROR_ARGUMENT for lengths that make no
 * sense, AF_ERROR_MEMORY, and as dp_potential_evaluate; results are of no use then. */

/* Circular velocity sqrt(R dPhi/dR) (m) at radii (m) in the plane z = 0, from the mean of the force
 * over `angles` directions (0: 32); 0 where it points outwards. */
AF_API af_status dp_circular_velocity(dp_potential *p, size_t m, const double *radii,
                                      size_t angles, double *speed);

/* Surface density [Msun/kpc^2] sigma (m) within |z| < height above and below (x, y) (m,2): the
 * integral of the density by Gauss and Legendre, with half of the `steps` points (0: 64) on either
 * side of the plane, close to which they are dense, as discs are. */
AF_API af_status dp_surface_density(dp_potential *p, size_t m, const double *xy, double height,
                                    size_t steps, double *sigma);

/* Mean density (m) inside the spheres of that radius about x (m,3) by Gauss's theorem, from forces
 * alone: -3 <a . n>/(4 pi G radius). `directions` n (0: 512) are rounded up to 2 k^2, k of Gauss
 * and Legendre in n_z by 2 k angles: exact for forces that are polynomials of degree 2 k - 2. */
AF_API af_status dp_sphere_density(dp_potential *p, size_t m, const double *x, double radius,
                                   size_t directions, double *density);

/* ---- maps: means over cells of phase space (figure 12) --------------------------------------- */

typedef enum dp_coordinate {
    DP_COORDINATE_X = 0,
    DP_COORDINATE_Y,
    DP_COORDINATE_Z,
    DP_COORDINATE_VX,
    DP_COORDINATE_VY,
    DP_COORDINATE_VZ,
    DP_COORDINATE_CYLINDER_R, /* distance from the z axis; on it the direction R is that of x */
    DP_COORDINATE_PHI,        /* in (-pi, pi] */
    DP_COORDINATE_V_R,        /* away from the axis */
    DP_COORDINATE_V_PHI,      /* around it, towards larger phi */
    DP_COORDINATE_R,          /* |x| */
    DP_COORDINATE_V           /* |v| */
} dp_coordinate;

/* "x", "y", "z", "vx", "vy", "vz", "R", "phi", "v_R", "v_phi", "r", "v"; NULL for others. */
AF_API const char *dp_coordinate_name(dp_coordinate coordinate);

/* A coordinate of the phase-space point eta (6). */
AF_API double dp_coordinate_of(dp_coordinate coordinate, const double eta[6]);

/* The cells of a map along one coordinate, all of one size. */
typedef struct dp_map_axis {
    dp_coordinate coordinate;
    size_t bins;      /* 0: 64; 1: all along this coordinate together */
    double low, high; /* both 0: the range of the points */
} dp_map_axis;

/* Means of value (n) over the points eta (n,6) in the cells of two coordinates. Points drawn from f
 * make them f-weighted: with the residuals of dp_potential_residual they are figure 12's maps of
 * non-stationarity. weights (n) or NULL. What axes leave open is written there, so that a second
 * call with them has the same cells. All outputs are (axes[0].bins, axes[1].bins), by axes[0]
 * first; each may be NULL: count, the sum of the weights; mean, NaN in empty cells; error, the
 * standard error of the mean from the scatter in the cell, NaN where it has fewer than two points.
 * value NULL: count alone. Points outside the cells are left out; the upper end belongs to the last
 * cell.
 *
 * Where bins are left open, outputs have room for 64 of them. AF_ERROR_ARGUMENT for axes that make
 * no sense, AF_ERROR_DATA, naming the point, for numbers that are not finite and weights below
 * zero; AF_ERROR_MEMORY. */
AF_API af_status dp_map(af_context *c, dp_map_axis axes[2], size_t n, const double *eta,
                        const double *weights, const double *value, double *count, double *mean,
                        double *error);

/* The Poisson significance (n1 - q n2)/sqrt(q n2) of what two maps' counts differ by (figures 2 and
 * 11: stars against draws of a flow), q being the ratio of all n1 to all n2; 0 where both are
 * empty, and where n2 < 1 the root is that of q: one of its points is the least that it can tell.
 * NaN everywhere when one map is empty. */
AF_API void dp_map_significance(size_t cells, const double *n1, const double *n2,
                                double *significance);
