/* Networks against PyTorch: the training step of a potential and of a flow, the evaluation of a
 * potential. The parameters and the data go to PyTorch in a safetensors file; the losses of the
 * first step, or the values, are compared. */
#include "bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A loss, its parameters and its data. */
typedef struct task {
    const char *name; /* row of the script, and the file: NAME.safetensors */
    af_context *c;
    af_params *params;
    af_expr input[4], loss;
    const char *label[4];
    size_t inputs, rank[4], dims[4][3]; /* of the data: `pieces` times as long along the axis */
    int axis[4];
    size_t pieces;
    double *data[4];
} task;

typedef struct network_job {
    const char *row;
    void (*build)(task *t, size_t batch);
    size_t batch, chunk, pieces;
    int f32, threads;
    double seconds;
    char file[640];
} network_job;

static size_t task_size(const task *t, size_t i) {
    size_t k, n = 1;
    for (k = 0; k < t->rank[i]; k++) n *= t->dims[i][k];
    return n;
}

/* A new input of normal numbers with this standard deviation, in the shape of a piece; pieces lie
 * one after the other along the axis. */
static af_expr task_input(task *t, const char *label, size_t rank, size_t d0, size_t d1, size_t d2,
                          int axis, double scale) {
    size_t i = t->inputs++, k, dims[3];
    t->label[i] = label;
    t->rank[i] = rank;
    dims[0] = d0;
    dims[1] = d1;
    dims[2] = d2;
    memcpy(t->dims[i], dims, sizeof dims);
    t->axis[i] = axis;
    t->dims[i][axis] *= t->pieces;
    t->data[i] = bench_numbers(task_size(t, i));
    for (k = 0; k < task_size(t, i); k++) t->data[i][k] = scale * af_random_normal(7, i, k);
    return t->input[i] = af_input(t->c, label, rank, dims);
}

static af_net *task_net(task *t, size_t inputs, size_t outputs, size_t width, size_t depth) {
    af_net_desc d;
    af_net *net;
    memset(&d, 0, sizeof d);
    d.inputs = inputs;
    d.outputs = outputs;
    d.width = width;
    d.depth = depth;
    d.activation = AF_TANH;
    d.random_last = 1;
    bench_check(t->c, af_net_create(t->params, &d, &net));
    return net;
}

static const af_expr no_dropout = {0};

/* ---- the losses ---- */

/* As in Deep Potential: r = c + b . grad Phi stands for the collisionless Boltzmann equation, and
 * negative densities are punished: mean r^2 + 0.1 mean max(0, -Laplacian)^2. */
static void task_potential(task *t, size_t n) {
    af_context *c = t->c;
    af_net *net = task_net(t, 3, 1, 512, 4);
    af_expr x = task_input(t, "x", 2, n, 3, 0, 0, 1.0), gradient, laplacian, r;
    af_expr b = task_input(t, "b", 3, 3, n, 1, 1, 1.0);
    af_expr constant = task_input(t, "c", 2, n, 1, 0, 0, 0.1);
    size_t dims[2];
    dims[0] = n;
    dims[1] = 1;
    bench_check(c, af_laplacian(c, af_net_apply(net, x, no_dropout), x, &gradient, &laplacian));
    r = af_reshape(c, af_sum_axis(c, af_mul(c, b, gradient), 0), 2, dims);
    r = af_square(c, af_add(c, constant, r));
    laplacian = af_square(c, af_relu(c, af_neg(c, laplacian)));
    t->loss = af_add(c, af_mean(c, r), af_scale(c, af_mean(c, laplacian), 0.1));
}

/* A net so small that on a device a step is nothing but launches. */
static void task_small(task *t, size_t n) {
    af_context *c = t->c;
    af_net *net = task_net(t, 3, 1, 64, 3);
    af_expr x = task_input(t, "x", 2, n, 3, 0, 0, 1.0), y = task_input(t, "y", 2, n, 1, 0, 0, 1.0);
    t->loss = af_mean(c, af_square(c, af_sub(c, af_net_apply(net, x, no_dropout), y)));
}

enum { FLOW = 6 }; /* dimensions */

/* v(t, x) (n,6) and its divergence (n,1), by six directions carried forward. */
static af_expr flow_velocity(af_context *c, const af_net *net, double time, af_expr x,
                             af_expr *divergence) {
    static double unit[FLOW][FLOW];
    af_expr part[2], v, units, slope;
    size_t d[AF_RANK_MAX], dims[3], i;
    af_shape(c, x, d);
    for (i = 0; i < FLOW; i++) unit[i][i] = 1.0;
    dims[0] = dims[2] = FLOW;
    dims[1] = 1;
    units = af_constant_array(c, 3, dims, unit[0]);
    dims[1] = d[0];
    slope = af_broadcast(c, units, 3, dims);
    dims[0] = d[0];
    dims[1] = 1;
    part[0] = af_full(c, 2, dims, time);
    part[1] = x;
    v = af_net_apply(net, af_concat(c, 1, 2, part), no_dropout);
    bench_check(c, af_jvp(c, 1, &v, 1, &x, &slope, &slope)); /* (6,n,6) */
    slope = af_sum_axis(c, af_sum_axis(c, af_mul(c, slope, units), 0), 2);
    *divergence = af_reshape(c, slope, 2, dims);
    return v;
}

/* -mean ln f of one step of Runge and Kutta's method from t = 0 to 1, where f is normal:
 * ln f(x0) = ln normal(x1) + integral of the divergence. */
static void task_flow(task *t, size_t n) {
    static const double time[4] = {0.0, 0.5, 0.5, 1.0}, ahead[4] = {0.0, 0.5, 0.5, 1.0};
    static const double weight[4] = {1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0};
    af_context *c = t->c;
    af_net *net = task_net(t, 1 + FLOW, FLOW, 128, 3);
    af_expr x = task_input(t, "x", 2, n, FLOW, 0, 0, 1.0), v = x, end = x, growth = no_dropout, f;
    size_t i;
    for (i = 0; i < 4; i++) {
        af_expr at = i == 0 ? x : af_add(c, x, af_scale(c, v, ahead[i])), divergence;
        v = flow_velocity(c, net, time[i], at, &divergence);
        end = af_add(c, end, af_scale(c, v, weight[i]));
        divergence = af_scale(c, divergence, weight[i]);
        growth = i == 0 ? divergence : af_add(c, growth, divergence);
    }
    f = af_scale(c, af_sum_axis(c, af_square(c, end), 1), -0.5);
    f = af_offset(c, f, -0.5 * FLOW * log(6.283185307179586));
    t->loss = af_neg(c, af_mean(c, af_add(c, f, growth)));
}

static void task_open(task *t, const network_job *job) {
    memset(t, 0, sizeof *t);
    t->c = bench_context();
    af_context_set_threads(t->c, job->threads);
    bench_check(t->c, af_params_create(t->c, 1, &t->params));
    t->pieces = job->pieces ? job->pieces : 1;
    job->build(t, job->batch / t->pieces);
    if (af_error_status(t->c) != AF_OK) bench_die(af_error(t->c));
}

/* `copies`: how often the data are to be repeated. */
static void task_save(const task *t, const char *file, double copies) {
    af_tensors *set;
    size_t i;
    bench_check(t->c, af_tensors_create(t->c, &set));
    bench_check(t->c, af_params_save(t->params, set, ""));
    for (i = 0; i < t->inputs; i++)
        bench_check(t->c, af_tensors_add(set, t->label[i], AF_DTYPE_F64, (int)t->rank[i],
                                         t->dims[i], t->data[i]));
    bench_check(t->c, af_tensors_add(set, "copies", AF_DTYPE_F64, 0, NULL, &copies));
    bench_check(t->c, af_tensors_write(set, file));
    af_tensors_destroy(set);
}

/* ---- a training step ---- */

typedef struct step {
    af_trainer *trainer;
    const void *in[4];
    double loss;
} step;

static void step_call(void *data) {
    step *s = (step *)data;
    if (af_trainer_step(s->trainer, s->in, 0.0, &s->loss) != AF_OK) bench_die("a training step");
}

static void step_open(step *s, const task *t, const network_job *job) {
    af_trainer_desc d;
    memset(&d, 0, sizeof d);
    d.params = t->params;
    d.loss = t->loss;
    d.inputs = t->input;
    d.input_count = t->inputs;
    d.input_axes = t->axis;
    d.pieces = t->pieces;
    d.precision = job->f32 ? AF_F32 : AF_F64;
    d.schedule.kind = AF_SCHEDULE_CONSTANT;
    d.schedule.rate = 1e-4;
    d.schedule.warmup = -1.0;
    bench_check(t->c, af_trainer_create(t->c, &d, &s->trainer));
}

/* value: seconds, loss of the first step, memory: what the largest resident set grew by after the
 * data were there. */
static void step_work(const void *arg, bench_result *result) {
    const network_job *job = (const network_job *)arg;
    task t;
    step s;
    double memory;
    size_t i;
    task_open(&t, job);
    task_save(&t, job->file, 1.0);
    memset(&s, 0, sizeof s);
    for (i = 0; i < t.inputs; i++) s.in[i] = t.data[i];
    memory = bench_peak_memory();
    step_open(&s, &t, job);
    step_call(&s);
    result->value[1] = s.loss;
    result->value[0] = bench_time(step_call, &s, job->seconds);
    result->value[2] = bench_peak_memory() - memory;
}

/* value: floating point operations of the matrix products of a step. */
static void step_count(const void *arg, bench_result *result) {
    const network_job *job = (const network_job *)arg;
    af_expr in[5], out[2];
    bench_func f;
    task t;
    size_t i;
    bench_use_device(0); /* nothing runs */
    task_open(&t, job);
    in[0] = af_params_input(t.params);
    for (i = 0; i < t.inputs; i++) in[i + 1] = t.input[i];
    out[0] = af_params_grad(t.params, t.loss);
    out[1] = t.loss;
    bench_compile(t.c, &f, t.inputs + 1, in, 2, out, job->f32, 1);
    result->value[0] = af_func_matmul_flops(f.func) * (double)t.pieces;
}

static void step_note(bench_row *row, const bench_result *ours, const bench_answers *torch,
                      int f32) {
    double a = ours->value[1], b = bench_answer(torch, "loss"), away = fabs(a - b) / fabs(b);
    if (!torch->failure[0])
        bench_note(row, "losses %.9g and %.9g%s", a, b,
                   away < (f32 ? 1e-4 : 1e-6) ? "" : ", THEY DIFFER");
    bench_torch_note(row, torch);
}

static void step_rows(bench *b, network_job *job, const char *title, int with_memory) {
    bench_result ours, count;
    bench_answers torch;
    bench_row row = bench_new_row("PyTorch", "%s batch %lu %s %d threads", title,
                                  (unsigned long)job->batch, job->f32 ? "f32" : "f64",
                                  job->threads);
    bench_row memory = bench_new_row("PyTorch", "%s batch %lu %s memory", title,
                                     (unsigned long)job->batch, job->f32 ? "f32" : "f64");
    if (!bench_wanted(b, row.name) && !(with_memory && bench_wanted(b, memory.name))) return;
    snprintf(job->file, sizeof job->file, "%s/%s.safetensors", b->folder, job->row);
    bench_child(step_work, job, &ours);
    bench_child(step_count, job, &count);
    bench_torch(b, job->row, job->threads, &torch);
    row.ours = ours.value[0];
    row.other = bench_answer(&torch, "seconds");
    row.flops = count.value[0];
    row.peak = b->peak[job->f32][job->threads > 1];
    step_note(&row, &ours, &torch, job->f32);
    bench_report(b, &row);
    if (!with_memory || bench_on_device()) return; /* it is the host's */
    memory.bytes = 1;
    memory.peer = row.peer;
    memory.ours = ours.value[2];
    memory.other = bench_answer(&torch, "memory");
    bench_report(b, &memory);
}

/* ---- evaluation ---- */

static void task_evaluate(task *t, size_t n) {
    af_net *net = task_net(t, 3, 1, 128, 3);
    t->loss = af_net_apply(net, task_input(t, "x", 2, n, 3, 0, 0, 1.0), no_dropout); /* Phi (n,1) */
}

enum { EVALUATORS = 64 };

/* One function for `chunk` stars, called for all of them: threads share it, each with a workspace
 * of its own. */
typedef struct evaluation {
    bench_func f[EVALUATORS];
    size_t stars, chunk;
    int threads;
    double *x, *phi, *gradient;
} evaluation;

/* Every `threads`th chunk. */
static void evaluation_share(evaluation *e, int number) {
    bench_func *f = &e->f[number];
    size_t i, step = (size_t)e->threads * e->chunk;
    for (i = (size_t)number * e->chunk; i + e->chunk <= e->stars; i += step) {
        f->in[1] = e->x + 3 * i;
        f->out[0] = e->phi + i;
        f->out[1] = e->gradient + 3 * i;
        bench_run(f);
    }
}

static void evaluation_call(void *data) {
    evaluation *e = (evaluation *)data;
    int number;
#ifdef _OPENMP
#pragma omp parallel for num_threads(e->threads)
#endif
    for (number = 0; number < e->threads; number++) evaluation_share(e, number);
}

/* value: seconds, operations, sum of Phi + sum of grad Phi. */
static void evaluation_work(const void *arg, bench_result *result) {
    network_job job = *(const network_job *)arg;
    size_t i, stars = job.batch;
    static evaluation e;
    task t;
    af_expr in[2], out[2];
    int k;
    job.batch = job.chunk;
    task_open(&t, &job);
    task_save(&t, job.file, (double)(stars / job.chunk));
    e.stars = stars;
    e.threads = job.threads < EVALUATORS ? job.threads : EVALUATORS;
    e.chunk = job.chunk;
    e.phi = bench_numbers(stars);
    e.gradient = bench_numbers(3 * stars);
    e.x = bench_numbers(3 * stars);
    for (i = 0; i < 3 * stars; i++) e.x[i] = t.data[0][i % (3 * job.chunk)];
    in[0] = af_params_input(t.params);
    in[1] = t.input[0];
    out[0] = t.loss;
    bench_check(t.c, af_grad(t.c, af_sum(t.c, t.loss), 1, &in[1], &out[1]));
    bench_compile(t.c, &e.f[0], 2, in, 2, out, 0, 1);
    e.f[0].in[0] = af_params_data(t.params);
    for (k = 1; k < e.threads; k++) {
        e.f[k] = e.f[0];
        if (af_workspace_create(e.f[0].func, 1, &e.f[k].work) != AF_OK) bench_die("no workspace");
    }
    result->value[0] = bench_time(evaluation_call, &e, job.seconds);
    result->value[1] = af_func_matmul_flops(e.f[0].func) * (double)(stars / job.chunk);
    for (i = 0; i < stars; i++) result->value[2] += e.phi[i];
    for (i = 0; i < 3 * stars; i++) result->value[2] += e.gradient[i];
}

static void evaluation_row(bench *b, const char *script_row, size_t stars, size_t chunk,
                           int threads) {
    network_job job;
    bench_result ours;
    bench_answers torch;
    double sum;
    bench_row row = bench_new_row("PyTorch", "evaluate potential 3x128 %lu star%s f64 %d thread%s",
                                  (unsigned long)stars, stars > 1 ? "s" : "", threads,
                                  threads > 1 ? "s" : "");
    if (!bench_wanted(b, row.name)) return;
    memset(&job, 0, sizeof job);
    job.row = script_row;
    job.build = task_evaluate;
    job.batch = stars;
    job.chunk = chunk;
    job.threads = threads;
    job.seconds = bench_seconds(b);
    snprintf(job.file, sizeof job.file, "%s/%s.safetensors", b->folder, job.row);
    bench_child(evaluation_work, &job, &ours);
    bench_torch(b, job.row, threads, &torch);
    row.ours = ours.value[0];
    row.other = bench_answer(&torch, "seconds");
    row.elements = (double)stars;
    row.flops = stars > 1 ? ours.value[1] : 0.0;
    row.peak = b->peak[0][threads > 1];
    sum = bench_answer(&torch, "sum") * (double)stars;
    if (!torch.failure[0] && !(fabs(sum - ours.value[2]) < 1e-9 * (double)stars))
        bench_note(&row, "THE RESULTS DIFFER: sums %.12g and %.12g", ours.value[2], sum);
    bench_torch_note(&row, &torch);
    bench_report(b, &row);
}

/* ---- what a run costs ---- */

/* value: seconds of a run that adds one to a number. */
static void replay_work(const void *arg, bench_result *result) {
    const bench *b = (const bench *)arg;
    static double x[1], y[1];
    af_context *c = bench_context();
    af_expr in = af_input(c, "x", 0, NULL), out = af_offset(c, in, 1.0);
    bench_func f;
    memset(&f, 0, sizeof f);
    f.in[0] = x;
    f.out[0] = y;
    bench_compile(c, &f, 1, &in, 1, &out, 0, 1);
    result->value[0] = bench_time(bench_run, &f, bench_seconds(b));
}

void bench_replays(bench *b) {
    bench_row row = bench_new_row(NULL, "a run: one addition");
    bench_result r;
    network_job job;
    bench_head("what a run costs the host", NULL);
    if (bench_wanted(b, row.name)) {
        bench_child(replay_work, b, &r);
        row.ours = r.value[0];
        bench_note(&row, "a copy, a kernel, a copy back and the wait: more than the host's share");
        bench_report(b, &row);
    }
    memset(&job, 0, sizeof job);
    job.threads = b->threads;
    job.seconds = bench_seconds(b);
    job.build = task_small;
    job.batch = 1024;
    job.row = "small_f64";
    step_rows(b, &job, "step of 3x64 tanh", 0);
}

/* ---- rows ---- */

/* Ours computes a batch in pieces (af_trainer_desc): 256 stars fit the caches. */
enum { PIECE = 256 };

void bench_networks(bench *b) {
    network_job job;
    memset(&job, 0, sizeof job);
    job.threads = b->threads;
    job.seconds = bench_seconds(b);
    bench_head("training steps with derivatives in the loss", NULL);
    job.build = task_potential;
    job.batch = b->quick ? 1024 : 16384;
    job.pieces = bench_on_device() ? 1 : job.batch / PIECE;
    for (job.f32 = 0; job.f32 < 2; job.f32++) {
        job.row = job.f32 ? "potential_f32" : "potential_f64";
        step_rows(b, &job, "potential 4x512 tanh", 1);
    }
    job.f32 = 1;
    job.build = task_flow;
    job.batch = b->quick ? 1024 : 8192;
    job.pieces = bench_on_device() ? 1 : job.batch / PIECE;
    job.row = "flow_f32";
    step_rows(b, &job, "flow 3x128 tanh RK4 step", 0);
    if (bench_on_device()) return;
    bench_head("evaluation of a network and its gradient", NULL);
    evaluation_row(b, "evaluate_one", 1, 1, 1);
    evaluation_row(b, "evaluate_many", b->quick ? 131072 : 1048576, 256, b->threads);
}
