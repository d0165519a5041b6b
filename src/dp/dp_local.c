/* ---- accelerations without a model -------------------------------------------------------------
 *
 * Rows of the least squares at a place, one for each velocity v, with u = u0 + Omega z x (x - xc)
 * and w = Omega z x (v - u0):
 *
 *     a . d ln f/dv [+ q . (v - u)] = w . d ln f/dv - (v - u) . d ln f/dx
 *
 * with q = grad ln n(x) for a conditional df. */

/* ---- the nearest stars: a tree that halves the stars along x, y, z in turn ---- */

enum { DP__LEAF = 8, DP__STAR = 4 }; /* stars that are not halved further; numbers of a star */

typedef struct dp__tree {
    size_t n;       /* stars with a weight */
    double scale[3]; /* standard deviations of x, y, z */
    double *stars;  /* (n, DP__STAR): x/scale, number of the star; the middle one divides a range */
} dp__tree;

static void dp__tree_sort(double *stars, size_t n, size_t axis) {
    while (n > (size_t)DP__LEAF) {
        size_t middle = n / 2;
        dp__select(stars, n, DP__STAR, axis, middle);
        axis = (axis + 1) % 3;
        dp__tree_sort(stars, middle, axis);
        stars += (middle + 1) * DP__STAR;
        n -= middle + 1;
    }
}

static void dp__tree_scale(dp__tree *t) {
    size_t i, k;
    for (k = 0; k < 3; k++) {
        double mean = 0.0, square = 0.0;
        for (i = 0; i < t->n; i++) mean += t->stars[i * DP__STAR + k] / (double)t->n;
        for (i = 0; i < t->n; i++) {
            double away = t->stars[i * DP__STAR + k] - mean;
            square += away * away / (double)t->n;
        }
        t->scale[k] = square > 0.0 ? sqrt(square) : 1.0; /* stars in a plane: any will do */
        for (i = 0; i < t->n; i++) t->stars[i * DP__STAR + k] /= t->scale[k];
    }
}

static af_status dp__tree_open(dp__tree *t, dp__arena *arena, af_context *c,
                               const dp_sample *sample) {
    const double *eta = dp_sample_eta(sample), *weights = dp_sample_weights(sample);
    size_t i, k, n = dp_sample_count(sample);
    t->n = 0;
    t->stars = DP__ARRAY(arena, double, n *DP__STAR);
    if (!t->stars) return dp__fail_memory(c, "the tree of nearest stars");
    for (i = 0; i < n; i++) {
        double *to = t->stars + t->n * DP__STAR;
        if (weights && !(weights[i] > 0.0)) continue;
        for (k = 0; k < 3; k++) to[k] = eta[6 * i + k];
        to[3] = (double)i;
        t->n++;
    }
    dp__tree_scale(t);
    dp__tree_sort(t->stars, t->n, 0);
    return AF_OK;
}

typedef struct dp__search {
    double at[3];        /* x/scale */
    size_t want, have;   /* stars, and candidates for them */
    double *candidates;  /* (2 want, 2): squared distance, number of the star */
    double bound;        /* none farther is among the nearest */
} dp__search;

/* Halves the candidates when there is no room: constant work a star on the average. */
static void dp__search_take(dp__search *s, const double *star) {
    double dx = star[0] - s->at[0], dy = star[1] - s->at[1], dz = star[2] - s->at[2];
    double square = dx * dx + dy * dy + dz * dz;
    if (!(square < s->bound)) return;
    s->candidates[2 * s->have] = square;
    s->candidates[2 * s->have + 1] = star[3];
    if (++s->have < 2 * s->want) return;
    dp__select(s->candidates, s->have, 2, 0, s->want - 1);
    s->have = s->want;
    s->bound = s->candidates[2 * (s->want - 1)];
}

static void dp__search_range(dp__search *s, const double *stars, size_t n, size_t axis) {
    size_t middle = n / 2, i, rest = n - middle - 1, next = (axis + 1) % 3;
    const double *star = stars + middle * DP__STAR;
    double away;
    if (n <= (size_t)DP__LEAF) {
        for (i = 0; i < n; i++) dp__search_take(s, stars + i * DP__STAR);
        return;
    }
    away = s->at[axis] - star[axis];
    if (away < 0.0) dp__search_range(s, stars, middle, next);
    else dp__search_range(s, star + DP__STAR, rest, next);
    dp__search_take(s, star);
    if (!(away * away < s->bound)) return;
    if (away < 0.0) dp__search_range(s, star + DP__STAR, rest, next);
    else dp__search_range(s, stars, middle, next);
}

/* The `want` stars nearest to x (3), want <= n, are first among the candidates (2 want, 2). */
static void dp__tree_nearest(const dp__tree *t, const double x[3], size_t want,
                             double *candidates) {
    dp__search s = DP__ZERO;
    size_t k;
    for (k = 0; k < 3; k++) s.at[k] = x[k] / t->scale[k];
    s.want = want;
    s.candidates = candidates;
    s.bound = HUGE_VAL;
    dp__search_range(&s, t->stars, t->n, 0);
    if (s.have > want) dp__select(candidates, s.have, 2, 0, want - 1);
}

/* ---- least squares at one place ---- */

enum {
    DP__UNKNOWNS = 6,       /* at most */
    DP__HUBER_ROUNDS = 100, /* each takes out a part of the change as large as that of the stars
                               within Huber's limit, more than half: 2^-100 is left */
    DP__LOCAL_ROWS = 65536  /* phase-space points at a time: some 15 MB */
};

/* The inverse (p,p) of a symmetric matrix (p,p), by Cholesky's decomposition with the diagonal
 * scaled to one; 0 where the columns depend on each other: the scaled pivot is the squared sine of
 * a column to those before it, and below 1e-10 less than half of the digits would be left. */
static int dp__inverse(size_t p, const double *m, double *inverse) {
    double l[DP__UNKNOWNS][DP__UNKNOWNS], scale[DP__UNKNOWNS], x[DP__UNKNOWNS];
    size_t i, j, k;
    for (i = 0; i < p; i++) {
        if (!(m[i * p + i] > 0.0)) return 0;
        scale[i] = 1.0 / sqrt(m[i * p + i]);
        for (j = 0; j <= i; j++) {
            double sum = m[i * p + j] * scale[i] * scale[j];
            for (k = 0; k < j; k++) sum -= l[i][k] * l[j][k];
            if (i == j && !(sum > 1e-10)) return 0;
            l[i][j] = i == j ? sqrt(sum) : sum / l[j][j];
        }
    }
    for (j = 0; j < p; j++) {
        for (i = 0; i < p; i++) {
            x[i] = i == j ? 1.0 : 0.0;
            for (k = 0; k < i; k++) x[i] -= l[i][k] * x[k];
            x[i] /= l[i][i];
        }
        for (i = p; i-- > 0;) {
            for (k = i + 1; k < p; k++) x[i] -= l[k][i] * x[k];
            x[i] /= l[i][i];
            inverse[i * p + j] = x[i] * scale[i] * scale[j];
        }
    }
    return 1;
}

/* One place: `n` rows of p unknowns. */
typedef struct dp__place {
    size_t n, p;
    const double *eta, *gradient; /* (n,6) */
    const double *weight;         /* (n) */
    double *design, *residual;    /* (n,p), (n) */
    double *sort;                 /* (n) */
    double limit;                 /* of the residuals that count in full; HUGE_VAL: all do */
    double answer[DP__UNKNOWNS];
} dp__place;

/* The rows, with the residual of the answer zero. */
static void dp__place_rows(dp__place *s, const dp_frame *f) {
    size_t i, k;
    for (i = 0; i < s->n; i++) {
        const double *x = s->eta + 6 * i, *v = x + 3, *gx = s->gradient + 6 * i, *gv = gx + 3;
        double seen[3], w[2];
        seen[0] = v[0] - f->u[0] + f->omega * (x[1] - f->centre[1]);
        seen[1] = v[1] - f->u[1] - f->omega * (x[0] - f->centre[0]);
        seen[2] = v[2] - f->u[2];
        w[0] = -f->omega * (v[1] - f->u[1]);
        w[1] = f->omega * (v[0] - f->u[0]);
        s->residual[i] = w[0] * gv[0] + w[1] * gv[1] - seen[0] * gx[0] - seen[1] * gx[1] -
                         seen[2] * gx[2];
        for (k = 0; k < 3; k++) s->design[i * s->p + k] = gv[k];
        for (k = 3; k < s->p; k++) s->design[i * s->p + k] = seen[k - 3];
    }
}

/* Huber's weight of a residual. */
static double dp__place_counts(const dp__place *s, double residual) {
    return fabs(residual) <= s->limit ? 1.0 : s->limit / fabs(residual);
}

/* matrix (p,p) = sum of c d d^T, vector (p), unless NULL, = sum of c r d over the rows d with
 * residuals r, with c from their weight and residual. */
static void dp__place_sum(const dp__place *s, double (*coefficient)(const dp__place *, size_t),
                          double *matrix, double *vector) {
    size_t i, j, k, p = s->p;
    memset(matrix, 0, p * p * sizeof *matrix);
    if (vector) memset(vector, 0, p * sizeof *vector);
    for (i = 0; i < s->n; i++) {
        const double *d = s->design + i * p;
        double c = coefficient(s, i);
        for (j = 0; j < p; j++) {
            for (k = 0; k < p; k++) matrix[j * p + k] += c * d[j] * d[k];
            if (vector) vector[j] += c * s->residual[i] * d[j];
        }
    }
}

static double dp__place_least(const dp__place *s, size_t i) {
    return s->weight[i] * dp__place_counts(s, s->residual[i]);
}

static double dp__place_within(const dp__place *s, size_t i) {
    return fabs(s->residual[i]) <= s->limit ? s->weight[i] : 0.0;
}

static double dp__place_scatter(const dp__place *s, size_t i) {
    double score = dp__place_least(s, i) * s->residual[i];
    return score * score;
}

/* One step from the answer to that of the least squares with the weights as the residuals now give
 * them; 0 where the matrix is singular. *change: the largest, relative to the answer. */
static int dp__place_step(dp__place *s, double *change) {
    double matrix[DP__UNKNOWNS * DP__UNKNOWNS], inverse[DP__UNKNOWNS * DP__UNKNOWNS];
    double vector[DP__UNKNOWNS], size = 0.0, largest = 0.0;
    size_t i, j, k, p = s->p;
    dp__place_sum(s, dp__place_least, matrix, vector);
    if (!dp__inverse(p, matrix, inverse)) return 0;
    for (j = 0; j < p; j++) {
        double step = 0.0;
        for (k = 0; k < p; k++) step += inverse[j * p + k] * vector[k];
        s->answer[j] += step;
        for (i = 0; i < s->n; i++) s->residual[i] -= step * s->design[i * p + j];
        if (j < 3) largest = fmax(largest, fabs(step));
        if (j < 3) size = fmax(size, fabs(s->answer[j]));
    }
    *change = largest > 0.0 ? largest / size : 0.0;
    return 1;
}

/* Huber (1964) with the limit 1.345 standard deviations, which loses 5 per cent where errors are
 * normal; 1.4826 median |r| is the standard deviation there. 0: no scatter, no limit. */
static int dp__place_limit(dp__place *s) {
    size_t i;
    for (i = 0; i < s->n; i++) s->sort[i] = fabs(s->residual[i]);
    s->limit = 1.345 * 1.4826 * dp__median(s->sort, s->n);
    if (s->limit > 0.0) return 1;
    s->limit = HUGE_VAL;
    return 0;
}

/* The second step of least squares takes out the rounding of the first, whose matrix has the square
 * of the rows' condition. */
static int dp__place_solve(dp__place *s, int robust) {
    double change;
    int round;
    s->limit = HUGE_VAL;
    if (!dp__place_step(s, &change) || !dp__place_step(s, &change)) return 0;
    for (round = 0; round < (int)DP__HUBER_ROUNDS && robust && dp__place_limit(s); round++) {
        if (!dp__place_step(s, &change)) return 0;
        if (change < 1e-12) break;
    }
    return 1;
}

/* Divides each residual by 1 - h, where h is how much of its own row the answer takes up: then it
 * is that of the answer without this row. The floor keeps a row that alone holds the answer
 * finite. */
static void dp__place_spare(dp__place *s, const double *inverse) {
    size_t i, j, k, p = s->p;
    for (i = 0; i < s->n; i++) {
        const double *d = s->design + i * p;
        double h = 0.0;
        for (j = 0; j < p; j++)
            for (k = 0; k < p; k++) h += d[j] * inverse[j * p + k] * d[k];
        s->residual[i] /= fmax(1.0 - h * dp__place_within(s, i), DBL_EPSILON);
    }
}

/* Standard errors of an M-estimator (Huber 1967; least squares: White 1980), with the jackknife's
 * residuals (MacKinnon & White 1985), as few stars with large gradients weigh most; changes the
 * residuals. 0 where the matrix is singular. */
static int dp__place_errors(dp__place *s, double error[3]) {
    double matrix[DP__UNKNOWNS * DP__UNKNOWNS], inverse[DP__UNKNOWNS * DP__UNKNOWNS];
    size_t j, k, l, p = s->p;
    dp__place_sum(s, dp__place_within, matrix, NULL);
    if (!dp__inverse(p, matrix, inverse)) return 0;
    dp__place_spare(s, inverse);
    dp__place_sum(s, dp__place_scatter, matrix, NULL);
    for (j = 0; j < 3; j++) {
        double sum = 0.0;
        for (k = 0; k < p; k++)
            for (l = 0; l < p; l++)
                sum += inverse[j * p + k] * matrix[k * p + l] * inverse[j * p + l];
        error[j] = sqrt(sum);
    }
    return 1;
}

static double dp__place_leftover(const dp__place *s) {
    double sum = 0.0, weight = 0.0;
    size_t i;
    for (i = 0; i < s->n; i++) {
        sum += s->weight[i] * s->residual[i] * s->residual[i];
        weight += s->weight[i];
    }
    return sqrt(sum / weight);
}

/* ---- many places ---- */

typedef struct dp__local {
    dp_local_desc desc;
    size_t velocities, unknowns, block; /* block: places at a time */
    const dp_sample *sample;
    dp__tree tree;
    const double *x;       /* (m,3), and what is asked for, from the first place of the block on */
    double *a, *error, *leftover;
    double *candidates;    /* (block, velocities, 4) */
    double *eta, *gradient, *weight; /* (block, velocities, 6), ... (block, velocities) */
    double *design, *residual, *sort;
    int *singular;         /* (block) */
} dp__local;

/* The points of phase space of one place. */
static void dp__local_find(size_t place, void *user) {
    dp__local *l = (dp__local *)user;
    const double *eta = dp_sample_eta(l->sample), *weights = dp_sample_weights(l->sample);
    double *found = l->candidates + 4 * place * l->velocities;
    size_t i, first = place * l->velocities;
    dp__tree_nearest(&l->tree, l->x + 3 * place, l->velocities, found);
    for (i = 0; i < l->velocities; i++) {
        size_t star = (size_t)found[2 * i + 1];
        memcpy(l->eta + 6 * (first + i), l->x + 3 * place, 3 * sizeof *eta);
        memcpy(l->eta + 6 * (first + i) + 3, eta + 6 * star + 3, 3 * sizeof *eta);
        l->weight[first + i] = weights ? weights[star] : 1.0;
    }
}

static void dp__local_solve(size_t place, void *user) {
    dp__local *l = (dp__local *)user;
    dp__place s = DP__ZERO;
    size_t first = place * l->velocities;
    double error[3], leftover;
    s.n = l->velocities;
    s.p = l->unknowns;
    s.eta = l->eta + 6 * first;
    s.gradient = l->gradient + 6 * first;
    s.weight = l->weight + first;
    s.design = l->design + first * l->unknowns;
    s.residual = l->residual + first;
    s.sort = l->sort + first;
    dp__place_rows(&s, &l->desc.frame);
    l->singular[place] = !dp__place_solve(&s, l->desc.robust);
    leftover = dp__place_leftover(&s);
    if (!l->singular[place]) l->singular[place] = !dp__place_errors(&s, error);
    if (l->singular[place]) return;
    memcpy(l->a + 3 * place, s.answer, 3 * sizeof *s.answer);
    if (l->error) memcpy(l->error + 3 * place, error, sizeof error);
    if (l->leftover) l->leftover[place] = leftover;
}

static af_status dp__local_check(const dp_df *df, const dp_local_desc *d, size_t m,
                                 const double *x) {
    const dp_frame *f = &d->frame;
    size_t i;
    if (d->start_canary != 0 || d->end_canary != 0)
        return af_fail(df->c, AF_ERROR_ARGUMENT,
                       "local accelerations: dp_local_desc was not initialised to zero");
    if (!dp__is_finite(f->omega + f->centre[0] + f->centre[1] + f->u[0] + f->u[1] + f->u[2]))
        return af_fail(df->c, AF_ERROR_ARGUMENT, "local accelerations: the frame is not finite");
    for (i = 0; i < m; i++)
        if (!dp__is_finite(x[3 * i] + x[3 * i + 1] + x[3 * i + 2]))
            return af_fail(df->c, AF_ERROR_DATA, "local accelerations: place %lu is not finite",
                           (unsigned long)i);
    return AF_OK;
}

static af_status dp__local_open(dp__local *l, dp_df *df, dp__arena *arena, size_t m) {
    size_t rows;
    af_status s = dp__tree_open(&l->tree, arena, df->c, l->sample);
    if (s != AF_OK) return s;
    l->velocities = l->desc.velocities ? l->desc.velocities : 256;
    if (l->velocities > l->tree.n) l->velocities = l->tree.n;
    l->unknowns = df->desc.conditional ? 6 : 3;
    if (l->velocities <= l->unknowns)
        return af_fail(df->c, AF_ERROR_DATA,
                       "local accelerations: %lu velocities at a place are too few for %lu "
                       "unknowns and their errors; %lu stars have a weight",
                       (unsigned long)l->velocities, (unsigned long)l->unknowns,
                       (unsigned long)l->tree.n);
    l->block = DP__LOCAL_ROWS / l->velocities;
    if (l->block > m) l->block = m;
    if (l->block == 0) l->block = 1;
    rows = l->block * l->velocities;
    l->candidates = DP__ARRAY(arena, double, 4 * rows);
    l->eta = DP__ARRAY(arena, double, 6 * rows);
    l->gradient = DP__ARRAY(arena, double, 6 * rows);
    l->weight = DP__ARRAY(arena, double, rows);
    l->design = DP__ARRAY(arena, double, l->unknowns * rows);
    l->residual = DP__ARRAY(arena, double, rows);
    l->sort = DP__ARRAY(arena, double, rows);
    l->singular = DP__ARRAY(arena, int, l->block);
    if (!l->candidates || !l->eta || !l->gradient || !l->weight || !l->design || !l->residual ||
        !l->sort || !l->singular)
        return dp__fail_memory(df->c, "the velocities of local accelerations");
    return AF_OK;
}

/* The block's places, of which the first is number `first`. */
static af_status dp__local_block(dp__local *l, dp_df *df, size_t first, size_t places) {
    const char *excuse =
        l->unknowns == 6 ? ", or p(v|x) is a Gaussian, which leaves grad ln n(x) open" : "";
    af_status s;
    size_t i;
    af_parallel(df->c, places, dp__local_find, l);
    s = dp_df_evaluate(df, places * l->velocities, l->eta, NULL, l->gradient);
    if (s != AF_OK) return s;
    af_parallel(df->c, places, dp__local_solve, l);
    for (i = 0; i < places; i++)
        if (l->singular[i])
            return af_fail(df->c, AF_ERROR_DATA,
                           "local accelerations: at place %lu, (%g, %g, %g), the gradients at %lu "
                           "velocities do not span space%s; take more velocities, or stars that "
                           "move in all directions",
                           (unsigned long)(first + i), l->x[3 * i], l->x[3 * i + 1],
                           l->x[3 * i + 2], (unsigned long)l->velocities, excuse);
    return AF_OK;
}

AF_API af_status dp_local_accelerations(dp_df *df, const dp_sample *sample,
                                        const dp_local_desc *desc, size_t m, const double *x,
                                        double *a, double *error, double *leftover) {
    dp__local l = DP__ZERO;
    dp__arena arena = dp__arena_open(df->c);
    af_status s;
    size_t first;
    if (desc) l.desc = *desc;
    l.sample = sample;
    s = dp__local_check(df, &l.desc, m, x);
    if (s == AF_OK && m > 0) s = dp__local_open(&l, df, &arena, m);
    for (first = 0; first < m && s == AF_OK; first += l.block) {
        l.x = x + 3 * first;
        l.a = a + 3 * first;
        l.error = error ? error + 3 * first : NULL;
        l.leftover = leftover ? leftover + first : NULL;
        s = dp__local_block(&l, df, first, m - first < l.block ? m - first : l.block);
    }
    dp__arena_free(&arena);
    return s;
}
