/* ---- the chain: the density of actions ----------------------------------------------------------
 *
 * A mixture of normal distributions of y = (ln J_r, ln L), which no draw leaves: actions stay above
 * zero. Each clump has
 *
 *     y1 = m1 + s1 z1,   y2 = m2 + k z1 + s2 z2,   z normal,   s = DP__CHAIN_WIDTH + exp(.)
 *
 * and a share exp(.)/sum. The numbers are learned by expectation and maximisation in plain C, and
 * by gradient as expressions; both see the same ones. */

enum { DP__CHAIN_SHARE, DP__CHAIN_M1, DP__CHAIN_M2, DP__CHAIN_S1, DP__CHAIN_S2, DP__CHAIN_K,
       DP__CHAIN_ROWS };
enum { DP__CHAIN_CLUMPS = 32 }; /* at most */

#define DP__CHAIN_WIDTH 0.02 /* no clump is narrower: fits to single stars */

/* The numbers (ROWS, clumps) as expressions (clumps). */
typedef struct dp__chain_clumps {
    size_t count;
    const dp__chain_flow *flow; /* of the one clump's z; NULL: none */
    af_expr ln_share, m1, m2, s1, s2, k;
} dp__chain_clumps;

static af_expr dp__chain_row(af_context *c, af_expr p, size_t row, size_t count) {
    return af_reshape(c, af_slice(c, p, 0, row, 1), 1, &count);
}

/* ln sum exp over the last axis, which stays with length 1. */
static af_expr dp__chain_ln_sum(af_context *c, af_expr x) {
    size_t dims[AF_RANK_MAX], rank = af_shape(c, x, dims), k;
    af_expr most, still = af_stop(c, x);
    if (rank == 0) return x;
    most = af_slice(c, still, -1, 0, 1);
    for (k = 1; k < dims[rank - 1]; k++) most = af_maximum(c, most, af_slice(c, still, -1, k, 1));
    return af_add(c, most, af_log(c, af_sum_axis(c, af_exp(c, af_sub(c, x, most)), -1)));
}

static dp__chain_clumps dp__chain_clumps_of(af_context *c, af_expr p, size_t count,
                                            const dp__chain_flow *flow) {
    dp__chain_clumps m;
    af_expr share = dp__chain_row(c, p, DP__CHAIN_SHARE, count);
    m.count = count;
    m.flow = flow && flow->layers ? flow : NULL;
    m.ln_share = af_sub(c, share, dp__chain_ln_sum(c, share));
    m.m1 = dp__chain_row(c, p, DP__CHAIN_M1, count);
    m.m2 = dp__chain_row(c, p, DP__CHAIN_M2, count);
    m.s1 = af_offset(c, af_exp(c, dp__chain_row(c, p, DP__CHAIN_S1, count)), DP__CHAIN_WIDTH);
    m.s2 = af_offset(c, af_exp(c, dp__chain_row(c, p, DP__CHAIN_S2, count)), DP__CHAIN_WIDTH);
    m.k = dp__chain_row(c, p, DP__CHAIN_K, count);
    return m;
}

/* ln p(J_r, ln L) (n,1) of y1, y2 (n,1). */
static af_expr dp__chain_density(af_context *c, const dp__chain_clumps *m, af_expr y1,
                                 af_expr y2) {
    af_expr z[2], p, slopes = m->ln_share;
    z[0] = af_div(c, af_sub(c, y1, m->m1), m->s1);
    z[1] = af_sub(c, af_sub(c, y2, m->m2), af_mul(c, m->k, z[0]));
    z[1] = af_div(c, z[1], m->s2);
    if (m->flow) {
        z[0] = af_transpose(c, z[0]);
        z[1] = af_transpose(c, z[1]);
        slopes = af_transpose(c, dp__chain_bend(c, m->flow, z));
        z[0] = af_transpose(c, z[0]);
        z[1] = af_transpose(c, z[1]);
    }
    p = af_add(c, af_square(c, z[0]), af_square(c, z[1]));
    p = af_sub(c, slopes, af_scale(c, p, 0.5));
    p = af_sub(c, p, af_log(c, af_mul(c, m->s1, m->s2)));
    p = af_offset(c, dp__chain_ln_sum(c, p), -log(2.0 * DP__PI));
    return af_sub(c, p, y1); /* d ln J_r = dJ_r/J_r */
}

/* Draws: y1, y2 (S,clumps), S of each clump, from unit normal z1, z2 (S,1). */
static void dp__chain_draw(af_context *c, const dp__chain_clumps *m, af_expr z1, af_expr z2,
                           af_expr *y1, af_expr *y2) {
    if (m->flow) {
        af_expr z[2];
        z[0] = af_transpose(c, z1);
        z[1] = af_transpose(c, z2);
        dp__chain_unbend(c, m->flow, z);
        z1 = af_transpose(c, z[0]);
        z2 = af_transpose(c, z[1]);
    }
    *y1 = af_add(c, m->m1, af_mul(c, m->s1, z1));
    *y2 = af_add(c, m->m2, af_add(c, af_mul(c, m->k, z1), af_mul(c, m->s2, z2)));
}

/* ---- expectation and maximisation ---- */

/* ln density of y (2) in ln J_r and ln L; part (count) gets the clumps' parts of it. */
static double dp__chain_parts(size_t count, const double *p, const double *y, double *part) {
    double most = -HUGE_VAL, sum = 0.0, all = 0.0;
    size_t k;
    for (k = 0; k < count; k++) {
        double s1 = DP__CHAIN_WIDTH + exp(p[DP__CHAIN_S1 * count + k]);
        double s2 = DP__CHAIN_WIDTH + exp(p[DP__CHAIN_S2 * count + k]);
        double z1 = (y[0] - p[DP__CHAIN_M1 * count + k]) / s1;
        double z2 = (y[1] - p[DP__CHAIN_M2 * count + k] - p[DP__CHAIN_K * count + k] * z1) / s2;
        part[k] = p[DP__CHAIN_SHARE * count + k] - log(s1 * s2) - 0.5 * (z1 * z1 + z2 * z2);
        all += exp(p[DP__CHAIN_SHARE * count + k]);
        most = fmax(most, part[k]);
    }
    for (k = 0; k < count; k++) sum += part[k] = exp(part[k] - most);
    for (k = 0; k < count; k++) part[k] /= sum;
    return most + log(sum / (all * 2.0 * DP__PI));
}

/* The numbers of clumps of weight sum[0], with first and second moments of y after it; one of next
 * to no stars stays as it is. */
static void dp__chain_maximise(size_t count, size_t k, const double sum[6], double *p) {
    double m1, m2, v11, v12, v22;
    p[DP__CHAIN_SHARE * count + k] = log(sum[0] + 1e-6);
    if (sum[0] < 1e-3) return;
    m1 = sum[1] / sum[0];
    m2 = sum[2] / sum[0];
    v11 = fmax(sum[3] / sum[0] - m1 * m1, 0.0);
    v12 = sum[4] / sum[0] - m1 * m2;
    v22 = fmax(sum[5] / sum[0] - m2 * m2, 0.0);
    v12 = v11 > 0.0 ? v12 / sqrt(v11) : 0.0; /* y2 goes with z1 by so much */
    p[DP__CHAIN_M1 * count + k] = m1;
    p[DP__CHAIN_M2 * count + k] = m2;
    p[DP__CHAIN_K * count + k] = v12;
    p[DP__CHAIN_S1 * count + k] = log(fmax(sqrt(v11) - DP__CHAIN_WIDTH, 1e-3));
    p[DP__CHAIN_S2 * count + k] =
        log(fmax(sqrt(fmax(v22 - v12 * v12, 0.0)) - DP__CHAIN_WIDTH, 1e-3));
}

/* One round for y (n,2) with weights (n) of sum one; returns the mean ln density before it. */
static double dp__chain_round(size_t n, const double *y, const double *weight, size_t count,
                              double *p) {
    double sum[DP__CHAIN_CLUMPS][6], part[DP__CHAIN_CLUMPS], mean = 0.0;
    size_t i, k;
    memset(sum, 0, sizeof sum);
    for (i = 0; i < n; i++) {
        const double *at = y + 2 * i;
        mean += weight[i] * dp__chain_parts(count, p, at, part);
        for (k = 0; k < count; k++) {
            double w = weight[i] * part[k], *to = sum[k];
            to[0] += w;
            to[1] += w * at[0];
            to[2] += w * at[1];
            to[3] += w * at[0] * at[0];
            to[4] += w * at[0] * at[1];
            to[5] += w * at[1] * at[1];
        }
    }
    for (k = 0; k < count; k++) dp__chain_maximise(count, k, sum[k], p);
    return mean;
}

/* ---- the first clumps: k-means, begun with distant stars (Arthur & Vassilvitskii 2007) ---- */

/* place (count,2) gets the means of rows y (n,2), `of` (n) which is nearest. */
static void dp__chain_means(size_t n, const double *y, size_t count, uint64_t seed, double *place,
                            double *distance, uint32_t *of) {
    size_t i, k, round;
    for (i = 0; i < n; i++) distance[i] = HUGE_VAL;
    for (k = 0; k < count; k++) {
        double sum = 0.0, at;
        for (i = 0; i < n && k > 0; i++) sum += distance[i];
        at = af_random_uniform(seed, 1, k) * sum;
        for (i = 0; i + 1 < n && k > 0; i++)
            if ((at -= distance[i]) < 0.0) break;
        if (k == 0) i = (size_t)(af_random_uniform(seed, 1, 0) * (double)n);
        place[2 * k] = y[2 * i];
        place[2 * k + 1] = y[2 * i + 1];
        for (i = 0; i < n; i++) {
            double a = y[2 * i] - place[2 * k], b = y[2 * i + 1] - place[2 * k + 1];
            distance[i] = fmin(distance[i], a * a + b * b);
        }
    }
    for (round = 0; round < 10; round++) { /* they need not converge: EM follows */
        double sum[DP__CHAIN_CLUMPS][3];
        memset(sum, 0, sizeof sum);
        for (i = 0; i < n; i++) {
            double best = HUGE_VAL;
            for (k = 0; k < count; k++) {
                double a = y[2 * i] - place[2 * k], b = y[2 * i + 1] - place[2 * k + 1];
                if (a * a + b * b < best) of[i] = (uint32_t)k;
                best = fmin(best, a * a + b * b);
            }
            sum[of[i]][0] += 1.0;
            sum[of[i]][1] += y[2 * i];
            sum[of[i]][2] += y[2 * i + 1];
        }
        for (k = 0; k < count; k++) {
            if (sum[k][0] > 0.0) place[2 * k] = sum[k][1] / sum[k][0];
            if (sum[k][0] > 0.0) place[2 * k + 1] = sum[k][2] / sum[k][0];
        }
    }
}

enum { DP__CHAIN_EM = 100 };

/* Clumps (ROWS,count) of y (n,2): k-means first, then rounds until they gain less than 1e-6. */
static af_status dp__chain_em(af_context *c, size_t n, const double *y, const double *weight,
                              size_t count, uint64_t seed, double *p) {
    dp__arena arena = dp__arena_open(c);
    double *distance = DP__ARRAY(&arena, double, n), place[2 * DP__CHAIN_CLUMPS];
    double last = -HUGE_VAL, now;
    uint32_t *of = DP__ARRAY(&arena, uint32_t, n);
    size_t i, k;
    if (!distance || !of) {
        dp__arena_free(&arena);
        return dp__fail_memory(c, "the density of actions of a chain");
    }
    dp__chain_means(n, y, count, seed, place, distance, of);
    for (k = 0; k < count; k++) {
        double sum[6] = {1e-9, 0.0, 0.0, 0.0, 0.0, 0.0};
        for (i = 0; i < n; i++) {
            double w = of[i] == k ? weight[i] : 0.0, a = y[2 * i], b = y[2 * i + 1];
            sum[0] += w;
            sum[1] += w * a;
            sum[2] += w * b;
            sum[3] += w * a * a;
            sum[4] += w * a * b;
            sum[5] += w * b * b;
        }
        dp__chain_maximise(count, k, sum, p);
    }
    for (i = 0; i < (size_t)DP__CHAIN_EM; i++) {
        now = dp__chain_round(n, y, weight, count, p);
        if (now - last < 1e-6) break;
        last = now;
    }
    dp__arena_free(&arena);
    return AF_OK;
}
