/* ---- the acceleration field ---------------------------------------------------------------------
 *
 * Actions are constants of the motion. So a map (x,v) -> (theta,J) tells the field in which it is
 * true (Ibata et al. 2021, section 4): for each star
 *
 *     dJ_i/dt     = dJ_i/dx . v     + dJ_i/dv . a     = 0          (eq. 15)
 *     dtheta_i/dt = dtheta_i/dx . v + dtheta_i/dv . a = Omega_i    (eq. 16)
 *
 * Eq. 15 is three linear equations for the acceleration a at the place of the star: solved there
 * (af_accel_linear), or met by a network for all stars together (af_accel_fit), which can be asked
 * elsewhere, for places alone. Positions in kpc, velocities in km/s, accelerations in
 * (km/s)^2/kpc, potentials in (km/s)^2, frequencies in km/s/kpc. */

/* ---- maps with derivatives ---- */

/* A map (x,v) -> (theta,J), of whatever origin, as what follows sees it. */
typedef struct af_phase_map {
    /* xv (streams, stars, 6) -> j, theta (streams, stars, 3) and their derivatives by x, y, z, vx,
     * vy, vz: dj, dtheta (streams, stars, 3, 6), each NULL if not wanted. The stars of a stream are
     * on one orbit, which the map may use. count (streams): valid stars, NULL: all; the others,
     * and stars for which there is no answer, get NaN. Returns how many valid stars those are. */
    size_t (*evaluate)(size_t streams, size_t stars, const double *xv, const size_t *count,
                       double *j, double *theta, double *dj, double *dtheta, void *user);
    void *user;
} af_phase_map;

/* The map of a finder: toy, generating function with J' solved for, and point transformation. J' is
 * the stream's, as in af_evaluate; the derivatives are those of the map that takes each star alone,
 * i.e. with dJ'/d(x,v) by the implicit function theorem. They have no meaning in the plane z = 0,
 * nor for circular and radial orbits, nor where J' did not settle: NaN. */
typedef struct af_mapper af_mapper;

/* Made once, for a trained finder that must outlive it: compiles and allocates, evaluating does
 * not. Streams of `stars` stars share J'; streams of another length are taken star by star, and
 * stars = 1 means that for all. `block` stars are computed at a time; threads as in
 * af_workspace_create. One mapper for each thread. AF_ERROR_ARGUMENT when stars or block is 0,
 * AF_ERROR_MEMORY; *out is NULL then. Destroying NULL is fine. */
AF_API af_status af_mapper_create(const af_finder *f, size_t stars, size_t block, int threads,
                                  af_mapper **out);
AF_API void af_mapper_destroy(af_mapper *m);
AF_API af_phase_map af_mapper_map(af_mapper *m); /* valid as long as the mapper */

/* ---- without a network ---- */

/* Zero means default for every field. */
typedef struct af_accel_linear_desc {
    uint32_t start_canary;
    size_t neighbours;  /* stars nearest to the point whose equations are solved together; default
                           1: the nearest star's own acceleration (at a star: eq. 15 solved) */
    int gradient;       /* 1: the field varies linearly among them; 0: it is the same for all. Both
                           after the toy's has been taken off */
    size_t rounds;      /* in which stars that contradict the others lose weight (Cauchy, scale: the
                           median); default 10 */
    af_symmetry axisymmetric;    /* stars are turned to the azimuth of the point. AUTO: when L_z is
                                    conserved in the streams to a hundredth of L */
    af_symmetry plane_symmetric; /* and mirrored to its side of z = 0. AUTO: yes when
                                    neighbours > 1 */
    af_isochrone toy;   /* mass 0: chosen from the orbits (af_isochrone_fit) */
    uint32_t end_canary;
} af_accel_linear_desc;

/* Accelerations a (points, 3) at x (points, 3) from the stars of the orbits; NaN where the
 * equations are singular. misfit (points), or NULL: rms of dJ/dt left, over Omega_r |J| of the toy:
 * 0 for one star. desc NULL: all defaults. AF_ERROR_ARGUMENT, AF_ERROR_DATA when the map has no
 * answer for as many stars, or as af_isochrone_fit; AF_ERROR_MEMORY. */
AF_API af_status af_accel_linear(af_context *c, const af_orbits *orbits, const af_phase_map *map,
                                 const af_accel_linear_desc *desc, size_t points, const double *x,
                                 double *a, double *misfit);

/* ---- with a network ---- */

typedef enum af_accel_model {
    AF_ACCEL_POTENTIAL = 0, /* a = -grad Phi, Phi = Phi_toy + net: a field that conserves energy */
    AF_ACCEL_FREE           /* a = a_toy + |a_toy| net(x), eq. 14: any field, no symmetries */
} af_accel_model;

/* Zero means default for every field. */
typedef struct af_accel_desc {
    uint32_t start_canary;
    af_accel_model model;
    af_isochrone toy;            /* mass 0: chosen from the orbits (af_isochrone_fit) */
    af_symmetry axisymmetric;    /* of the potential: Phi(R,z). AUTO: when L_z is conserved in the
                                    streams to a hundredth of L */
    af_symmetry plane_symmetric; /* of the potential: Phi(|z|). AUTO: yes */
    af_net_desc net;             /* inputs and outputs are set here; default MLP 2 x 32 SiLU */
    uint64_t seed;
    uint32_t end_canary;
} af_accel_desc;

typedef struct af_accel af_accel;

/* A field for these orbits, which chooses toy, symmetries and units; it starts as the toy's. The
 * orbits are not kept. desc NULL: all defaults. AF_ERROR_ARGUMENT, AF_ERROR_DATA when a toy cannot
 * be chosen, AF_ERROR_MEMORY; *out is NULL then. Destroy its evaluators first; NULL is fine. */
AF_API af_status af_accel_create(af_context *c, const af_orbits *orbits, const af_accel_desc *desc,
                                 af_accel **out);
AF_API void af_accel_destroy(af_accel *a);

/* What is minimised, by L-BFGS over all stars: eq. 17 and the energy,
 *
 *     L = action_weight L_J + symmetry_weight L_symmetry + frequency_weight L_Omega
 *         + energy_weight L_E,
 *
 * each term the mean over the stars of log(1 + r^2), so that stars whose map is wrong lose their
 * weight, where r is what should vanish: dJ/dt (eq. 15); 1 + cos of the angle between a_R and R;
 * Omega (eq. 16) less its mean over the stream; v^2/2 + Phi less its mean over the stream.
 * Frequencies are in units of the toy's Omega_r, actions in units of the toy's |J_phi| + J_z + J_r,
 * energies in their product, and all over the relative spread of J that the map leaves within
 * streams, the median; dJ/dt over that of its own stream as well, and over the size of the two
 * terms that cancel in it. */
typedef struct af_accel_fit_desc {
    uint32_t start_canary;
    double action_weight;    /* of L_J; default 1; negative: none */
    double symmetry_weight;  /* alpha_2 of eq. 17; default 0, as in the paper */
    double frequency_weight; /* alpha_3 of eq. 17; default 0, as in the paper */
    double energy_weight;    /* default 100 for AF_ACCEL_POTENTIAL, which it needs; negative: none.
                                That the stars of a stream have one energy is seen without the
                                map: in data without errors it makes the field several times better
                                where that changes fast, as in a disc */
    size_t steps;            /* default 1000 */
    double tolerance;        /* as in af_minimise_desc; default 1e-6 */
    int (*progress)(const af_minimise_report *report, void *user); /* non-zero stops: AF_STOPPED */
    void *user;
    uint32_t end_canary;
} af_accel_fit_desc;

/* Trains from where the field is now; the map is not changed. map may be NULL when energy_weight
 * alone is positive. Stars for which the map has no answer are left out. desc NULL: all defaults.
 * AF_ERROR_ARGUMENT; AF_ERROR_DATA when no star is left; AF_ERROR_NONFINITE, AF_ERROR_MEMORY;
 * AF_STOPPED. Make evaluators afterwards. */
AF_API af_status af_accel_fit(af_accel *a, const af_orbits *orbits, const af_phase_map *map,
                              const af_accel_fit_desc *desc);

/* One safetensors file. Fail as af_finder_save and af_finder_load do. */
AF_API af_status af_accel_save(const af_accel *a, const char *path);
AF_API af_status af_accel_load(af_context *c, const char *path, af_accel **out);

AF_API af_isochrone af_accel_toy(const af_accel *a);
AF_API size_t af_accel_parameters(const af_accel *a);
AF_API int af_accel_is_axisymmetric(const af_accel *a); /* by construction */

/* Evaluates `block` points at a time; one for each thread; threads as in af_workspace_create.
 * AF_ERROR_ARGUMENT when block is 0, AF_ERROR_MEMORY; *out is NULL then. */
typedef struct af_accel_evaluator af_accel_evaluator;
AF_API af_status af_accel_evaluator_create(const af_accel *a, size_t block, int threads,
                                           af_accel_evaluator **out);
AF_API void af_accel_evaluator_destroy(af_accel_evaluator *e);

/* x (points, 3) -> accelerations (points, 3) and Phi (points), each NULL if not wanted. The zero of
 * Phi has no meaning; NaN for AF_ACCEL_FREE. Allocates nothing. */
AF_API void af_accel_evaluate(af_accel_evaluator *e, size_t points, const double *x,
                              double *acceleration, double *potential);

/* The field as a force for orbits (af_orbit.h), as long as the evaluator lives; one thread. */
AF_API af_force af_accel_force(af_accel_evaluator *e);

/* Frequencies omega (S,N,3) of the stars by eq. 16; NaN where the map has no answer. omega_stream
 * (S,3), or NULL: the median over the stars. AF_ERROR_MEMORY. */
AF_API af_status af_accel_frequencies(const af_accel *a, const af_orbits *orbits,
                                      const af_phase_map *map, double *omega,
                                      double *omega_stream);

/* ---- a known field ---- */

/* Trains a finder as af_finder_fit does, with a term more that asks G and P to be true in a given
 * field (section 7): `weight` (0 means 1) times the mean over streams of (s^2/softening^2 +
 * 1)^(1/4), s being the rms of dJ''/dt over the toy's Omega_r, or of |dJ''/dt| for
 * AF_SPREAD_ABSOLUTE. No star may be in the plane z = 0, on a circular or a radial orbit
 * (AF_ERROR_DATA). Otherwise it fails as af_finder_fit does, and stops and resumes like it. */
AF_API af_status af_finder_fit_known(af_finder *f, const af_orbits *orbits, af_force force,
                                     double weight, const af_fit_desc *desc);
