/* Training: steps, epochs, the best validation, machines, checkpoints that survive a kill. */
#if !defined(_POSIX_C_SOURCE) && !defined(__APPLE__)
#  define _POSIX_C_SOURCE 200809L /* kill, nanosleep */
#endif
#include "actionfinder.in.h"
#include "af_test.h"
#include "af_heap.h"

#if defined(__unix__) || defined(__APPLE__)
#  include <signal.h>
#  include <sys/resource.h>
#  include <sys/wait.h>
#  include <time.h>
#  include <unistd.h>
#  define POSIX 1
#else
#  define POSIX 0
#endif

static const af_expr no_expr = AF__ZERO;
static char folder[400];

/* A path for this process, in one of four buffers in turn. */
static const char *file(const char *name) {
    static char paths[4][512];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(paths[turn], sizeof paths[turn], "%s_%s", folder, name);
    return paths[turn];
}

static void remove_with_leftovers(const char *path) {
    char text[600];
    int i;
    remove(path);
    for (i = 0; i < 100; i++) {
        snprintf(text, sizeof text, "%s.tmp-%d", path, i);
        remove(text);
    }
}

/* ---- a regression: sin(2x) on [-2,2] ---- */

enum { POINTS = 128, BATCH = 32 };

/* One machine with its store, network, trainer and data. */
typedef struct job {
    heap memory;
    af_context *context;
    af_params *params;
    af_net *net;
    af_trainer *trainer;
    af_func *check; /* the loss without dropout */
    af_workspace *check_memory;
    size_t batch, width;
    int threads;
    double dropout;
    double x[POINTS], y[POINTS];
    double drawn;           /* caller's state: batches drawn so far */
    size_t stop_at, die_at; /* epochs; 0: never */
    size_t stop_inside;
    size_t seen;            /* calls of the progress function */
    af_progress last;
    const double *scripted; /* validation losses to report */
    struct job *peer;       /* the other machine */
    const double *peer_values;
    double poison;          /* replaces a target when not 0 */
} job;

static double target(double x) { return sin(2.0 * x); }

static void fill_data(job *j) {
    size_t i;
    for (i = 0; i < POINTS; i++) {
        j->x[i] = 4.0 * af_random_uniform(5, 0, i) - 2.0;
        j->y[i] = target(j->x[i]);
    }
}

static af_expr squared_error(job *j, af_expr x, af_expr y, af_expr seed) {
    af_expr error = af_sub(j->context, af_net_apply(j->net, x, seed), y);
    return af_mean(j->context, af_square(j->context, error));
}

static af_status job_check_function(job *j) {
    af_func_desc d = AF__ZERO;
    af_expr in[3], loss;
    size_t dims[2] = {POINTS, 1};
    af_status s;
    in[0] = af_params_input(j->params);
    in[1] = af_input(j->context, "x", 2, dims);
    in[2] = af_input(j->context, "y", 2, dims);
    loss = squared_error(j, in[1], in[2], no_expr);
    d.inputs = in;
    d.input_count = 3;
    d.outputs = &loss;
    d.output_count = 1;
    s = af_compile(j->context, &d, &j->check);
    return s == AF_OK ? af_workspace_create(j->check, 1, &j->check_memory) : s;
}

static af_status job_trainer(job *j, af_status (*allreduce)(double *, size_t, void *)) {
    af_trainer_desc d = AF__ZERO;
    af_expr in[3];
    size_t dims[2];
    dims[0] = j->batch;
    dims[1] = 1;
    in[0] = af_input(j->context, "x", 2, dims);
    in[1] = af_input(j->context, "y", 2, dims);
    in[2] = af_input(j->context, "seed", 0, NULL);
    d.params = j->params;
    d.loss = squared_error(j, in[0], in[1], in[2]);
    d.inputs = in;
    d.input_count = j->dropout > 0.0 ? 3 : 2;
    d.schedule.rate = 0.02;
    d.adam.clip = 1.0;
    d.allreduce = allreduce;
    d.allreduce_user = j;
    return af_trainer_create(j->context, &d, &j->trainer);
}

static af_status job_build(job *j, af_status (*allreduce)(double *, size_t, void *)) {
    af_net_desc n = AF__ZERO;
    af_status s = af_params_create(j->context, 11, &j->params);
    n.inputs = n.outputs = 1;
    n.architecture = AF_RESDENSE;
    n.depth = 1;
    n.width = n.max_width = j->width;
    n.weight_norm = 1;
    n.dropout = j->dropout;
    n.dropout_above = 1;
    if (s == AF_OK) s = af_net_create(j->params, &n, &j->net);
    if (s == AF_OK) s = job_check_function(j);
    return s == AF_OK ? job_trainer(j, allreduce) : s;
}

static af_status job_open(job *j, long fail_at) {
    if (!j->batch) j->batch = BATCH;
    if (!j->width) j->width = 12;
    if (!j->threads) j->threads = 1;
    fill_data(j);
    return heap_open(&j->memory, fail_at, j->threads, &j->context);
}

static void job_begin(job *j) {
    if (job_open(j, 0) != AF_OK || job_build(j, NULL) != AF_OK) {
        printf("  %s\n", j->context ? af_error(j->context) : "no context");
        abort();
    }
}

static void job_end(job *j) {
    af_workspace_destroy(j->check_memory);
    af_func_destroy(j->check);
    af_trainer_destroy(j->trainer);
    af_net_destroy(j->net);
    af_params_destroy(j->params);
    af_context_destroy(j->context);
    CHECK(j->memory.live == 0);
}

static double job_loss(const job *j) {
    const void *in[3];
    double loss = NAN;
    void *out[1];
    in[0] = af_params_data(j->params);
    in[1] = j->x;
    in[2] = j->y;
    out[0] = &loss;
    CHECK(af_run(j->check, j->check_memory, in, out) == AF_OK);
    return loss;
}

/* The batches of an epoch: a permutation of all points, the seed of dropout being the batch's
 * number, which is the caller's state. */
static af_status job_epoch(af_trainer *t, size_t epoch, double first, double last, double *loss,
                           void *user) {
    job *j = (job *)user;
    uint32_t order[POINTS];
    size_t b, i, batches = POINTS / j->batch;
    double x[POINTS], y[POINTS], sum = 0.0;
    if (j->die_at && epoch + 1 == j->die_at) return AF_ERROR_DATA;
    af_random_permutation(17, epoch, POINTS, order);
    for (b = 0; b < batches; b++) {
        const void *in[3];
        double one = 0.0, progress = first + (last - first) * (double)b / (double)batches;
        af_status s;
        if (j->stop_inside && epoch + 1 == j->stop_inside && b == 2) return AF_STOPPED;
        for (i = 0; i < j->batch; i++) {
            x[i] = j->x[order[b * j->batch + i]];
            y[i] = j->y[order[b * j->batch + i]];
        }
        if (j->poison != 0.0) y[0] = j->poison;
        in[0] = x;
        in[1] = y;
        in[2] = &j->drawn;
        s = af_trainer_step(t, in, progress, &one);
        if (s != AF_OK) return s;
        j->drawn += 1.0;
        sum += one;
    }
    *loss = sum / (double)batches;
    return AF_OK;
}

static af_status job_validate(af_trainer *t, size_t epoch, double *validation, void *user) {
    job *j = (job *)user;
    (void)t;
    *validation = j->scripted ? j->scripted[epoch] : job_loss(j);
    return AF_OK;
}

static int job_progress(const af_progress *p, void *user) {
    job *j = (job *)user;
    j->seen++;
    j->last = *p;
    return j->stop_at != 0 && p->epoch >= j->stop_at;
}

static af_status job_save(af_tensors *to, void *user) {
    return af_tensors_set_number(to, "job.drawn", ((job *)user)->drawn);
}

static af_status job_load(const af_tensors *from, void *user) {
    return af_tensors_number(from, "job.drawn", &((job *)user)->drawn);
}

static af_train_desc job_desc(job *j, size_t epochs, const char *checkpoint) {
    af_train_desc d = AF__ZERO;
    d.epochs = epochs;
    d.epoch = job_epoch;
    d.validate = job_validate;
    d.progress = job_progress;
    d.save = job_save;
    d.load = job_load;
    d.user = j;
    d.checkpoint = checkpoint;
    d.resume = checkpoint != NULL;
    return d;
}

static size_t job_bytes(const job *j) { return af_params_size(j->params) * sizeof(double); }

static double *job_copy(const job *j) {
    double *copy = (double *)malloc(job_bytes(j));
    if (!copy) abort();
    memcpy(copy, af_params_data(j->params), job_bytes(j));
    return copy;
}

static int job_equals(const job *j, const double *copy) {
    return memcmp(copy, af_params_data(j->params), job_bytes(j)) == 0;
}

/* ---- training ---- */

TEST(train_learns) {
    job j = AF__ZERO;
    af_train_desc d;
    double untrained;
    job_begin(&j);
    untrained = job_loss(&j);
    CHECK(untrained > 0.3); /* the zero function: the mean of sin^2 */
    d = job_desc(&j, 300, NULL);
    CHECK(af_train(j.trainer, &d) == AF_OK);
    CHECK(job_loss(&j) < 1e-3);
    CHECK(j.seen == 300 && j.last.epoch == 300 && j.last.epochs == 300);
    CHECK(j.last.loss < 1e-2 && j.last.best_validation <= j.last.validation);
    CHECK(job_loss(&j) == j.last.best_validation); /* the parameters are the best */
    CHECK(j.last.best_epoch > 200 && j.last.best_epoch <= 300);
    /* the rate of the last step, at progress 299.75 / 300 */
    CHECK_CLOSE(j.last.rate / 0.02, 0.01, 1e-4);
    job_end(&j);
}

static double *one_by_one(size_t epochs) { /* the parameters after each epoch */
    job j = AF__ZERO;
    double *all;
    size_t k, n;
    job_begin(&j);
    n = af_params_size(j.params);
    all = (double *)malloc(epochs * n * sizeof *all);
    if (!all) abort();
    for (k = 0; k < epochs; k++) {
        double loss;
        CHECK(job_epoch(j.trainer, k, (double)k / (double)epochs, (double)(k + 1) / (double)epochs,
                        &loss, &j) == AF_OK);
        memcpy(all + k * n, af_params_data(j.params), n * sizeof *all);
    }
    job_end(&j);
    return all;
}

/* The parameters at the end are those of the best epoch, and of the last without validation. */
static void check_best(const double *validation, size_t epochs, size_t best) {
    job j = AF__ZERO;
    af_train_desc d;
    double *all = one_by_one(epochs);
    job_begin(&j);
    j.scripted = validation;
    d = job_desc(&j, epochs, NULL);
    if (!validation) d.validate = NULL;
    CHECK(af_train(j.trainer, &d) == AF_OK);
    CHECK(j.last.best_epoch == best);
    CHECK(job_equals(&j, all + (best - 1) * af_params_size(j.params)));
    if (validation && !(validation[best - 1] != validation[best - 1]))
        CHECK(j.last.best_validation == validation[best - 1]);
    job_end(&j);
    free(all);
}

TEST(train_keeps_the_best) {
    static const double middle[5] = {3, 2, 1, 1, 2}, first[5] = {-5, 2, 1, 1, 2};
    static const double not_first[5] = {NAN, 7, 8, NAN, 9}, mixed[5] = {INFINITY, NAN, 8, 3, NAN};
    static const double never[5] = {NAN, NAN, NAN, NAN, NAN};
    check_best(middle, 5, 3);
    check_best(first, 5, 1);
    check_best(not_first, 5, 2);
    check_best(mixed, 5, 4);
    check_best(never, 5, 1);
    check_best(NULL, 5, 5);
}

TEST(train_stops) {
    job j = AF__ZERO;
    af_train_desc d;
    double *all = one_by_one(10);
    job_begin(&j);
    d = job_desc(&j, 10, NULL);
    d.validate = NULL;
    j.stop_at = 4;
    CHECK(af_train(j.trainer, &d) == AF_STOPPED);
    CHECK(j.seen == 4 && j.last.epoch == 4);
    CHECK(job_equals(&j, all + 3 * af_params_size(j.params)));
    CHECK(af_error_status(j.context) == AF_OK);
    job_end(&j);
    memset(&j, 0, sizeof j);
    job_begin(&j); /* inside an epoch, which does not count then */
    d = job_desc(&j, 10, NULL);
    d.validate = NULL;
    j.stop_inside = 4;
    CHECK(af_train(j.trainer, &d) == AF_STOPPED);
    CHECK(j.seen == 3 && job_equals(&j, all + 2 * af_params_size(j.params)));
    job_end(&j);
    free(all);
}

static double late(size_t epoch, void *user) { /* a clock that runs out after 3 epochs */
    (void)user;
    return (double)epoch / 3.0;
}

TEST(train_by_fraction) {
    job j = AF__ZERO;
    af_train_desc d;
    double *all = one_by_one(3);
    job_begin(&j);
    d = job_desc(&j, 100, NULL);
    d.fraction = late;
    d.validate = NULL;
    CHECK(af_train(j.trainer, &d) == AF_OK);
    CHECK(j.last.epoch == 3 && job_equals(&j, all + 2 * af_params_size(j.params)));
    job_end(&j);
    free(all);
}

/* Nothing but the status and the sentence tells of a step that failed. */
TEST(train_not_finite) {
    static const double poison[3] = {NAN, INFINITY, 1e200};
    size_t i;
    for (i = 0; i < 3; i++) {
        job j = AF__ZERO, calm = AF__ZERO;
        af_train_desc d;
        double *before, loss;
        job_begin(&j);
        job_begin(&calm);
        before = job_copy(&j);
        d = job_desc(&j, 3, NULL);
        j.poison = poison[i];
        CHECK(af_train(j.trainer, &d) == AF_ERROR_NONFINITE);
        CHECK_TEXT(af_error(j.context), "not finite");
        CHECK(job_equals(&j, before) && j.seen == 0);
        af_error_clear(j.context);
        j.poison = 0.0; /* the optimiser's state is as it was too */
        CHECK(job_epoch(j.trainer, 0, 0.0, 0.1, &loss, &j) == AF_OK);
        CHECK(job_epoch(calm.trainer, 0, 0.0, 0.1, &loss, &calm) == AF_OK);
        CHECK(job_equals(&j, af_params_data(calm.params)));
        free(before);
        job_end(&j);
        job_end(&calm);
    }
}

TEST(train_refuses) {
    job j = AF__ZERO;
    af_trainer_desc t = AF__ZERO;
    af_train_desc d;
    af_trainer *made;
    size_t two = 2;
    job_begin(&j);
    CHECK(af_trainer_create(j.context, &t, &made) == AF_ERROR_ARGUMENT && !made);
    CHECK_TEXT(af_error(j.context), "parameters");
    af_error_clear(j.context);
    t.params = j.params;
    t.loss = af_full(j.context, 1, &two, 1.0);
    CHECK(af_trainer_create(j.context, &t, &made) == AF_ERROR_SHAPE && !made);
    CHECK_TEXT(af_error(j.context), "scalar");
    af_error_clear(j.context);
    t.loss = af_input(j.context, "forgotten", 0, NULL);
    CHECK(af_trainer_create(j.context, &t, &made) == AF_ERROR_ARGUMENT && !made);
    CHECK_TEXT(af_error(j.context), "forgotten");
    af_error_clear(j.context);
    t.schedule.rate = -1.0;
    CHECK(af_trainer_create(j.context, &t, &made) == AF_ERROR_ARGUMENT && !made);
    CHECK_TEXT(af_error(j.context), "rate -1");
    af_error_clear(j.context);
    t.schedule.kind = (af_schedule_kind)4;
    CHECK(af_trainer_create(j.context, &t, &made) == AF_ERROR_ARGUMENT && !made);
    CHECK_TEXT(af_error(j.context), "no schedule 4");
    af_error_clear(j.context);
    t.end_canary = 1;
    CHECK(af_trainer_create(j.context, &t, &made) == AF_ERROR_ARGUMENT && !made);
    af_error_clear(j.context);
    d = job_desc(&j, 0, NULL);
    CHECK(af_train(j.trainer, &d) == AF_ERROR_ARGUMENT);
    CHECK_TEXT(af_error(j.context), "epochs");
    af_error_clear(j.context);
    af_trainer_destroy(NULL);
    job_end(&j);
}

/* ---- threads ---- */

TEST(train_threads) {
    static const int threads[4] = {1, 2, 3, 8};
    double *first = NULL;
    size_t i;
    for (i = 0; i < 4; i++) {
        job j = AF__ZERO;
        af_train_desc d;
        j.threads = threads[i];
        j.batch = POINTS;
        j.width = 96;
        j.dropout = 0.2;
        job_begin(&j);
        d = job_desc(&j, 6, NULL);
        CHECK(af_train(j.trainer, &d) == AF_OK);
        if (first) CHECK(job_equals(&j, first));
        else first = job_copy(&j);
        job_end(&j);
    }
    free(first);
}

/* ---- two machines in one process ---- */

/* The first machine's step runs the second's inside its own allreduce, and both take the mean. */
static af_status reduce_second(double *values, size_t n, void *user) {
    job *j = (job *)user;
    double *first = (double *)(uintptr_t)j->peer->peer_values;
    size_t i;
    for (i = 0; i < n; i++) values[i] = first[i] = 0.5 * (values[i] + first[i]);
    return AF_OK;
}

static double shared_step; /* which step it is, for the second machine */

static void half_batch(const job *j, size_t step, size_t half, double *x, double *y) {
    size_t i;
    for (i = 0; i < BATCH; i++) {
        size_t at = (step * 2 * BATCH + half * BATCH + i) % POINTS;
        x[i] = j->x[at];
        y[i] = j->y[at];
    }
}

static af_status reduce_first(double *values, size_t n, void *user) {
    job *j = (job *)user;
    double x[BATCH], y[BATCH], loss;
    const void *in[2];
    (void)n;
    in[0] = x;
    in[1] = y;
    j->peer_values = values;
    half_batch(j->peer, (size_t)shared_step, 1, x, y);
    return af_trainer_step(j->peer->trainer, in, shared_step / 20.0, &loss);
}

TEST(train_two_machines) {
    job a = AF__ZERO, b = AF__ZERO, whole = AF__ZERO;
    size_t step, i, n;
    double untrained;
    a.peer = &b;
    b.peer = &a;
    whole.batch = 2 * BATCH;
    CHECK(job_open(&a, 0) == AF_OK && job_build(&a, reduce_first) == AF_OK);
    CHECK(job_open(&b, 0) == AF_OK && job_build(&b, reduce_second) == AF_OK);
    job_begin(&whole);
    n = af_params_size(a.params);
    untrained = job_loss(&a);
    for (step = 0; step < 20; step++) {
        double x[2 * BATCH], y[2 * BATCH], loss = 0, both = 0;
        const void *in[2];
        in[0] = x;
        in[1] = y;
        shared_step = (double)step;
        half_batch(&a, step, 0, x, y);
        CHECK(af_trainer_step(a.trainer, in, shared_step / 20.0, &loss) == AF_OK);
        half_batch(&a, step, 1, x + BATCH, y + BATCH);
        CHECK(af_trainer_step(whole.trainer, in, shared_step / 20.0, &both) == AF_OK);
        CHECK_CLOSE(loss, both, 1e-10);
        CHECK(job_equals(&a, af_params_data(b.params)));
    }
    /* Adam divides by the root of the second moment: rounding of tiny gradients grows */
    for (i = 0; i < n; i++)
        CHECK_CLOSE(af_params_data(a.params)[i], af_params_data(whole.params)[i], 1e-8);
    CHECK(job_loss(&a) < untrained); /* they did learn */
    job_end(&a);
    job_end(&b);
    job_end(&whole);
}

static af_status reduce_broken(double *values, size_t n, void *user) {
    (void)values;
    (void)n;
    (void)user;
    return AF_ERROR_BACKEND;
}

TEST(train_broken_network_of_machines) {
    job j = AF__ZERO;
    double *before, loss;
    CHECK(job_open(&j, 0) == AF_OK && job_build(&j, reduce_broken) == AF_OK);
    before = job_copy(&j);
    CHECK(job_epoch(j.trainer, 0, 0.0, 1.0, &loss, &j) == AF_ERROR_BACKEND);
    CHECK_TEXT(af_error(j.context), "allreduce");
    CHECK(job_equals(&j, before));
    free(before);
    job_end(&j);
}

/* ---- checkpoints ---- */

enum { EPOCHS = 20 };

static void job_settings(job *j) {
    memset(j, 0, sizeof *j);
    j->dropout = 0.1;
    j->width = 6;
}

/* The bits that every resumed run must end with. */
static double *straight(void) {
    job j;
    af_train_desc d;
    double *copy;
    job_settings(&j);
    job_begin(&j);
    d = job_desc(&j, EPOCHS, NULL);
    CHECK(af_train(j.trainer, &d) == AF_OK);
    copy = job_copy(&j);
    job_end(&j);
    return copy;
}

typedef enum end_kind { STOP, STOP_INSIDE, CRASH } end_kind;

/* Trains from the checkpoint until something happens in epoch k (0: nothing). */
static af_status run_until(const char *path, end_kind kind, size_t k, size_t every,
                           const double *expected) {
    job j;
    af_train_desc d;
    af_status s;
    job_settings(&j);
    if (kind == STOP) j.stop_at = k;
    if (kind == STOP_INSIDE) j.stop_inside = k;
    if (kind == CRASH) j.die_at = k;
    job_begin(&j);
    d = job_desc(&j, EPOCHS, path);
    d.checkpoint_every = every;
    s = af_train(j.trainer, &d);
    if (expected) CHECK(job_equals(&j, expected));
    if (expected) CHECK(j.drawn == (double)(EPOCHS * (POINTS / BATCH)));
    job_end(&j);
    return s;
}

TEST(resume_after_each_epoch) {
    double *expected = straight();
    const char *path = file("resume");
    size_t k;
    for (k = 1; k <= EPOCHS; k++) {
        end_kind kind = k % 3 == 0 ? STOP : k % 3 == 1 ? CRASH : STOP_INSIDE;
        size_t every = k % 4; /* 0 means 1 */
        remove(path);
        CHECK(run_until(path, kind, k, every, NULL) ==
              (kind == CRASH ? AF_ERROR_DATA : AF_STOPPED));
        CHECK(run_until(path, STOP, 0, every, expected) == AF_OK);
        CHECK(run_until(path, STOP, 0, every, expected) == AF_OK); /* nothing is left to do */
    }
    remove(path);
    for (k = 1; k < EPOCHS; k++) /* stopped after every single epoch */
        CHECK(run_until(path, STOP, k, 7, NULL) == AF_STOPPED);
    CHECK(run_until(path, STOP, 0, 7, expected) == AF_OK);
    remove(path);
    free(expected);
}

/* What the file holds at the end is the end, whatever checkpoint_every. */
TEST(resume_for_longer) {
    const char *path = file("longer");
    job j;
    af_train_desc d;
    double drawn;
    remove(path);
    job_settings(&j);
    job_begin(&j);
    d = job_desc(&j, 5, path);
    d.checkpoint_every = 4;
    CHECK(af_train(j.trainer, &d) == AF_OK);
    drawn = j.drawn;
    job_end(&j);
    job_settings(&j);
    job_begin(&j);
    d = job_desc(&j, 6, path);
    CHECK(af_train(j.trainer, &d) == AF_OK);
    CHECK(j.seen == 1 && j.drawn == drawn + (double)(POINTS / BATCH));
    job_end(&j);
    remove(path);
}

static void check_rejected(const char *path, af_status status, const char *words) {
    job j;
    af_train_desc d;
    double *before;
    job_settings(&j);
    job_begin(&j);
    before = job_copy(&j);
    d = job_desc(&j, 3, path);
    CHECK(af_train(j.trainer, &d) == status);
    CHECK_TEXT(af_error(j.context), words);
    CHECK(!strchr(af_error(j.context), '\n'));
    CHECK(job_equals(&j, before) && j.seen == 0);
    free(before);
    job_end(&j);
}

static size_t read_bytes(const char *path, char *bytes, size_t room) {
    FILE *f = fopen(path, "rb");
    size_t n = 0;
    CHECK(f != NULL);
    if (!f) return 0;
    n = fread(bytes, 1, room, f);
    fclose(f);
    return n;
}

static void write_bytes(const char *path, const char *bytes, size_t n) {
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(bytes, 1, n, f) == n);
    if (f) fclose(f);
}

TEST(resume_from_a_damaged_file) {
    enum { ROOM = 1 << 16 };
    const char *path = file("damaged");
    char *bytes = (char *)malloc(ROOM);
    size_t n, k;
    remove(path);
    CHECK(run_until(path, STOP, 2, 1, NULL) == AF_STOPPED);
    n = read_bytes(path, bytes, ROOM);
    CHECK(n > 1000 && n < ROOM);
    for (k = 0; k < 13; k++) {
        write_bytes(path, bytes, k < 4 ? k * 3 : k < 12 ? n * (k - 3) / 9 : n - 1);
        check_rejected(path, AF_ERROR_FORMAT, "_damaged'");
    }
    write_bytes(path, bytes, n);
    CHECK(run_until(path, STOP, 3, 1, NULL) == AF_STOPPED);
    remove(path);
    free(bytes);
}

/* Files that are sound, but not this training's checkpoint. */
TEST(resume_from_a_foreign_file) {
    const char *path = file("foreign");
    double number = 1.0;
    job j;
    af_train_desc d;
    af_tensors *set;
    job_settings(&j);
    job_begin(&j);
    CHECK(af_tensors_create(j.context, &set) == AF_OK);
    CHECK(af_tensors_add(set, "x", AF_DTYPE_F64, 0, NULL, &number) == AF_OK);
    CHECK(af_tensors_write(set, path) == AF_OK);
    check_rejected(path, AF_ERROR_FORMAT, "is not a checkpoint of this library");
    CHECK(af_tensors_set_text(set, "format", "actionfinder checkpoint 1") == AF_OK);
    CHECK(af_tensors_write(set, path) == AF_OK);
    check_rejected(path, AF_ERROR_FORMAT, "train.epoch");
    af_tensors_destroy(set);
    write_bytes(path, "J_R,J_phi\n1,2\n", 14);
    check_rejected(path, AF_ERROR_FORMAT, "foreign");
    job_end(&j);
    remove(path);
    job_settings(&j); /* a larger network */
    j.width = 9;
    job_begin(&j);
    d = job_desc(&j, 2, path);
    CHECK(af_train(j.trainer, &d) == AF_OK);
    job_end(&j);
    check_rejected(path, AF_ERROR_SHAPE, "train.best");
    remove(path);
}

TEST(resume_without_a_file) {
    double *expected = straight();
    const char *path = file("missing");
    char below[600];
    remove(path);
    CHECK(run_until(path, STOP, 0, 1, expected) == AF_OK);
#if POSIX
    /* a file that is there but cannot be opened is not taken for none */
    snprintf(below, sizeof below, "%s/below", path);
    check_rejected(below, AF_ERROR_IO, "below");
#endif
    (void)below;
    remove(path);
    free(expected);
}

/* ---- kills ---- */

#if POSIX

/* The child trains from the checkpoint and dies at a file size limit, when there is one: in the
 * middle of writing. It leaves 0 when it is done. */
static void child_trains(const char *path, long size_limit) {
    struct rlimit limit;
    int failed = test_broken;
    limit.rlim_cur = limit.rlim_max = 0;
    setrlimit(RLIMIT_CORE, &limit);
    if (size_limit > 0) {
        getrlimit(RLIMIT_FSIZE, &limit);
        limit.rlim_cur = (rlim_t)size_limit;
        setrlimit(RLIMIT_FSIZE, &limit);
        signal(SIGXFSZ, SIG_DFL);
    }
    _exit(run_until(path, STOP, 0, 1, NULL) == AF_OK && test_broken == failed ? 0 : 1);
}

/* Is there either no file, or a whole checkpoint? Returns its epoch. */
static uint64_t sound_epoch(const char *path) {
    af_context *c;
    af_tensors *set = NULL;
    uint64_t epoch = 0;
    FILE *f = fopen(path, "rb");
    if (!f) return 0;
    fclose(f);
    if (af_context_create(NULL, &c) != AF_OK) abort();
    CHECK(af_tensors_read(c, path, &set) == AF_OK);
    if (set) CHECK(af_tensors_whole(set, "train.epoch", &epoch) == AF_OK);
    af_tensors_destroy(set);
    af_context_destroy(c);
    return epoch;
}

static void sleep_microseconds(long t) {
    struct timespec pause;
    pause.tv_sec = 0;
    pause.tv_nsec = t * 1000;
    nanosleep(&pause, NULL);
}

/* Killed at random moments until done; how often depends on the machine. */
TEST(resume_after_kills) {
    double *expected = straight();
    const char *path = file("killed");
    uint64_t epoch = 0;
    int round, status = 1;
    remove_with_leftovers(path);
    for (round = 0; round < 120; round++) {
        uint64_t now;
        pid_t child = fork();
        CHECK(child >= 0);
        if (child < 0) break;
        if (child == 0) child_trains(path, 0);
        /* longer and longer, so that slow machines arrive too */
        sleep_microseconds((long)((2000 + 400 * round) * af_random_uniform(3, 0, (uint64_t)round)));
        if (round < 119) kill(child, SIGKILL);
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
        now = sound_epoch(path);
        CHECK(now >= epoch);
        epoch = now;
        if (WIFEXITED(status) || round % 50 == 49) { /* a hundred leftovers stop the writer */
            int done = WIFEXITED(status);
            char kept[600];
            snprintf(kept, sizeof kept, "%s.kept", path);
            if (rename(path, kept) == 0) {
                remove_with_leftovers(path);
                CHECK(rename(kept, path) == 0);
            }
            if (done) break;
        }
    }
    CHECK(run_until(path, STOP, 0, 1, expected) == AF_OK);
    remove_with_leftovers(path);
    free(expected);
}

/* Killed in the middle of the first write, after any number of bytes. */
TEST(resume_after_kills_in_writing) {
    enum { ROOM = 1 << 16 };
    double *expected = straight();
    const char *path = file("cut");
    char *bytes = (char *)malloc(ROOM), *again = (char *)malloc(ROOM);
    size_t n, k;
    remove_with_leftovers(path);
    CHECK(run_until(path, STOP, 9, 1, NULL) == AF_STOPPED);
    n = read_bytes(path, bytes, ROOM);
    for (k = 1; k < 24; k++) {
        int status = 0;
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) child_trains(path, (long)(n * k / 25));
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ);
        CHECK(sound_epoch(path) == 9);
        CHECK(read_bytes(path, again, ROOM) == n && memcmp(bytes, again, n) == 0);
    }
    CHECK(run_until(path, STOP, 0, 1, expected) == AF_OK);
    remove_with_leftovers(path);
    free(bytes);
    free(again);
    free(expected);
}

#endif

/* ---- memory ---- */

static af_status everything(job *j, const char *path) {
    af_train_desc d;
    af_status s = job_build(j, NULL);
    if (s != AF_OK) return s;
    d = job_desc(j, 1, path);
    s = af_train(j->trainer, &d);
    d.epochs = 2;
    return s == AF_OK ? af_train(j->trainer, &d) : s; /* reads, and writes again */
}

TEST(memory_fails_at_every_call) {
    const char *path = file("memory");
    long k, calls = 0;
    af_status s = AF_ERROR_MEMORY;
    for (k = 1; s != AF_OK && k < 10000; k++) {
        job j;
        job_settings(&j);
        remove(path);
        s = job_open(&j, k);
        if (s == AF_OK) {
            s = everything(&j, path);
            CHECK(s == AF_OK || s == AF_ERROR_MEMORY);
            if (s != AF_OK && s == AF_ERROR_MEMORY && j.trainer)
                CHECK_TEXT(af_error(j.context), "out of memory");
            CHECK(s != AF_OK || j.memory.calls < k);
        }
        job_end(&j);
        calls = k;
    }
    CHECK(s == AF_OK && calls > 30);
    remove_with_leftovers(path);
}

/* ---- a batch in pieces ---- */

/* The same regression with x along the last axis and a scalar weight and a shift that all pieces
 * share; the mean of each piece is watched. */
typedef struct piecewise {
    size_t pieces;
    int threads;
    af_precision precision;
    size_t steps;
    double loss, watched[8], parameters[64];
    size_t size;
} piecewise;

enum { PIECE_ROWS = 48 };

static af_trainer *piecewise_trainer(piecewise *p, af_params *params, const af_net *net) {
    static const int in_axes[] = {1, 0, -1}, out_axes[] = {0};
    af_context *c = af_params_context(params);
    af_trainer_desc d = AF__ZERO;
    af_trainer *trainer = NULL;
    void *watched[1]; /* the trainer keeps what is in it */
    af_expr in[3], x, y, out;
    size_t dims[2];
    dims[0] = 2;
    dims[1] = PIECE_ROWS / p->pieces;
    in[0] = af_input(c, "xy", 2, dims);
    in[1] = af_input(c, "weight", 0, NULL);
    in[2] = af_input(c, "shift", 0, NULL);
    x = af_add(c, af_transpose(c, af_slice(c, in[0], 0, 0, 1)), in[2]);
    y = af_transpose(c, af_slice(c, in[0], 0, 1, 1));
    out = af_mean(c, af_net_apply(net, x, no_expr));
    d.params = params;
    d.loss = af_mean(c, af_square(c, af_sub(c, af_net_apply(net, x, no_expr), y)));
    d.loss = af_mul(c, in[1], d.loss);
    d.inputs = in;
    d.input_count = 3;
    d.outputs = &out;
    d.output_count = 1;
    watched[0] = p->watched;
    d.output_data = watched;
    d.pieces = p->pieces;
    d.input_axes = in_axes;
    d.output_axes = out_axes;
    d.precision = p->precision;
    d.schedule.kind = AF_SCHEDULE_CONSTANT;
    d.schedule.rate = 1e-2;
    CHECK(af_trainer_create(c, &d, &trainer) == AF_OK);
    return trainer;
}

static void piecewise_run(piecewise *p) {
    af_context_desc cd = AF__ZERO;
    af_context *c = NULL;
    af_params *params = NULL;
    af_net_desc nd = AF__ZERO;
    af_net *net = NULL;
    af_trainer *trainer;
    double xy[2 * PIECE_ROWS], weight[8], shift = 0.25;
    const void *batch[3];
    size_t i;
    cd.threads = p->threads;
    CHECK(af_context_create(&cd, &c) == AF_OK && af_params_create(c, 4, &params) == AF_OK);
    nd.inputs = nd.outputs = 1;
    nd.depth = 1;
    nd.width = 16;
    nd.random_last = 1;
    CHECK(af_net_create(params, &nd, &net) == AF_OK);
    trainer = piecewise_trainer(p, params, net);
    for (i = 0; i < PIECE_ROWS; i++) {
        xy[i] = 4.0 * af_random_uniform(5, 0, i) - 2.0;
        xy[PIECE_ROWS + i] = target(xy[i]);
    }
    for (i = 0; i < 8; i++) weight[i] = 2.0;
    batch[0] = xy;
    batch[1] = weight;
    batch[2] = &shift;
    for (i = 0; trainer && i < p->steps; i++)
        CHECK(af_trainer_step(trainer, batch, 0.0, &p->loss) == AF_OK);
    p->size = af_params_size(params);
    CHECK(p->size <= AF__COUNT(p->parameters));
    memcpy(p->parameters, af_params_data(params), p->size * sizeof(double));
    af_trainer_destroy(trainer);
    af_net_destroy(net);
    af_params_destroy(params);
    af_context_destroy(c);
}

static piecewise piecewise_of(size_t pieces, int threads, af_precision precision) {
    piecewise p = AF__ZERO;
    p.pieces = pieces;
    p.threads = threads;
    p.precision = precision;
    p.steps = 20;
    piecewise_run(&p);
    return p;
}

TEST(pieces_make_the_same_step) {
    piecewise whole = piecewise_of(1, 1, AF_F64), single = piecewise_of(1, 1, AF_F32);
    static const size_t counts[] = {2, 3, 8};
    size_t k, i;
    CHECK(whole.loss > 0.0 && whole.loss < 10.0);
    for (k = 0; k < AF__COUNT(counts); k++) {
        piecewise p = piecewise_of(counts[k], 2, AF_F64), q = piecewise_of(counts[k], 2, AF_F32);
        double mean = 0.0;
        CHECK_CLOSE(p.loss, whole.loss, 1e-12);
        CHECK_CLOSE(q.loss, whole.loss, 1e-5);
        for (i = 0; i < counts[k]; i++) mean += p.watched[i] / (double)counts[k];
        CHECK_CLOSE(mean, whole.watched[0], 1e-12);
        CHECK(counts[k] == 1 || p.watched[0] != p.watched[1]);
        for (i = 0; i < p.size; i++) {
            CHECK_CLOSE(p.parameters[i], whole.parameters[i], 1e-11);
            CHECK_CLOSE(q.parameters[i], whole.parameters[i], 1e-3);
        }
    }
    CHECK_CLOSE(single.loss, whole.loss, 1e-5);
    CHECK(single.loss != whole.loss);
}

TEST(pieces_on_any_number_of_threads) {
    piecewise one = piecewise_of(8, 1, AF_F64), more;
    int threads;
    for (threads = 2; threads < 5; threads++) {
        more = piecewise_of(8, threads, AF_F64);
        CHECK(memcmp(&one.loss, &more.loss, sizeof one.loss) == 0);
        CHECK(memcmp(one.parameters, more.parameters, sizeof one.parameters) == 0);
        CHECK(memcmp(one.watched, more.watched, sizeof one.watched) == 0);
    }
}

TEST(pieces_that_cannot_be) {
    static const int axes[][1] = {{2}, {-2}, {-1}};
    af_context *c = NULL;
    af_params *params = NULL;
    af_trainer_desc d = AF__ZERO;
    af_trainer *t = NULL;
    size_t dims[2] = {4, 3}, view, i;
    af_expr in, w;
    void *data[1];
    double room[12];
    data[0] = room;
    CHECK(af_context_create(NULL, &c) == AF_OK && af_params_create(c, 1, &params) == AF_OK);
    CHECK(af_params_add(params, "w", 1, dims + 1, AF_INIT_CONSTANT, 1.0, &view) == AF_OK);
    in = af_input(c, "x", 2, dims);
    w = af_mul(c, in, af_params_expr(params, view));
    d.params = params;
    d.loss = af_mean(c, w);
    d.inputs = &in;
    d.input_count = 1;
    d.outputs = &w;
    d.output_count = 1;
    d.output_data = data;
    d.pieces = 2;
    for (i = 0; i < 3; i++) {
        d.input_axes = i < 2 ? axes[i] : NULL;
        d.output_axes = i < 2 ? NULL : axes[i];
        CHECK(af_trainer_create(c, &d, &t) == AF_ERROR_ARGUMENT && !t);
        CHECK_TEXT(af_error(c), i < 2 ? "input 0 has 2 axes" : "output 0 has 2 axes");
        af_error_clear(c);
    }
    af_params_destroy(params);
    af_context_destroy(c);
}

int main(int argc, char **argv) {
    const char *place = argc > 1 ? argv[1] : getenv("TMPDIR");
    long process = 0;
#if POSIX
    process = (long)getpid();
    if (!place) place = "/tmp";
#endif
    snprintf(folder, sizeof folder, "%s/af_test_train_%ld", place ? place : ".", process);
    RUN(train_learns);
    RUN(train_keeps_the_best);
    RUN(train_stops);
    RUN(train_by_fraction);
    RUN(train_not_finite);
    RUN(train_refuses);
    RUN(train_threads);
    RUN(pieces_make_the_same_step);
    RUN(pieces_on_any_number_of_threads);
    RUN(pieces_that_cannot_be);
    RUN(train_two_machines);
    RUN(train_broken_network_of_machines);
    RUN(resume_after_each_epoch);
    RUN(resume_for_longer);
    RUN(resume_from_a_damaged_file);
    RUN(resume_from_a_foreign_file);
    RUN(resume_without_a_file);
#if POSIX
    RUN(resume_after_kills);
    RUN(resume_after_kills_in_writing);
#endif
    RUN(memory_fails_at_every_call);
    return test_report();
}
