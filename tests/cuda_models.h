/* Part of cuda_fit.c: what else is trained, and evaluated, on the backend beside the CPU:
 * potentials, Levenberg-Marquardt and L-BFGS, Koopman models; and what a device that breaks leaves
 * behind. */

/* ---- potentials ---- */

enum { POINTS = 600, SHOWN = 300 }; /* more points than a call of the evaluation takes */

/* Places inside 3 and velocities below the escape speed of Plummer's sphere with GM = b = 1, and
 * the gradient of f ~ (-E)^(7/2) there. */
static void plummer_point(uint64_t i, double eta[6], double gradient[6]) {
    double r = 0.2 + 2.8 * af_random_uniform(5, 0, i), s = sqrt(1.0 + r * r);
    double v = 0.8 * sqrt(2.0 / s) * af_random_uniform(5, 1, i), energy = 0.5 * v * v - 1.0 / s;
    size_t k;
    mock_direction(6, 2 * i, eta);
    mock_direction(6, 2 * i + 1, eta + 3);
    for (k = 0; k < 3; k++) {
        eta[k] *= r;
        eta[3 + k] *= v;
        gradient[k] = 3.5 / energy * eta[k] / (s * s * s);
        gradient[3 + k] = 3.5 / energy * eta[3 + k];
    }
}

/* A potential fitted for some epochs, then Phi, acceleration and density at SHOWN points. parts: a
 * Plummer sphere, by L-BFGS, instead of a network. */
static history fit_potential(const af_backend *backend, int parts, int double_precision,
                             double shown[5 * SHOWN]) {
    static double eta[POINTS][6], gradient[POINTS][6], x[SHOWN][3];
    af_context *c = context_of(backend, 1);
    af_potential sphere = af_potential_plummer(2.0 / AF_GRAVITY, 0.7);
    dp_potential_desc d;
    dp_fit_desc fit;
    dp_points points;
    dp_potential *p = NULL;
    history h;
    size_t i;
    memset(&h, 0, sizeof h);
    memset(&d, 0, sizeof d);
    memset(&fit, 0, sizeof fit);
    memset(&points, 0, sizeof points);
    for (i = 0; i < POINTS; i++) plummer_point(i, eta[i], gradient[i]);
    for (i = 0; i < SHOWN; i++) memcpy(x[i], eta[i], sizeof x[i]);
    points.n = POINTS;
    points.eta = eta[0];
    points.gradient = gradient[0];
    d.width = 12;
    d.depth = 2;
    d.parts = parts ? &sphere : NULL;
    d.part_count = parts ? 1 : 0;
    fit.epochs = 4;
    fit.batch = 128;
    fit.double_precision = double_precision;
    fit.progress = note;
    fit.user = &h;
    CHECK(dp_potential_create(c, &d, &points, &p) == AF_OK);
    CHECK(p && dp_potential_fit(p, &points, NULL, &fit, NULL) == AF_OK);
    CHECK(p && dp_potential_evaluate(p, SHOWN, x[0], shown, shown + SHOWN, shown + 4 * SHOWN) ==
                   AF_OK);
    CHECK_TEXT(af_error(c), "");
    dp_potential_destroy(p);
    af_context_destroy(c);
    return h;
}

static void compare_potentials(int parts, int double_precision, double losses, double values) {
    static double cpu[5 * SHOWN], cuda[5 * SHOWN];
    history a = fit_potential(af_backend_cuda(), parts, double_precision, cuda);
    history b = fit_potential(NULL, parts, double_precision, cpu);
    size_t i;
    double most = 0.0;
    check_histories(&a, &b, 4, losses, 1);
    for (i = 0; i < 5 * SHOWN; i++)
        if (!(fabs(cuda[i] - cpu[i]) <= most)) most = fabs(cuda[i] - cpu[i]);
    SAY("apart by %.1e\n", most);
    CHECK(most <= values);
}

TEST(a_potential_is_trained) {
    compare_potentials(0, 1, 1e-9, 1e-6);
    compare_potentials(0, 0, 1e-3, 1e-2);
}

TEST(the_parts_of_a_potential_are_fitted) { compare_potentials(1, 0, 1e-8, 1e-6); }

/* ---- Levenberg-Marquardt and L-BFGS ---- */

enum { SAMPLES = 40, STEPS = 6 };

/* F after each step of fitting sin by a network; 41 parameters. */
static void minimise(const af_backend *backend, const af_minimiser_desc *kind, double loss[STEPS]) {
    af_context *c = context_of(backend, 1);
    size_t dims[2] = {SAMPLES, 1}, i;
    double x[SAMPLES], y[SAMPLES];
    const void *data[2];
    af_minimiser_desc d = *kind;
    af_net_desc n;
    af_params *params = NULL;
    af_net *net = NULL;
    af_minimiser *m = NULL;
    af_expr in[2], none = {0};
    memset(&n, 0, sizeof n);
    for (i = 0; i < SAMPLES; i++) {
        x[i] = 0.1 * (double)i;
        y[i] = sin(x[i]);
    }
    n.inputs = n.outputs = 1;
    n.width = 4;
    n.depth = 2;
    n.activation = AF_TANH;
    n.random_last = 1;
    CHECK(af_params_create(c, 3, &params) == AF_OK);
    CHECK(af_net_create(params, &n, &net) == AF_OK);
    in[0] = af_input(c, "x", 2, dims);
    in[1] = af_input(c, "y", 2, dims);
    data[0] = x;
    data[1] = y;
    d.params = params;
    d.inputs = in;
    d.input_count = 2;
    d.residuals = af_sub(c, af_net_apply(net, in[0], none), in[1]);
    CHECK(af_minimiser_create(c, &d, &m) == AF_OK);
    for (i = 0; i < STEPS && m; i++) {
        af_minimise_report report;
        CHECK(af_minimiser_step(m, data, &report) == AF_OK);
        loss[i] = report.loss;
    }
    CHECK_TEXT(af_error(c), "");
    af_minimiser_destroy(m);
    af_net_destroy(net);
    af_params_destroy(params);
    af_context_destroy(c);
}

static void compare_minimisers(const af_minimiser_desc *d) {
    double cpu[STEPS], cuda[STEPS];
    size_t i;
    minimise(af_backend_cuda(), d, cuda);
    minimise(NULL, d, cpu);
    for (i = 0; i < STEPS; i++) {
        SAY("%.15g %.15g\n", cuda[i], cpu[i]);
        CHECK(fabs(cuda[i] - cpu[i]) <= 1e-8 * cpu[0]);
    }
    CHECK(cuda[STEPS - 1] < 0.8 * cuda[0]);
}

TEST(levenberg_marquardt_and_lbfgs) {
    af_minimiser_desc d;
    memset(&d, 0, sizeof d);
    d.jacobian = AF_JACOBIAN_FORWARD;
    compare_minimisers(&d);
    d.jacobian = AF_JACOBIAN_REVERSE;
    d.robust = AF_ROBUST_HUBER;
    compare_minimisers(&d);
    d.method = AF_LBFGS;
    compare_minimisers(&d);
}

/* ---- Koopman models ---- */

enum { ORBITS = 6, TIMES = 16, ALL = ORBITS * TIMES, ANGLES = 4 };

static double oscillation[ALL][2]; /* q, p */

/* A Koopman model of an oscillator, z^2/8, fitted where there is a desc. */
static af_koopman *oscillator_model(af_context *c, const af_koopman_fit_desc *fit) {
    static double time[ALL];
    size_t count[ORBITS], i, k;
    af_trajectories *t = NULL;
    af_koopman *model = NULL;
    af_koopman_desc d;
    memset(&d, 0, sizeof d);
    for (i = 0; i < ORBITS; i++) {
        count[i] = TIMES;
        for (k = 0; k < TIMES; k++) {
            double at = 0.75 * (double)k, top = 0.5 + 0.5 * (double)i;
            time[i * TIMES + k] = at;
            oscillation[i * TIMES + k][0] = top * cos(0.5 * at);
            oscillation[i * TIMES + k][1] = -0.5 * top * sin(0.5 * at);
        }
    }
    d.width = 2;
    d.layers = 4;
    d.frequency_width = 1;
    CHECK(af_trajectories_create(c, 1, ORBITS, count, time, oscillation[0], &t) == AF_OK);
    CHECK(af_koopman_create(c, t, &d, &model) == AF_OK);
    if (fit) CHECK(model && af_koopman_fit(model, t, fit) == AF_OK);
    af_trajectories_destroy(t);
    return model;
}

/* Eight steps; J, theta, Omega and H of all samples, 40 at a time. */
static void fit_koopman(const af_backend *backend, af_koopman_method method,
                        double shown[ANGLES * ALL]) {
    af_context *c = context_of(backend, 1);
    af_koopman_fit_desc fit;
    af_koopman *model;
    af_koopman_evaluator *e = NULL;
    memset(&fit, 0, sizeof fit);
    fit.method = method;
    fit.steps = 8;
    model = oscillator_model(c, &fit);
    CHECK(model && af_koopman_evaluator_create(model, 40, &e) == AF_OK);
    if (e)
        af_koopman_encode(e, ALL, oscillation[0], shown, shown + ALL, shown + 2 * ALL,
                          shown + 3 * ALL);
    CHECK_TEXT(af_error(c), "");
    af_koopman_evaluator_destroy(e);
    af_koopman_destroy(model);
    af_context_destroy(c);
}

TEST(koopman_models_are_trained) {
    static double cpu[ANGLES * ALL], cuda[ANGLES * ALL];
    static const af_koopman_method method[2] = {AF_KOOPMAN_LM, AF_KOOPMAN_LBFGS};
    size_t m, i;
    for (m = 0; m < 2; m++) {
        double most = 0.0;
        fit_koopman(af_backend_cuda(), method[m], cuda);
        fit_koopman(NULL, method[m], cpu);
        for (i = 0; i < ANGLES * ALL; i++)
            if (!(fabs(cuda[i] - cpu[i]) <= most)) most = fabs(cuda[i] - cpu[i]);
        SAY("apart by %.1e\n", most);
        CHECK(most <= 1e-7);
    }
}

#ifdef CUDA_HOST
/* ---- a device that breaks ---- */

/* A distribution function says so with the device's own sentence. */
TEST(a_distribution_function_on_a_device_that_breaks) {
    static double eta[POINTS][6], value[SHOWN];
    int kind;
    for (kind = DP_DF_SCORE; kind <= DP_DF_FFJORD; kind++) {
        af_context *c = context_of(af_backend_cuda(), 1);
        dp_sample *sample = NULL;
        dp_df *df = NULL;
        dp_df_desc d;
        size_t i, k;
        memset(&d, 0, sizeof d);
        d.kind = (dp_df_kind)kind;
        d.width = 4;
        d.depth = 1;
        d.transforms = 1;
        for (i = 0; i < POINTS; i++)
            for (k = 0; k < 6; k++) eta[i][k] = af_random_normal(4, k, i);
        CHECK(dp_sample_create(c, POINTS, eta[0], NULL, NULL, NULL, &sample) == AF_OK);
        CHECK(dp_df_create(sample, &d, &df) == AF_OK);
        cuda_host_device(CUDA_HOST_BROKEN);
        CHECK(df && dp_df_evaluate(df, SHOWN, eta[0], value, NULL) == AF_ERROR_BACKEND);
        CHECK_TEXT(af_error(c), "an illegal memory access was encountered");
        cuda_host_device(CUDA_HOST_READY);
        dp_df_destroy(df);
        dp_sample_destroy(sample);
        af_context_destroy(c);
    }
}

/* Evaluators have no status: all numbers are NaN, and af_error_cuda says why. */
TEST(evaluators_on_a_device_that_breaks) {
    static double j[STREAMS * STARS][3], shown[4 * 5];
    const double qp[5][2] = {{0.5, 0.0}, {1.0, 0.0}, {1.5, 0.0}, {2.0, 0.0}, {2.5, 0.0}};
    af_context *c = context_of(af_backend_cuda(), 1);
    af_orbits *o = mock_orbits(c, 3, STREAMS, STARS);
    af_finder *f = NULL;
    af_evaluator *e = NULL;
    af_koopman *k = oscillator_model(c, NULL);
    af_koopman_evaluator *ke = NULL;
    size_t i;
    CHECK(af_finder_create(c, o, NULL, &f) == AF_OK);
    CHECK(f && af_evaluator_create(f, 1, 16, 1, &e) == AF_OK);
    CHECK(k && af_koopman_evaluator_create(k, 2, &ke) == AF_OK);
    if (e && ke) {
        CHECK(af_evaluate(e, STREAMS * STARS, af_orbits_xv(o, 0), NULL, j[0], NULL, NULL) == 0);
        cuda_host_device(CUDA_HOST_BROKEN);
        af_evaluate(e, STREAMS * STARS, af_orbits_xv(o, 0), NULL, j[0], NULL, NULL);
        for (i = 0; i < STREAMS * STARS; i++) CHECK(isnan(j[i][0]));
        af_koopman_encode(ke, 5, qp[0], shown, shown + 5, shown + 10, shown + 15);
        for (i = 0; i < 4 * 5; i++) CHECK(isnan(shown[i]));
        CHECK_TEXT(af_error_cuda(), "an illegal memory access was encountered");
        cuda_host_device(CUDA_HOST_READY);
    }
    af_koopman_evaluator_destroy(ke);
    af_koopman_destroy(k);
    af_evaluator_destroy(e);
    af_finder_destroy(f);
    af_orbits_destroy(o);
    af_context_destroy(c);
}
#endif
