/* ---- ActionFinder: what is learned --------------------------------------------------------------
 *
 * The choices that define a finder (af_finder.h): its toy, generating function, symmetries,
 * networks and loss. */

typedef enum af_generator_kind {
    AF_GENERATOR_FOURIER = 0, /* G = sum_k a_k(J') sin(k.theta) [+ b_k(J') (cos(k.theta) - 1)], the
                                 coefficients from a network: G is periodic, theta = 0 stays, the
                                 network runs once a stream */
    AF_GENERATOR_NETWORK,     /* G = net(cos theta, sin theta, J'), eq. 9 */
    AF_GENERATOR_SHEARS       /* no G: a symplectic map of shears (af_shear.h) takes the toy's
                                 coordinates to (theta'',J''), with no J' to be solved for. Trained
                                 by Levenberg-Marquardt; for disc orbits */
} af_generator_kind;

/* The coordinates that are sheared: regular where the orbits are. */
typedef enum af_chart {
    AF_CHART_AUTO = 0, /* disc for nearly circular streams, else halo */
    AF_CHART_DISC,     /* (theta_phi, J_phi); Poincare pairs of (theta_z, J_z), (theta_r, J_r) */
    AF_CHART_HALO      /* (node, L_z); (theta_z, L); Poincare pair of (theta_r, J_r) */
} af_chart;

/* A symmetry of the potential. It removes harmonics from a Fourier G. */
typedef enum af_symmetry {
    AF_SYMMETRY_AUTO = 0, /* decided from the data, see the fields below */
    AF_SYMMETRY_YES,
    AF_SYMMETRY_NO
} af_symmetry;

typedef enum af_spread_kind {
    AF_SPREAD_ROBUST = 0, /* mean over streams of (s^2/softening^2 + 1)^(1/4), s the rms spread:
                             streams that no map fits (resonant, chaotic) lose their weight */
    AF_SPREAD_ABSOLUTE    /* mean absolute deviation, eqs. 12 and 19 */
} af_spread_kind;

/* Zero means default for every field. */
typedef struct af_finder_desc {
    uint32_t start_canary;
    af_isochrone toy; /* mass 0: chosen from the orbits, so that all are bound */
    int free_toy;     /* M and b are learned too */

    af_generator_kind generator;
    size_t harmonics_r, harmonics_z, harmonics_phi; /* highest |k|; default 12, 8, 3 (10, 16, 3 for
                                                       streams on nearly circular orbits) */
    double harmonics_budget; /* sum of |k_i|/highest at most this; default 1.5 */
    af_chart chart;    /* shears */
    size_t layers;     /* shears; default 12 */
    size_t width;      /* shears: ridge functions of each; default 8 */
    size_t angle_harmonics; /* shears: of an angle that they depend on; default 2 */
    double anchor;     /* shears: weight of the streams' mean J'' staying at the toy's, which binds
                          what the spread leaves free; default 0.003 (disc), 0.03 (halo); negative:
                          none */
    af_symmetry axisymmetric; /* no theta_phi in G, so J_phi = L_z. AUTO: when L_z is conserved in
                                 the data to a hundredth of what the other toy actions are */
    af_symmetry plane_symmetric; /* only even k_z (+ k_phi): z -> -z. AUTO: yes */
    af_symmetry time_symmetric;  /* only sines. AUTO: when axisymmetric */
    double coefficient_penalty;  /* times the mean square of the network's output; default 1;
                                    negative: none */
    af_net_desc net; /* of G; inputs and outputs are set here. Default: MLP 3 x 64 SiLU for a
                        Fourier G, 2 x 64 otherwise; architecture RESDENSE, depth 7, weight_norm 1,
                        dropout 0.5 is the paper's. At most 16384 wide and 256 deep */
    int point_transformation; /* theta'' = theta' + net(cos theta', sin theta') */
    af_net_desc point_net;    /* its network; default MLP 2 x 64 SiLU */

    af_spread_kind spread;
    int hold_actions;       /* 0: the gradient follows J' through the equation it solves (implicit
                               function theorem); 1: J' is held during a step, as in the paper's
                               code */
    double softening;       /* [km/s kpc]; default: 0.02 times the toy's median spread */
    double negative_weight; /* of eq. 13; default 0 for ROBUST, 1 for ABSOLUTE; negative: none */
    double angle_weight;    /* alpha_1 of eq. 12; default 0.1 for a network G or a point
                               transformation; negative: none */
    uint64_t seed;          /* of the first parameters, the order of the streams and the dropout */
    uint32_t end_canary;
} af_finder_desc;
