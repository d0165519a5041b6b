/* The ActionFinder: the training step as published (residual networks for G and for the point
 * transformation, eqs. 5 to 8, losses of eqs. 12 and 13), against PyTorch; and the evaluation of
 * single stars, beside the Staeckel fudge, which is told the potential.
 *
 * What the step does, and where the rows of a width differ:
 *
 *   ours        J' of each stream is held at a value that is carried from step to step and moved by
 *               half of what it lacks, once a step (af_fit_desc, hold_actions 1). The gradient by
 *               theta that this takes is the one that the actions need: the J' equation costs
 *               nothing beside. One G with its derivatives, one point transformation with its
 *               Jacobian (forward), theta = 0 for each stream. Each dense layer is applied once.
 *   same work   PyTorch does just that.
 *   J' loop     PyTorch solves for J' from the toy's actions in each step, ten iterations at most,
 *               the published tolerance, without a graph; the rest is the same work.
 *   ... of ten  the loop goes on to ten iterations: with the published dropout and random start it
 *               never settles before
 *   published   as the published code: each dense layer applied twice, J' loop with a graph, G
 *               evaluated again for J' and for theta', the Jacobian by three reverse passes and
 *               inverted, theta = 0 for each star.
 *
 * The losses are compared where both hold J' at the toy's actions; and, for streams held back, with
 * J' solved for: ours by Newton's method, PyTorch's by 100 iterations. */
#include "bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STARS = 8, PAPER_STREAMS = 1024 };

static const char FINDER_REMARK[] =
    "    G of 15, point transformation of 11 blocks up to the width, weight norm, ReLU. Ours: J'\n"
    "    of a stream is carried from step to step, and moved by half of what it lacks.\n"
    "    same work: PyTorch does that too. J' loop: it solves for J' from the toy's actions in\n"
    "    each step, to the published tolerance, 10 iterations at most, without a graph. as\n"
    "    published: that loop with a graph, dense layers applied twice, G evaluated again for J'\n"
    "    and theta', Jacobian in reverse and inverted, theta = 0 for each star.\n"
    "    The weights are a few steps from the identity, where J' settles soon. Loop of ten: with\n"
    "    the published dropout and random start it never settles before.\n";

/* ---- mock orbits ---- */

typedef struct galaxy {
    af_potential part[2];
    af_potential_sum sum;
} galaxy;

static void galaxy_fill(galaxy *g) {
    g->part[0] = af_potential_miyamoto_nagai(6.8e10, 3.0, 0.28);
    g->part[1] = af_potential_nfw(8.0e11, 16.0);
    g->sum.parts = g->part;
    g->sum.count = 2;
}

/* 6 to 16 kpc from the centre, each velocity normal with 90 km/s and a rotation of 120 km/s. */
static void mock_start(uint64_t stream, double xv[6]) {
    double radius = 6.0 + 10.0 * af_random_uniform(3, stream, 0);
    double phi = 6.283185307179586 * af_random_uniform(3, stream, 1);
    double tilt = 0.8 * (af_random_uniform(3, stream, 2) - 0.5);
    size_t k;
    xv[0] = radius * cos(phi);
    xv[1] = radius * sin(phi);
    xv[2] = radius * tilt;
    for (k = 0; k < 3; k++) xv[3 + k] = 90.0 * af_random_normal(3, stream, 3 + k);
    xv[3] -= 120.0 * sin(phi);
    xv[4] += 120.0 * cos(phi);
}

/* (streams, STARS, 6): points of each orbit over 1 Gyr. */
static double *mock_orbits(size_t streams) {
    double *xv = bench_numbers(streams * STARS * 6);
    galaxy g;
    size_t s;
    galaxy_fill(&g);
    for (s = 0; s < streams; s++) {
        double start[6];
        mock_start(s, start);
        af_orbit_integrate(AF_INTEGRATOR_YOSHIDA6, af_force_of_potential(&g.sum), start,
                           1.0 / STARS, 100, STARS, xv + s * STARS * 6);
    }
    return xv;
}

/* ---- the step as published ---- */

typedef struct finder_job {
    size_t width, batch, held; /* streams that are held back */
    af_generator_kind generator;
    int threads, warm_steps;   /* training steps before anything is compared or timed */
    double seconds;
    char folder[512];
} finder_job;

/* Times between the ends of epochs, which are steps. */
typedef struct finder_clock {
    double last, best, spent, seconds;
    size_t steps;
    double loss, validation; /* of the first */
} finder_clock;

/* The first epoch validates, and so does not count. */
static int finder_progress(const af_progress *p, void *user) {
    finder_clock *clock = (finder_clock *)user;
    double now = bench_clock(), one = now - clock->last;
    clock->last = now;
    if (clock->steps == 0) {
        clock->loss = p->loss;
        clock->validation = p->validation;
    } else {
        if (one < clock->best) clock->best = one;
        clock->spent += one;
    }
    clock->steps++;
    return clock->steps > 3 && clock->spent >= clock->seconds;
}

/* Streams from 0 to `batch` are the batch of each step, the others validate. */
static finder_clock finder_fit(af_context *c, af_finder *f, const af_orbits *o,
                               const finder_job *job, size_t epochs, double rate) {
    af_fit_desc d;
    finder_clock clock;
    af_status s;
    memset(&d, 0, sizeof d);
    memset(&clock, 0, sizeof clock);
    clock.best = INFINITY;
    clock.seconds = job->seconds;
    d.train = d.batch = job->batch;
    d.epochs = epochs;
    d.validate_every = (size_t)1 << 40;
    d.schedule.kind = AF_SCHEDULE_CONSTANT;
    d.schedule.rate = rate;
    d.schedule.warmup = -1.0;
    d.average = -1.0;
    d.progress = finder_progress;
    d.user = &clock;
    clock.last = bench_clock();
    s = af_finder_fit(f, o, &d);
    if (s != AF_OK && s != AF_STOPPED) bench_die(af_error(c));
    return clock;
}

static af_finder *finder_create(af_context *c, const af_orbits *o, size_t width) {
    af_finder_desc d;
    af_finder *f;
    memset(&d, 0, sizeof d);
    d.generator = AF_GENERATOR_NETWORK;
    d.net.architecture = d.point_net.architecture = AF_RESDENSE;
    d.net.activation = d.point_net.activation = AF_RELU;
    d.net.weight_norm = d.point_net.weight_norm = 1;
    d.net.max_width = d.point_net.max_width = width;
    d.net.depth = 7;
    d.point_net.depth = 5;
    d.point_transformation = 1;
    d.spread = AF_SPREAD_ABSOLUTE;
    d.hold_actions = 1;
    bench_check(c, af_finder_create(c, o, &d, &f));
    return f;
}

static void finder_add(af_context *c, af_tensors *set, const af_isochrone *toy, const char *theta,
                       const char *j, size_t streams, const double *xv) {
    size_t dims[2];
    double *a = bench_numbers(streams * STARS * 3), *b = bench_numbers(streams * STARS * 3);
    dims[0] = streams * STARS;
    dims[1] = 3;
    af_isochrone_actions_of(toy, dims[0], xv, a, b, NULL, NULL);
    bench_check(c, af_tensors_add(set, j, AF_DTYPE_F64, 2, dims, a));
    bench_check(c, af_tensors_add(set, theta, AF_DTYPE_F64, 2, dims, b));
    free(a);
    free(b);
}

/* finder.safetensors, the data, and finder_model.safetensors. */
static void finder_save(af_context *c, const af_finder *f, const finder_job *job,
                        const double *xv) {
    af_isochrone toy = af_finder_toy(f);
    af_tensors *set;
    char path[600];
    double stars = STARS;
    snprintf(path, sizeof path, "%s/finder_model.safetensors", job->folder);
    bench_check(c, af_finder_save(f, path));
    bench_check(c, af_tensors_create(c, &set));
    finder_add(c, set, &toy, "theta", "J", job->batch, xv);
    finder_add(c, set, &toy, "held_theta", "held_J", job->held, xv + job->batch * STARS * 6);
    bench_check(c, af_tensors_add(set, "stars", AF_DTYPE_F64, 0, NULL, &stars));
    snprintf(path, sizeof path, "%s/finder.safetensors", job->folder);
    bench_check(c, af_tensors_write(set, path));
    af_tensors_destroy(set);
}

/* value: seconds, operations, loss of the first step, spread of the streams held back, memory,
 * parameters. A few training steps make G and the point transformation other than nothing. */
static void finder_work(const void *arg, bench_result *result) {
    const finder_job *job = (const finder_job *)arg;
    size_t streams = job->batch + job->held;
    double *xv = mock_orbits(streams), memory;
    af_context *c = NULL;
    af_orbits *o;
    af_finder *f;
    finder_clock first;
    c = bench_context();
    af_context_set_threads(c, job->threads);
    bench_check(c, af_orbits_create(c, streams, STARS, xv, NULL, &o));
    f = finder_create(c, o, job->width);
    memory = bench_peak_memory();
    finder_fit(c, f, o, job, (size_t)job->warm_steps, 1e-3);
    finder_save(c, f, job, xv);
    first = finder_fit(c, f, o, job, 1, 1e-30); /* changes nothing */
    result->value[2] = first.loss;
    result->value[3] = first.validation;
    result->value[0] = finder_fit(c, f, o, job, 1000000, 1e-5).best;
    result->value[4] = bench_peak_memory() - memory;
    result->value[5] = (double)af_finder_parameters(f);
}

/* value: floating point operations of the matrix products of a step. */
static void finder_count(const void *arg, bench_result *result) {
    const finder_job *job = (const finder_job *)arg;
    double *xv = mock_orbits(job->batch);
    af_context *c = NULL;
    af_orbits *o;
    bench_use_device(0); /* nothing runs */
    c = bench_context();
    bench_check(c, af_orbits_create(c, job->batch, STARS, xv, NULL, &o));
    result->value[0] = bench_finder_flops(c, finder_create(c, o, job->width), STARS, job->batch);
}

/* The peers of a width; the second is a device's alone. */
enum { FINDER_PEERS = 6, FINDER_GRAPH = 1 };
static const char *const finder_peers[FINDER_PEERS][2] = {
    {"finder_same", "same work"},
    {"finder_graph", "same work as a CUDA graph"},
    {"finder_loop", "J' loop"},
    {"finder_loop_ten", "J' loop of ten"},
    {"finder_published", "as published"},
    {"finder_published_ten", "as published with loop of ten"}};

static bench_row finder_named(const finder_job *job, size_t peer) {
    return bench_new_row("PyTorch", "step width %lu %lu streams f64 %d threads: %s",
                         (unsigned long)job->width, (unsigned long)job->batch, job->threads,
                         finder_peers[peer][1]);
}

static void finder_row(bench *b, const finder_job *job, const bench_result *ours, double flops,
                       size_t peer) {
    bench_answers torch;
    double loss;
    bench_row row = finder_named(job, peer);
    if (!bench_wanted(b, row.name) || (peer == FINDER_GRAPH && !bench_on_device())) return;
    bench_torch(b, finder_peers[peer][0], job->threads, &torch);
    row.ours = ours->value[0];
    row.other = bench_answer(&torch, "seconds");
    row.flops = flops;
    row.peak = b->peak[0][job->threads > 1];
    loss = bench_answer(&torch, "loss");
    if (isfinite(loss)) {
        bench_note(&row, "losses %.9g and %.9g, held back %.9g and %.9g", ours->value[2], loss,
                   ours->value[3], bench_answer(&torch, "held_loss"));
        if (!(fabs(loss - ours->value[2]) < 1e-6 * fabs(loss))) bench_note(&row, "THEY DIFFER");
    } else if (!torch.failure[0]) {
        bench_note(&row, "evaluations of the J' equation: 1 and %g",
                   bench_answer(&torch, "steps"));
    }
    if (job->batch == PAPER_STREAMS)
        bench_note(&row, "1024 epochs of these in %.3g minutes", ours->value[0] * 1024.0 / 60.0);
    bench_torch_note(&row, &torch);
    bench_report(b, &row);
}

static void finder_rows(bench *b, size_t width, size_t batch, size_t held, int warm_steps) {
    bench_result ours, count;
    finder_job job;
    size_t peer, wanted = 0;
    memset(&job, 0, sizeof job);
    job.width = width;
    job.batch = batch;
    job.held = held;
    job.warm_steps = warm_steps;
    job.threads = b->threads;
    job.seconds = bench_seconds(b);
    snprintf(job.folder, sizeof job.folder, "%s", b->folder);
    for (peer = 0; peer < FINDER_PEERS; peer++) {
        bench_row row = finder_named(&job, peer);
        if (bench_wanted(b, row.name)) wanted++;
    }
    if (!wanted) return;
    bench_child(finder_work, &job, &ours);
    bench_child(finder_count, &job, &count);
    for (peer = 0; peer < FINDER_PEERS; peer++) finder_row(b, &job, &ours, count.value[0], peer);
}

/* ---- evaluation ---- */

typedef struct finder_evaluation {
    af_evaluator *evaluator;
    af_fudge fudge;
    size_t stars;
    const double *xv;
    double *j, *theta; /* theta NULL: not wanted */
} finder_evaluation;

static void finder_evaluate(void *data) {
    finder_evaluation *e = (finder_evaluation *)data;
    af_evaluate(e->evaluator, e->stars, e->xv, NULL, e->j, e->theta, NULL);
}

static void fudge_evaluate(void *data) {
    finder_evaluation *e = (finder_evaluation *)data;
    af_fudge_actions_of(&e->fudge, e->stars, e->xv, e->j, e->theta, NULL, NULL);
}

/* value: seconds of J, of J and theta; the same of the fudge, with a focal distance for each star.
 * The Fourier G has made some hundred steps, the shears a few of Levenberg and Marquardt's. */
static void finder_evaluation_work(const void *arg, bench_result *result) {
    enum { STREAMS = 256, EPOCHS = 200, SHEAR_STEPS = 10 };
    const finder_job *job = (const finder_job *)arg; /* batch: stars */
    double *mock = mock_orbits(STREAMS), *xv = bench_numbers(6 * job->batch), *theta;
    af_context *c = NULL;
    af_orbits *o;
    af_finder *f;
    af_finder_desc shape;
    af_fit_desc d;
    galaxy g;
    finder_evaluation e;
    size_t i;
    c = bench_context();
    memset(&d, 0, sizeof d);
    memset(&e, 0, sizeof e);
    memset(&shape, 0, sizeof shape);
    shape.generator = job->generator;
    bench_check(c, af_orbits_create(c, STREAMS, STARS, mock, NULL, &o));
    bench_check(c, af_finder_create(c, o, &shape, &f));
    d.epochs = job->generator == AF_GENERATOR_SHEARS ? SHEAR_STEPS : EPOCHS;
    bench_check(c, af_finder_fit(f, o, &d));
    bench_check(c, af_evaluator_create(f, 1, job->batch > 1 ? 256 : 1, 1, &e.evaluator));
    for (i = 0; i < 6 * job->batch; i++) xv[i] = mock[i % (6 * STREAMS * STARS)];
    galaxy_fill(&g);
    e.fudge.field = af_field_of_potential(&g.sum);
    e.stars = job->batch;
    e.xv = xv;
    e.j = bench_numbers(3 * job->batch);
    theta = bench_numbers(3 * job->batch);
    for (i = 0; i < 2; i++) {
        e.theta = i ? theta : NULL;
        result->value[i] = bench_time(finder_evaluate, &e, job->seconds);
        result->value[2 + i] = bench_time(fudge_evaluate, &e, job->seconds);
    }
}

static void finder_evaluation_rows(bench *b, af_generator_kind generator, size_t stars) {
    bench_result result;
    finder_job job;
    bench_row row[2];
    int i;
    for (i = 0; i < 2; i++)
        row[i] = bench_new_row("Staeckel fudge", "evaluate %s %s, %lu star%s f64 1 thread",
                               generator == AF_GENERATOR_SHEARS ? "shears:" : "Fourier:",
                               i ? "J and theta" : "J", (unsigned long)stars, stars > 1 ? "s" : "");
    if (!bench_wanted(b, row[0].name) && !bench_wanted(b, row[1].name)) return;
    memset(&job, 0, sizeof job);
    job.generator = generator;
    job.batch = stars;
    job.seconds = bench_seconds(b);
    bench_child(finder_evaluation_work, &job, &result);
    for (i = 0; i < 2; i++) {
        row[i].ours = result.value[i];
        row[i].other = result.value[2 + i];
        row[i].elements = (double)stars;
        if (bench_wanted(b, row[i].name)) bench_report(b, &row[i]);
    }
}

void bench_finder(bench *b) {
    size_t many = b->quick ? 16384 : 131072;
    bench_head("ActionFinder: a training step, 8 stars a stream", FINDER_REMARK);
    finder_rows(b, 64, 256, 16, 20);
    if (!b->quick) finder_rows(b, 256, 64, 8, 10);
    if (!b->quick) finder_rows(b, 1024, 16, 2, 4);
    if (bench_on_device()) {
        if (!b->quick) finder_rows(b, 1024, PAPER_STREAMS, 16, 4); /* an epoch of the paper's */
        return;
    }
    bench_head("ActionFinder: evaluation, stars one by one",
               "    The fudge is the library's own (af_fudge.h). It is told the potential.\n");
    finder_evaluation_rows(b, AF_GENERATOR_FOURIER, 1);
    finder_evaluation_rows(b, AF_GENERATOR_FOURIER, many);
    finder_evaluation_rows(b, AF_GENERATOR_SHEARS, 1);
    finder_evaluation_rows(b, AF_GENERATOR_SHEARS, many);
}
