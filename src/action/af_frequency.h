/* ---- ActionFinder: frequencies ------------------------------------------------------------------
 *
 * A finder gives the actions and angles of stars; how fast the angles turn follows from the energy.
 * In a static field the energies E = v^2/2 + Phi(x) of the stars are a function of their actions
 * alone, the Hamiltonian H(J), and
 *
 *     Omega = dH/dJ.
 *
 * H is an isochrone and a small network that corrects it, trained on pairs (J, E) of streams: J
 * from the finder, E from a field, such as that which their own energies gave (af_mass_model.h). It
 * is even in J_phi. The zero of E is the field's. */

/* Zero means default for every field. */
typedef struct af_frequency_desc {
    uint32_t start_canary;
    size_t width, depth; /* of the network; default 16, at most 512, and 2, at most 16 */
    size_t train;        /* the first `train` streams are trained on, the others choose when to end;
                            default 7/8 of them */
    size_t steps;        /* of Levenberg-Marquardt; default 80. More help where the actions are very
                            good */
    double ridge;        /* holds the parameters back, relative to the residuals' median; default 1,
                            negative: none */
    double misfit;       /* without a field: the largest af_mass_model_misfit that is good enough;
                            default 1e-3 */
    uint64_t seed;       /* of the first parameters */
    int (*progress)(const af_minimise_report *report, void *user); /* non-zero stops: AF_STOPPED */
    void *user;
    uint32_t end_canary;
} af_frequency_desc;

/* Learns H from streams of one star or more; it becomes a part of the finder and of its file, in
 * the place of an older one. To be called when the map is trained: training forgets H. Streams
 * extended in the field (af_extend.h) know more than short arcs. field NULL: a mass model of the
 * orbits themselves, axisymmetric if the finder is; AF_ERROR_DATA when their energies do not agree
 * in one. AF_ERROR_ARGUMENT; AF_ERROR_DATA when fewer than sixteen streams have actions and
 * energies; AF_ERROR_NONFINITE, AF_ERROR_MEMORY: what was there before stays then. AF_STOPPED: it
 * is the best so far. desc NULL: all defaults. Evaluators of frequencies must be made anew. */
AF_API af_status af_finder_fit_frequencies(af_finder *f, const af_orbits *orbits,
                                           const af_field *field, const af_frequency_desc *desc);

AF_API int af_finder_has_frequencies(const af_finder *f);

/* How well H gives the energies of the streams that were not trained on (of all, if there were
 * none): the median of |H - E|/(Omega_r (|J_phi| + J_z + J_r)), Omega_r being the toy's. NaN
 * without frequencies. */
AF_API double af_finder_frequency_misfit(const af_finder *f);

/* Evaluates `block` stars at a time; compiles and allocates, af_frequencies does not. One for each
 * thread; threads as in af_workspace_create. It uses the finder's context, and the finder must
 * outlive it. AF_ERROR_ARGUMENT when block is 0 or the finder has no frequencies, AF_ERROR_MEMORY;
 * *out is NULL then. Destroying NULL is fine. */
typedef struct af_frequency_evaluator af_frequency_evaluator;
AF_API af_status af_frequency_evaluator_create(const af_finder *f, size_t block, int threads,
                                               af_frequency_evaluator **out);
AF_API void af_frequency_evaluator_destroy(af_frequency_evaluator *e);

/* j (n,3) [km/s kpc] -> Omega (n,3) [km/s/kpc], H (n) [(km/s)^2], either may be NULL. Omega_phi has
 * the sign of J_phi. Negative J_z and J_r count as 0; actions that are not finite give NaN. Returns
 * how many these were. Actions far from those of the training streams are extrapolated. */
AF_API size_t af_frequencies(af_frequency_evaluator *e, size_t n, const double *j, double *omega,
                             double *energy);
