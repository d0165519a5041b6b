/* Frequencies from a Hamiltonian of the actions: against the isochrone's, against those that orbits
 * in a galaxy give, and beside the toy's. */
#if !defined(_POSIX_C_SOURCE) && !defined(__APPLE__)
#  define _POSIX_C_SOURCE 200809L /* getpid */
#endif
#define ACTIONFINDER_IMPLEMENTATION
#include "actionfinder.in.h"
#include "af_test.h"
#define MOCK_NAME "frequency"
#include "af_mock.h"

enum { STREAMS = 40, STARS = 3 };

/* ---- an isochrone, and a finder that knows it ---- */

static double isochrone_value(const double x[3], void *user) {
    af_potential p = af_isochrone_potential((const af_isochrone *)user);
    return af_potential_value(&p, 1, x);
}

static void isochrone_pull(const double x[3], double a[3], void *user) {
    af_potential p = af_isochrone_potential((const af_isochrone *)user);
    af_potential_acceleration(&p, 1, x, a);
}

static af_field isochrone_field(void) {
    static af_isochrone iso;
    af_field f;
    iso = mock_truth();
    f.value = isochrone_value;
    f.acceleration = isochrone_pull;
    f.user = &iso;
    return f;
}

/* Untrained, so that its actions are the toy's. */
static af_finder *finder_of(af_context *c, const af_orbits *o, double mass, double scale) {
    af_finder_desc d = AF__ZERO;
    af_finder *f = NULL;
    d.toy = mock_truth();
    d.toy.mass *= mass;
    d.toy.scale *= scale;
    d.harmonics_r = d.harmonics_z = 2;
    d.net.width = 4;
    d.net.depth = 1;
    CHECK(af_finder_create(c, o, &d, &f) == AF_OK);
    return f;
}

/* Small and quick. */
static af_frequency_desc small(void) {
    af_frequency_desc d = AF__ZERO;
    d.width = 4;
    d.depth = 1;
    d.steps = 6;
    return d;
}

typedef struct setting {
    af_context *c;
    af_orbits *o;
    af_finder *f;
    af_field field;
} setting;

static setting set_up(void) {
    setting s;
    s.c = NULL;
    CHECK(af_context_create(NULL, &s.c) == AF_OK);
    s.o = mock_orbits(s.c, 3, STREAMS, STARS);
    s.f = finder_of(s.c, s.o, 1.0, 1.0);
    s.field = isochrone_field();
    return s;
}

static void take_down(setting *s) {
    af_finder_destroy(s->f);
    af_orbits_destroy(s->o);
    af_context_destroy(s->c);
}

/* Omega and H of n actions. */
static void frequencies(const af_finder *f, size_t block, size_t n, const double *j, double *omega,
                        double *energy) {
    af_frequency_evaluator *e = NULL;
    CHECK(af_frequency_evaluator_create(f, block, 1, &e) == AF_OK);
    if (e) CHECK(af_frequencies(e, n, j, omega, energy) == 0);
    af_frequency_evaluator_destroy(e);
}

/* ---- the isochrone ---- */

/* Where the toy is the truth H is the toy's, and stays so when it is trained. */
TEST(exact_toy) {
    setting s = set_up();
    double xv[6 * STREAMS], j[3 * STREAMS], theta[3 * STREAMS], omega[3 * STREAMS];
    double energy[STREAMS], truth[3];
    size_t i, k;
    CHECK(af_finder_fit_frequencies(s.f, s.o, &s.field, NULL) == AF_OK);
    CHECK(af_finder_frequency_misfit(s.f) < 1e-6);
    mock_streams(8, STREAMS, 1, xv, j, theta);
    frequencies(s.f, 16, STREAMS, j, omega, energy);
    for (i = 0; i < STREAMS; i++) {
        const double *x = xv + 6 * i;
        double e = 0.5 * af__dot3(x + 3, x + 3) + s.field.value(x, s.field.user);
        af_isochrone iso = mock_truth();
        af_isochrone_actions(&iso, x, NULL, NULL, truth);
        CHECK_CLOSE(energy[i], e, 1e-5);
        for (k = 0; k < 3; k++) CHECK_CLOSE(omega[3 * i + k], truth[k], 1e-4);
    }
    take_down(&s);
}

/* Largest |Omega/truth - 1| of n stars; the truth of NaN is left out. */
static double worst(const double *omega, const double *truth, size_t n) {
    double most = 0.0;
    size_t i;
    for (i = 0; i < 3 * n; i++)
        if (fabs(omega[i] / truth[i] - 1.0) > most) most = fabs(omega[i] / truth[i] - 1.0);
    return most;
}

/* Median of the same. */
static double typical(const double *omega, const double *truth, size_t n) {
    double error[3 * 512];
    size_t i;
    for (i = 0; i < 3 * n; i++) error[i] = fabs(omega[i] / truth[i] - 1.0);
    return median(error, 3 * n);
}

/* H of pairs (J, E) as a finder with true actions would give them: n of them, the first `train` to
 * be trained on. It goes to the finder, whose toy it begins from. */
static void fit_pairs(af_finder *f, size_t n, size_t train, const double *j, const double *energy) {
    af__frequency_fit t = AF__ZERO;
    af_context *c = f->context;
    t.desc.width = 12;
    t.desc.depth = 2;
    t.desc.steps = 120;
    t.desc.ridge = 1.0;
    t.ridge = 1e-4;
    t.finder = f;
    t.arena.allocator = c->allocator;
    t.streams = n;
    t.train = train;
    t.row = AF__ARRAY(&t.arena, double, 3 * n);
    t.energy = AF__ARRAY(&t.arena, double, n);
    t.scale = AF__ARRAY(&t.arena, double, n);
    t.residual = AF__ARRAY(&t.arena, double, 2 * n);
    memcpy(t.row, j, 3 * n * sizeof *j);
    memcpy(t.energy, energy, n * sizeof *j);
    t.h = af__hamiltonian_new(c);
    af__frequency_units(&t);
    CHECK(af__frequency_begin(&t) == AF_OK);
    CHECK(af__frequency_evaluator_of(t.h, 64, 1, &t.judge) == AF_OK);
    t.best_misfit = HUGE_VAL;
    CHECK(af__frequency_run_fit(&t) == AF_OK);
    af_minimiser_destroy(t.minimiser);
    af_frequency_evaluator_destroy(t.judge);
    af__arena_free(&t.arena);
    af__hamiltonian_destroy(f->hamiltonian);
    f->hamiltonian = t.h;
}

enum { MANY = 320, MANY_TRAINED = 240, MANY_HELD = MANY - MANY_TRAINED };

/* From a toy of twice the mass and thrice the scale, by training. */
TEST(wrong_toy) {
    setting s = set_up();
    af_finder *f = finder_of(s.c, s.o, 2.0, 3.0);
    af_isochrone iso = mock_truth(), toy = af_finder_toy(f);
    double xv[6 * MANY], j[3 * MANY], theta[3 * MANY], energy[MANY], error;
    double truth[3 * MANY], own[3 * MANY], toys[3 * MANY], *held = j + 3 * MANY_TRAINED;
    size_t i;
    mock_streams(5, MANY, 1, xv, j, theta);
    for (i = 0; i < MANY; i++) {
        const double *x = xv + 6 * i;
        energy[i] = 0.5 * af__dot3(x + 3, x + 3) + isochrone_value(x, &iso);
        af_isochrone_position(&iso, j + 3 * i, theta + 3 * i, NULL, truth + 3 * i);
        af_isochrone_position(&toy, j + 3 * i, theta + 3 * i, NULL, toys + 3 * i);
    }
    fit_pairs(f, MANY, MANY_TRAINED - 40, j, energy);
    frequencies(f, 32, MANY_HELD, held, own, NULL);
    error = typical(own, truth + 3 * MANY_TRAINED, MANY_HELD);
    SAY("isochrone: Omega wrong by %.3f %% (median), %.3f %% (worst), the toy's by %.1f %%\n",
        100.0 * error, 100.0 * worst(own, truth + 3 * MANY_TRAINED, MANY_HELD),
        100.0 * typical(toys + 3 * MANY_TRAINED, truth + 3 * MANY_TRAINED, MANY_HELD));
    CHECK(error < 1e-5); /* the isochrone of H is learned, too */
    CHECK(worst(own, truth + 3 * MANY_TRAINED, MANY_HELD) < 1e-3);
    CHECK(typical(toys + 3 * MANY_TRAINED, truth + 3 * MANY_TRAINED, MANY_HELD) > 0.1);
    af_finder_destroy(f);
    take_down(&s);
}

/* ---- a galaxy ---- */

static const af_potential_sum *galaxy(void) {
    static af_potential part[2];
    static af_potential_sum sum;
    part[0] = af_potential_miyamoto_nagai(6.3e10, 2.9, 0.37);
    part[1] = af_potential_nfw(6.1e11, 15.7);
    sum.parts = part;
    sum.count = 2;
    return &sum;
}

/* Bound orbits in a disc and a halo. */
static void galaxy_stars(size_t n, double *xv) {
    size_t i;
    uint64_t draw = 0;
    for (i = 0; i < n; i++)
        do mock_star(21, draw++, xv + 6 * i);
        while (hypot(xv[6 * i] * xv[6 * i + 4], xv[6 * i + 1] * xv[6 * i + 3]) < 300.0);
}

/* Trained on energies and on actions from orbits, H gives the frequencies of other orbits. */
TEST(galaxy) {
    setting s = set_up();
    af_field field = af_field_of_potential(galaxy());
    af_isochrone toy = af_finder_toy(s.f);
    af_orbit_actions_desc d = AF__ZERO;
    static double xv[6 * MANY], j[3 * MANY], omega[3 * MANY], error[3 * MANY], energy[MANY];
    double own[3 * MANY], toys[3 * MANY], truth[3 * MANY];
    unsigned flags[MANY];
    size_t i, n = 0, held = 0, train;
    d.periods = 12;
    d.order = 8;
    galaxy_stars(MANY, xv);
    CHECK(af_orbit_actions_of(s.c, &field, MANY, xv, &d, j, NULL, omega, error, flags) == AF_OK);
    for (i = 0; i < MANY; i++) {
        const double *x = xv + 6 * i;
        if (flags[i] || !(error[3 * i + 1] + error[3 * i + 2] < 2.0)) continue;
        energy[n] = 0.5 * af__dot3(x + 3, x + 3) + field.value(x, field.user);
        memmove(j + 3 * n, j + 3 * i, 3 * sizeof *j);
        memmove(omega + 3 * n, omega + 3 * i, 3 * sizeof *j);
        memmove(xv + 6 * n++, x, 6 * sizeof *j);
    }
    CHECK(n > MANY / 2);
    train = n * 3 / 4;
    fit_pairs(s.f, n, n * 5 / 8, j, energy);
    frequencies(s.f, 32, n - train, j + 3 * train, own, NULL);
    for (i = train; i < n; i++, held++) {
        memcpy(truth + 3 * held, omega + 3 * i, 3 * sizeof *truth);
        af_isochrone_actions(&toy, xv + 6 * i, NULL, NULL, toys + 3 * held);
    }
    SAY("galaxy: Omega of %lu orbits wrong by %.2f %% (median), the toy's by %.1f %%\n",
        (unsigned long)held, 100.0 * typical(own, truth, held), 100.0 * typical(toys, truth, held));
    CHECK(typical(own, truth, held) < 0.01);
    CHECK(typical(toys, truth, held) > 0.05);
    take_down(&s);
}

/* ---- evaluation ---- */

/* Omega is the derivative of H: differences of energies; both senses of rotation are one. */
TEST(slopes) {
    setting s = set_up();
    af_frequency_desc d = small();
    double j[3] = {700.0, 300.0, 250.0}, omega[3], back[3], high, low;
    size_t k;
    CHECK(af_finder_fit_frequencies(s.f, s.o, &s.field, &d) == AF_OK);
    shake(s.f, 1, 0.0);
    af_params_view(s.f->hamiltonian->params, 0)[1] += 0.3; /* not the toy */
    frequencies(s.f, 1, 1, j, omega, NULL);
    for (k = 0; k < 3; k++) {
        double a[3], step = 0.01;
        memcpy(a, j, sizeof a);
        a[k] += step;
        frequencies(s.f, 1, 1, a, NULL, &high);
        a[k] -= 2.0 * step;
        frequencies(s.f, 1, 1, a, NULL, &low);
        CHECK_CLOSE(omega[k], (high - low) / (2.0 * step), 1e-6);
    }
    frequencies(s.f, 1, 1, j, NULL, &high);
    j[0] = -j[0];
    frequencies(s.f, 1, 1, j, back, &low);
    CHECK(back[0] == -omega[0] && back[1] == omega[1] && back[2] == omega[2] && low == high);
    take_down(&s);
}

/* Planar, circular, radial orbits and rest in the centre have frequencies, those of their
 * neighbours; negative actions count as 0; what is not finite has none. */
TEST(special) {
    setting s = set_up();
    af_frequency_desc d = small();
    af_frequency_evaluator *e = NULL;
    const double j[8][3] = {{900, 0, 200}, {900, 200, 0}, {0, 0, 500}, {0, 600, 100},
                            {0, 0, 0},     {900, -1, 200}, {NAN, 1, 1}, {1, INFINITY, 1}};
    double omega[8][3], near[8][3], moved[8][3], energy[8];
    size_t i, k;
    CHECK(af_finder_fit_frequencies(s.f, s.o, &s.field, &d) == AF_OK);
    CHECK(af_frequency_evaluator_create(s.f, 8, 1, &e) == AF_OK);
    if (!e) return;
    CHECK(af_frequencies(e, 8, j[0], omega[0], energy) == 2);
    for (i = 0; i < 8; i++)
        for (k = 0; k < 3; k++) moved[i][k] = j[i][k] + 1e-4;
    af_frequencies(e, 4, moved[0], near[0], NULL);
    for (i = 0; i < 4; i++)
        for (k = 0; k < 3; k++) {
            CHECK_CLOSE(omega[i][k], near[i][k], 1e-5);
            CHECK(omega[i][k] > 0.0);
        }
    for (k = 0; k < 3; k++) {
        CHECK(af__is_finite(omega[4][k]));
        CHECK(omega[5][k] == omega[0][k]);
        CHECK(isnan(omega[6][k]) && isnan(omega[7][k]));
    }
    CHECK(isnan(energy[6]) && isnan(energy[7]) && energy[0] < 0.0);
    af_frequency_evaluator_destroy(e);
    take_down(&s);
}

/* Blocks of any size give the same; two fits the same bits. */
TEST(blocks) {
    setting s = set_up();
    af_frequency_desc d = small();
    double j[3 * STREAMS], one[3 * STREAMS], other[3 * STREAMS], e[STREAMS], h[STREAMS];
    double xv[6 * STREAMS];
    size_t i;
    mock_streams(9, STREAMS, 1, xv, j, NULL);
    CHECK(af_finder_fit_frequencies(s.f, s.o, &s.field, &d) == AF_OK);
    frequencies(s.f, 1, STREAMS, j, one, e);
    frequencies(s.f, 27, STREAMS, j, other, h);
    for (i = 0; i < 3 * STREAMS; i++) CHECK_CLOSE(one[i], other[i], 1e-12);
    for (i = 0; i < STREAMS; i++) CHECK_CLOSE(e[i], h[i], 1e-12);
    CHECK(af_finder_fit_frequencies(s.f, s.o, &s.field, &d) == AF_OK);
    frequencies(s.f, 27, STREAMS, j, one, NULL);
    CHECK(memcmp(one, other, sizeof one) == 0);
    take_down(&s);
}

/* Without a field it is that of a mass model, to the bit. */
TEST(own_field) {
    setting s = set_up();
    af_frequency_desc d = small();
    af_mass_model_desc md = AF__ZERO;
    af_mass_model *m = NULL;
    const double j[3] = {700.0, 300.0, 250.0};
    double own[3], given[3];
    md.axisymmetric = AF_SYMMETRY_YES;
    CHECK(af_mass_model_fit(s.c, s.o, &md, &m) == AF_OK);
    if (!m) return;
    s.field = af_field_of_mass_model(m);
    CHECK(af_finder_fit_frequencies(s.f, s.o, &s.field, &d) == AF_OK);
    frequencies(s.f, 1, 1, j, given, NULL);
    d.misfit = 1e9;
    CHECK(af_finder_fit_frequencies(s.f, s.o, NULL, &d) == AF_OK);
    frequencies(s.f, 1, 1, j, own, NULL);
    CHECK(memcmp(own, given, sizeof own) == 0);
    d.misfit = 1e-15;
    CHECK(af_finder_fit_frequencies(s.f, s.o, NULL, &d) == AF_ERROR_DATA);
    CHECK_TEXT(af_error(s.c), "the energies of a stream differ");
    CHECK(af_finder_has_frequencies(s.f)); /* what was there stays */
    af_mass_model_destroy(m);
    take_down(&s);
}

/* ---- files ---- */

static int same_file(const char *a, const char *b) {
    size_t n, m;
    unsigned char *x = read_bytes(a, &n), *y = read_bytes(b, &m);
    int same = n == m && n > 0 && memcmp(x, y, n) == 0;
    free(x);
    free(y);
    return same;
}

TEST(round_trip) {
    const char *path = scratch_file("one.safetensors"), *again = scratch_file("two.safetensors");
    setting s = set_up();
    af_frequency_desc d = small();
    af_finder *g = NULL;
    const double j[3] = {700.0, 300.0, 250.0};
    double one[3], other[3], energy[2];
    CHECK(af_finder_fit_frequencies(s.f, s.o, &s.field, &d) == AF_OK);
    CHECK(af_finder_save(s.f, path) == AF_OK && af_finder_load(s.c, path, &g) == AF_OK);
    if (!g) return;
    CHECK(af_finder_has_frequencies(g));
    CHECK(af_finder_frequency_misfit(g) == af_finder_frequency_misfit(s.f));
    frequencies(s.f, 3, 1, j, one, energy);
    frequencies(g, 3, 1, j, other, energy + 1);
    CHECK(memcmp(one, other, sizeof one) == 0 && energy[0] == energy[1]);
    CHECK(af_finder_save(g, again) == AF_OK && same_file(path, again));
    af_finder_destroy(g);
    take_down(&s);
    remove(path);
    remove(again);
}

/* A model without frequencies, such as older files have. */
TEST(without) {
    const char *path = scratch_file("old.safetensors");
    setting s = set_up();
    af_finder *g = NULL;
    af_frequency_evaluator *e = (af_frequency_evaluator *)&s;
    CHECK(!af_finder_has_frequencies(s.f) && isnan(af_finder_frequency_misfit(s.f)));
    CHECK(af_finder_save(s.f, path) == AF_OK && af_finder_load(s.c, path, &g) == AF_OK);
    if (!g) return;
    CHECK(!af_finder_has_frequencies(g));
    CHECK(af_frequency_evaluator_create(g, 1, 1, &e) == AF_ERROR_ARGUMENT && e == NULL);
    CHECK_TEXT(af_error(s.c), "this finder has none");
    af_finder_destroy(g);
    take_down(&s);
    remove(path);
}

/* Writes the model with one entry changed, and loads it. */
static af_status load_with(const setting *s, const char *key, const char *text) {
    const char *path = scratch_file("bad.safetensors");
    af_tensors *set = NULL;
    af_finder *g = NULL;
    af_status status;
    CHECK(af_finder_save(s->f, path) == AF_OK && af_tensors_read(s->c, path, &set) == AF_OK);
    CHECK(af_tensors_set_text(set, key, text) == AF_OK && af_tensors_write(set, path) == AF_OK);
    af_tensors_destroy(set);
    status = af_finder_load(s->c, path, &g);
    CHECK((status == AF_OK) == (g != NULL));
    if (status != AF_OK) CHECK_TEXT(af_error(s->c), path);
    af_finder_destroy(g);
    af_error_clear(s->c);
    remove(path);
    return status;
}

TEST(damaged) {
    static const char *const key[] = {"frequency.action_scale_kms_kpc",
                                      "frequency.energy_scale_kms2", "frequency.well",
                                      "frequency.core", "frequency.misfit"};
    setting s = set_up();
    af_frequency_desc d = small();
    size_t i;
    CHECK(af_finder_fit_frequencies(s.f, s.o, &s.field, &d) == AF_OK);
    CHECK(load_with(&s, "frequency.core", "0") == AF_OK);
    for (i = 0; i < AF__COUNT(key); i++) {
        CHECK(load_with(&s, key[i], "nan") == AF_ERROR_FORMAT);
        CHECK(load_with(&s, key[i], "many") == AF_ERROR_FORMAT);
        CHECK(load_with(&s, key[i], "-1") == (i < 4 ? AF_ERROR_FORMAT : AF_OK));
    }
    CHECK(load_with(&s, "frequency.width", "0") == AF_ERROR_FORMAT);
    CHECK(load_with(&s, "frequency.width", "1000000000") == AF_ERROR_FORMAT);
    CHECK(load_with(&s, "frequency.width", "5") == AF_ERROR_SHAPE);
    CHECK(load_with(&s, "frequency.depth", "17") == AF_ERROR_FORMAT);
    CHECK(load_with(&s, "frequency.depth", "2") == AF_ERROR_SHAPE); /* another view of the name */
    af_params_data(s.f->hamiltonian->params)[3] = NAN;
    CHECK(load_with(&s, "note", "a parameter is NaN") == AF_ERROR_FORMAT);
    take_down(&s);
}

/* ---- failures ---- */

/* The fit must fail with this status and these words, and leave what was there. */
static void refuses(const setting *s, const af_orbits *o, const af_field *field,
                    const af_frequency_desc *d, af_status status, const char *words) {
    const af__hamiltonian *before = s->f->hamiltonian;
    CHECK(af_finder_fit_frequencies(s->f, o, field, d) == status);
    CHECK_TEXT(af_error(s->c), words);
    CHECK(s->f->hamiltonian == before && before != NULL);
    af_error_clear(s->c);
}

static double no_value(const double x[3], void *user) {
    (void)x;
    (void)user;
    return NAN;
}

TEST(arguments) {
    setting s = set_up();
    af_frequency_desc good = small(), d = good;
    af_frequency_evaluator *e = (af_frequency_evaluator *)&s;
    af_field none = AF__ZERO;
    af_orbits *few = NULL;
    CHECK(af_finder_fit_frequencies(s.f, s.o, &s.field, &d) == AF_OK);
    d.end_canary = 1;
    refuses(&s, s.o, &s.field, &d, AF_ERROR_ARGUMENT, "not initialised to zero");
    refuses(&s, s.o, &none, &good, AF_ERROR_ARGUMENT, "the field has no potential");
    none.value = no_value;
    refuses(&s, s.o, &none, &good, AF_ERROR_DATA, "0 training streams have actions and energies");
    d = good;
    d.width = 513;
    refuses(&s, s.o, &s.field, &d, AF_ERROR_ARGUMENT, "width 513 (at most 512)");
    d = good;
    d.ridge = NAN;
    refuses(&s, s.o, &s.field, &d, AF_ERROR_ARGUMENT, "ridge nan");
    d = good;
    d.train = STREAMS + 1;
    refuses(&s, s.o, &s.field, &d, AF_ERROR_ARGUMENT, "41 training streams");
    CHECK(af_orbits_part(s.c, s.o, 0, 15, &few) == AF_OK);
    d = good;
    d.train = 15;
    refuses(&s, few, &s.field, &d, AF_ERROR_DATA, "15 training streams have actions");
    CHECK(af_frequency_evaluator_create(s.f, 0, 1, &e) == AF_ERROR_ARGUMENT && e == NULL);
    af_orbits_destroy(few);
    take_down(&s);
}

static int stop(const af_minimise_report *report, void *user) {
    return ++*(int *)user == 2 && report->step > 0;
}

/* It can be stopped, all streams may be trained on, and a new map forgets it. */
TEST(stopped_and_forgotten) {
    setting s = set_up();
    af_frequency_desc d = small();
    af_fit_desc fit = AF__ZERO;
    int calls = 0;
    d.train = STREAMS;
    d.ridge = -1.0;
    d.progress = stop;
    d.user = &calls;
    fit.epochs = 1;
    CHECK(af_finder_fit_frequencies(s.f, s.o, &s.field, &d) == AF_STOPPED);
    CHECK(calls == 2 && af_finder_has_frequencies(s.f));
    CHECK(af_finder_frequency_misfit(s.f) < 1e-3);
    CHECK(af_finder_fit(s.f, s.o, &fit) == AF_OK);
    CHECK(!af_finder_has_frequencies(s.f));
    CHECK(af_finder_fit_frequencies(s.f, s.o, &s.field, NULL) == AF_OK);
    CHECK(af_finder_fit_known(s.f, s.o, af_force_of_field(&s.field), 0.0, &fit) == AF_OK);
    CHECK(!af_finder_has_frequencies(s.f));
    take_down(&s);
}

static af_status everything(af_context *c, const char *path) {
    af_orbits *o = mock_orbits(c, 3, 20, 2);
    af_finder *f = NULL, *g = NULL;
    af_finder_desc fd = AF__ZERO;
    af_frequency_desc d = small();
    af_frequency_evaluator *e = NULL;
    af_field field = isochrone_field();
    af_status s = o ? AF_OK : AF_ERROR_MEMORY;
    fd.toy = mock_truth();
    fd.harmonics_r = fd.harmonics_z = 1;
    fd.net.width = 2;
    fd.net.depth = 1;
    d.steps = 3;
    if (s == AF_OK) s = af_finder_create(c, o, &fd, &f);
    if (s == AF_OK) s = af_finder_fit_frequencies(f, o, &field, &d);
    if (s == AF_OK) s = af_finder_save(f, path);
    if (s == AF_OK) s = af_finder_load(c, path, &g);
    if (s == AF_OK) s = af_frequency_evaluator_create(g, 2, 1, &e);
    if (e) { /* evaluation takes no memory */
        heap *h = (heap *)c->allocator.user;
        const double j[9] = {700.0, 300.0, 250.0, 1.0, 2.0, 3.0, -4.0, 5.0, 6.0};
        double omega[9], energy[3];
        long calls = h->calls;
        CHECK(af_frequencies(e, 3, j, omega, energy) == 0 && h->calls == calls);
    }
    af_frequency_evaluator_destroy(e);
    af_finder_destroy(g);
    af_finder_destroy(f);
    af_orbits_destroy(o);
    return s;
}

/* Memory that ends at the k-th call. */
TEST(memory_ends) {
    const char *path = scratch_file("memory.safetensors");
    heap h = AF__ZERO;
    long calls, k;
    af_context *c = heap_context(&h, 1);
    CHECK(everything(c, path) == AF_OK);
    af_context_destroy(c);
    CHECK(h.live == 0);
    calls = h.calls;
    CHECK(calls > 30 && calls < 5000);
    for (k = 1; k <= calls; k++) {
        h.calls = 0;
        h.fail_at = k;
        c = heap_context(&h, 1);
        if (!c) continue;
        CHECK(everything(c, path) == AF_ERROR_MEMORY);
        CHECK_TEXT(af_error(c), "out of memory");
        af_context_destroy(c);
        CHECK(h.live == 0);
    }
    remove(path);
}

int main(void) {
    RUN(exact_toy);
    RUN(wrong_toy);
    RUN(galaxy);
    RUN(slopes);
    RUN(special);
    RUN(blocks);
    RUN(own_field);
    RUN(round_trip);
    RUN(without);
    RUN(damaged);
    RUN(arguments);
    RUN(stopped_and_forgotten);
    RUN(memory_ends);
    return test_report();
}
