/* ---- mock samples with known potentials ---------------------------------------------------------
 *
 * The papers' test systems, in kpc and km/s. With mass 1/AF_GRAVITY (GM = 1) they are the papers'
 * own numbers. Star i is a function of the seed and of i alone, whatever n and the threads are; eta
 * has room for (n,6). Equations: Green, Ting & Kamdar (2023). */

/* Stars of an isotropic Plummer sphere of that mass [Msun] and scale length b [kpc] inside the
 * radius r_max (INFINITY: all): f ~ (-E)^(7/2) (eqs. 16, 17). AF_ERROR_ARGUMENT for numbers that
 * are not positive. */
AF_API af_status dp_mock_plummer(af_context *c, double mass, double b, double r_max, size_t n,
                                 uint64_t seed, double *eta);

/* The true gradients d ln f/d eta (n,6) of that sphere, and ln f (n), f normalised over r < r_max;
 * either may be NULL. Unbound stars get NaN; beyond r_max the formulas of f go on. */
AF_API af_status dp_mock_plummer_gradient(af_context *c, double mass, double b, double r_max,
                                          size_t n, const double *eta, double *ln_f,
                                          double *gradient);

/* Zero means default for every field. */
typedef struct dp_mock_disc_desc {
    uint32_t start_canary;
    double mass, a, b;  /* Miyamoto-Nagai [Msun, kpc]; default 1/AF_GRAVITY, 1, 0.1 (eq. 18) */
    double h_r, h_z;    /* where stars begin, eq. 19 [kpc]; default 1, 0.1 */
    double times;       /* dynamical times that each star is followed; default 128; the paper's
                           non-stationary mock: 8 */
    dp_volume volume;   /* stars are drawn until n of them are inside */
    uint32_t end_canary;
} dp_mock_disc_desc;

/* Stars on near-circular orbits in a Miyamoto-Nagai disc, begun as in eqs. 19 to 22 and followed in
 * time. A star's dynamical time is the longest of the periods of small excursions about its guiding
 * radius, the circular orbit of its angular momentum; here that is always the orbit's own. desc
 * NULL: all defaults. AF_ERROR_ARGUMENT, also for a volume without stars, AF_ERROR_MEMORY. */
AF_API af_status dp_mock_disc(af_context *c, const dp_mock_disc_desc *desc, size_t n,
                              uint64_t seed, double *eta);

/* Measures the n stars from x (3) with the errors of section 4.1: distances to min(0.1 r, 0.1) r (r
 * in kpc), velocities along the line of sight to `v_los`, across it to `v_tan` r in each of two
 * directions (both [km/s]); the paper, where GM = 1: 0.0015, 0.00015. noisy and, unless NULL,
 * errors (n,6: standard deviations along the six axes, whose correlations are left out) may not
 * overlap eta. */
AF_API void dp_mock_errors(const double x[3], double v_los, double v_tan, size_t n,
                           const double *eta, uint64_t seed, double *noisy, double *errors);

/* Zero means default for every field. */
typedef struct dp_mock_bar_desc {
    uint32_t start_canary;
    double omega;   /* pattern speed about the z axis [km/s/kpc]; default 28.2 */
    double speed, core, p, q; /* of the logarithmic potential that turns; default 200, 1, 0.8, 0.7;
                                 p <= 1: it is longest along x */
    double extent;  /* standard deviation of the places where stars begin, along x; times p and q
                       along y and z [kpc]; default 1.5 */
    double times;   /* dynamical times that each star is followed at least; default 64 */
    uint32_t end_canary;
} dp_mock_bar_desc;

/* Stars in a bar that turns, phase-mixed in its frame, and with a net rotation, so that f depends
 * on more than the Jacobi energy; seen from the frame that does not turn, when the bar lies along
 * x. Stars begin with half the local circular speed, and a dispersion of as much along each axis;
 * those that could cross corotation (a Jacobi energy above that of its saddle points) are left out,
 * so all stay inside it. Each is followed for `times` to twice that many periods 2 pi m/speed, m
 * being the radius of the equipotential that its energy reaches. desc NULL: all defaults.
 * AF_ERROR_ARGUMENT, also for a bar so fast that there is no corotation, AF_ERROR_MEMORY. */
AF_API af_status dp_mock_bar(af_context *c, const dp_mock_bar_desc *desc, size_t n, uint64_t seed,
                             double *eta);
