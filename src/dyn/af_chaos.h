/* ---- dyn: chaos, seen by following the orbit ----------------------------------------------------
 *
 * Near a regular orbit others drift away in proportion to time; near a chaotic one exponentially.
 * The orbit through a point is followed in a static field, with an infinitesimal displacement w
 * that obeys the variational equation (Benettin, Galgani, Giorgilli & Strelcyn 1980, Meccanica 15,
 * 9; Skokos 2010, Lecture Notes in Physics 790, 63). From L(t) = ln(|w(t)|/|w(0)|) follow
 *
 *     MEGNO    Y(t) = (2/t) integral of s dL(s) = 2 (L(t) - mean of L): tends to 2 on regular
 *              orbits, grows as (largest Lyapunov exponent) t on chaotic ones (Cincotta & Simo
 *              2000, A&AS 147, 205)
 *     drift    by how much the leading frequencies of x, y and z change from one half of the orbit
 *              to the other (Laskar 1990, Icarus 88, 266; Valluri & Merritt 1998, ApJ 506, 686)
 *
 * Time is counted in periods of the orbit, T = 2 pi rms(r)/rms(v), the period of a circle, and of
 * any orbit in a harmonic field; a star that goes round once in T passes its pericentre once or
 * twice. Chaos can be so slow, or begin so late, that it does not show in the time that one looks,
 * and fields that were fitted to data have wiggles, which make chaos of their own.
 *
 * A force of any origin will do: it must be static, and finite where the orbit goes. */

/* Flags beside AF_ORBIT_UNSETTLED. */
enum {
    AF_ORBIT_CHAOTIC = 16384, /* score above the threshold */
    AF_STREAM_CHAOTIC = 16384 /* the same, where a stream was judged by the orbit of a star */
};

/* Zero means default for every field. */
typedef struct af_chaos_desc {
    uint32_t start_canary;
    double periods;   /* how long, 20 to 100000; default 200 */
    double tolerance; /* of an integration step, relative, 1e-14 to 1e-5; default 1e-8 */
    double threshold; /* of the score, above which an orbit is called chaotic; default 4: of 200
                         regular orbits in each of three spherical potentials at most one exceeds
                         it within 100 periods (tests/test_chaos.c) */
    uint32_t end_canary;
} af_chaos_desc;

typedef struct af_chaos {
    double score;    /* megno (drift/1e-3)^(1/10), drift at least 1e-7: the best order from regular
                        to chaotic. About 1 to 2 on regular orbits */
    double megno;    /* the largest mean of Y over two periods, from the second period on; about 2
                        on regular orbits, a little more near resonances */
    double drift;    /* |change| of the leading frequency, turns a period, the median of x, y, z */
    double lyapunov; /* largest Lyapunov exponent times T: 2 (mean of Y - 2)/periods, at least 0 */
    double period;   /* T [Gyr] */
    double nearest;  /* the smallest distance from the centre [kpc] at the steps that were taken:
                        fields that were learned are a guess nearer to it than stars have been */
} af_chaos;

/* The orbit through start (6). *flags gets AF_ORBIT_CHAOTIC, AF_ORBIT_INVALID (start or the force
 * there not finite, or a star in the centre), or AF_ORBIT_UNSETTLED (the star escapes, or the orbit
 * takes more than 2000 steps a period); with the latter two all numbers are NaN. flags may be NULL.
 * AF_ERROR_ARGUMENT: canaries, desc out of range, a force without its function; AF_ERROR_MEMORY.
 * The outputs are untouched then. desc NULL: all defaults. */
AF_API af_status af_orbit_chaos(af_context *context, af_force force, const double start[6],
                                const af_chaos_desc *desc, af_chaos *out, unsigned *flags);

/* The same for n orbits: xv (n,6), out (n), flags (n) or NULL, on all threads of the context, which
 * share the force. Outputs do not depend on the number of threads. */
AF_API af_status af_orbit_chaos_of(af_context *context, af_force force, size_t n, const double *xv,
                                   const af_chaos_desc *desc, af_chaos *out, unsigned *flags);
