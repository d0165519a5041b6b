/* ---- Cholesky -----------------------------------------------------------------------------------
 *
 * R^T R = A by panels of rows. A panel is made in its own square first, then in the strips to the
 * right of it, which are independent of each other, and then taken from all rows below it. Strips
 * (see af__factor) keep what the kernel reads side by side. What is done does not depend on the
 * number of threads, nor do the results. AF_CBLAS changes nothing here: OpenBLAS's
 * dpotrf takes longer, and not every CBLAS comes with LAPACK. */

enum { AF__PANEL = 4 * AF__STRIP }; /* rows: 18 kB of a strip, in the first-level cache */

typedef struct af__factor_job {
    af__factor f;
    const af__kernels *kernels;
    const double *a, *diagonal;
    int below; /* the panel */
} af__factor_job;

/* One strip, its first column being `strip`, from rows of A; the square on the diagonal whole. */
static void af__factor_load(const af__factor_job *job, size_t strip) {
    const af__factor *f = &job->f;
    size_t width = af__factor_stride(f, strip), end = strip + width, i, j, k;
    double *r = af__factor_at(f, 0, strip);
    for (k = 0; k < strip; k += 8) /* lines of the cache */
        for (j = strip; j < end; j++)
            for (i = k; i < k + 8 && i < strip; i++)
                r[i * width + j - strip] = job->a[j * f->n + i];
    for (j = strip; j < end; j++) {
        for (i = strip; i < end; i++)
            r[i * width + j - strip] = job->a[i > j ? i * f->n + j : j * f->n + i];
        r[j * width + j - strip] += job->diagonal[j];
    }
}

/* The head's own square. */
static int af__factor_head(const af__factor *f) {
    size_t w = f->head, i, j, k;
    for (k = 0; k < w; k++) {
        double *row = f->r + k * w, root = sqrt(row[k]);
        if (!(row[k] > 0.0 && row[k] <= DBL_MAX)) return 0;
        row[k] = root;
        for (j = k + 1; j < w; j++) row[j] /= root;
        for (i = k + 1; i < w; i++)
            for (j = i; j < w; j++) f->r[i * w + j] -= row[i] * row[j];
    }
    return 1;
}

static void af__factor_load_chunk(size_t chunk, void *user) {
    const af__factor_job *job = (const af__factor_job *)user;
    af__factor_load(job, job->f.head + chunk * AF__STRIP);
}

/* A strip to the right of the panel; the longest first. */
static void af__factor_chunk(size_t chunk, void *user) {
    const af__factor_job *job = (const af__factor_job *)user;
    const af__factor *f = &job->f;
    size_t strip = f->n - (chunk + 1) * AF__STRIP;
    if (job->below) job->kernels->factor_rows(f, strip, f->last, strip + AF__STRIP);
    else job->kernels->factor_rows(f, strip, f->first, f->last);
}

static int af__factor_panel(int threads, af__factor_job *job) {
    af__factor *f = &job->f;
    size_t strip = f->first < f->head ? f->head : f->first, right;
    for (; strip < f->last; strip += AF__STRIP)
        if (!job->kernels->factor_rows(f, strip, f->first, strip + AF__STRIP)) return 0;
    right = f->n - f->last;
    if (right * right * AF__PANEL / 2 <= AF__PRODUCT_SHARED) threads = 1;
    for (job->below = 0; job->below < 2; job->below++)
        af__parallel(threads, right / AF__STRIP, af__factor_chunk, job);
    return 1;
}

static int af__factor_make(int threads, af__factor_job *job) {
    af__factor *f = &job->f;
    size_t strips = (f->n - f->head) / AF__STRIP;
    if (f->head) af__factor_load(job, 0);
    if (!af__factor_head(f)) return 0;
    af__parallel(strips > 8 ? threads : 1, strips, af__factor_load_chunk, job);
    while (f->first < f->n) {
        f->last = (f->first ? f->first : f->head) + AF__PANEL;
        if (f->last > f->n) f->last = f->n;
        if (!af__factor_panel(threads, job)) return 0;
        f->first = f->last;
    }
    return 1;
}

/* x = R^-1 R^-T x, x being there. */
static void af__factor_solve(const af__factor *f, const af__kernels *kernels, double *x) {
    size_t w = f->head, i, j;
    for (i = 0; i < w; i++) {
        x[i] /= f->r[i * w + i];
        for (j = i + 1; j < w; j++) x[j] -= f->r[i * w + j] * x[i];
    }
    for (i = w; i < f->n; i += AF__STRIP) kernels->factor_forward(f, i, x);
    for (i = f->n; i > w; i -= AF__STRIP) kernels->factor_back(f, i - AF__STRIP, x);
    for (i = w; i-- > 0;) {
        for (j = i + 1; j < w; j++) x[i] -= f->r[i * w + j] * x[j];
        x[i] /= f->r[i * w + i];
    }
}

/* af__cholesky_solve by the kernels given. */
static int af__cholesky_by(const af__kernels *kernels, int threads, size_t n, const double *a,
                           const double *d, double *work, const double *b, double *x) {
    af__factor_job job = AF__ZERO;
    job.f.r = work;
    job.f.n = n;
    job.f.head = n % AF__STRIP;
    job.kernels = kernels;
    job.a = a;
    job.diagonal = d;
    if (!af__factor_make(threads, &job)) return 0;
    if (x != b) memcpy(x, b, n * sizeof *x);
    af__factor_solve(&job.f, kernels, x);
    return 1;
}

/* Solves (A + diag(d)) x = b. A (n,n) is symmetric and row-major, only its lower triangle is read;
 * `work` (n,n) gets the factor, see af__factor. Returns 0, x as it was, when the matrix is not
 * positive definite or not finite. x may be b. */
static int af__cholesky_solve(int threads, size_t n, const double *a, const double *d,
                              double *work, const double *b, double *x) {
    return af__cholesky_by(af__find_kernels(AF_SET_BEST, AF_F64), threads, n, a, d, work, b, x);
}
