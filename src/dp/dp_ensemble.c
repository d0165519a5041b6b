/* ---- several distribution functions as one --------------------------------------------------- */

enum {
    DP__MIXTURE_BLOCK = 4096, /* points at a time: 64 members take 15 MB */
    DP__MEMBER = 7            /* of a member at a point: ln f, d ln f/dy (6) */
};

typedef struct dp__mixture {
    size_t count;
    dp_df *const *members;
    const double *scale; /* of the six coordinates: those of the first member */
    int known, robust;   /* known: ln f, not only up to constants */
    double *ln_f, *gradient; /* (count, block), (count, block, 6) of the members */
    double *point;       /* (count, DP__MEMBER) at the one point */
    double *weight, *sort, *distance; /* (count) */
} dp__mixture;

/* ---- one point ---- */

/* Weight 0 for members far from the others, 1 for the rest. */
static void dp__mixture_choose(dp__mixture *x) {
    size_t k, j, first = x->known ? 0 : 1;
    double limit;
    for (k = 0; k < x->count; k++) x->weight[k] = 1.0;
    if (!x->robust || x->count < 3) return;
    memset(x->distance, 0, x->count * sizeof *x->distance);
    for (j = first; j < (size_t)DP__MEMBER; j++) {
        double middle;
        for (k = 0; k < x->count; k++) x->sort[k] = x->point[k * DP__MEMBER + j];
        middle = dp__median(x->sort, x->count);
        for (k = 0; k < x->count; k++) {
            double away = x->point[k * DP__MEMBER + j] - middle;
            x->distance[k] += away * away;
        }
    }
    memcpy(x->sort, x->distance, x->count * sizeof *x->sort);
    limit = 25.0 * dp__median(x->sort, x->count); /* (5 distances)^2 */
    for (k = 0; k < x->count; k++) x->weight[k] = x->distance[k] > limit ? 0.0 : 1.0;
}

/* ln f of the mixture; the weights become f_i, with the mean 1 over members that count. */
static double dp__mixture_ln_f(dp__mixture *x) {
    double top = -HUGE_VAL, sum = 0.0, kept = 0.0;
    size_t k;
    if (!x->known) {
        for (k = 0; k < x->count; k++) sum += x->point[k * DP__MEMBER];
        return sum / (double)x->count;
    }
    for (k = 0; k < x->count; k++)
        if (x->weight[k] > 0.0) top = fmax(top, x->point[k * DP__MEMBER]);
    for (k = 0; k < x->count; k++) {
        kept += x->weight[k];
        x->weight[k] *= x->weight[k] > 0.0 ? exp(x->point[k * DP__MEMBER] - top) : 0.0;
        sum += x->weight[k];
    }
    return top + log(sum / kept);
}

/* The mean of d ln f/dy (6) with the weights. */
static void dp__mixture_mean(const dp__mixture *x, double mean[6]) {
    double sum = 0.0;
    size_t k, j;
    memset(mean, 0, 6 * sizeof *mean);
    for (k = 0; k < x->count; k++) {
        sum += x->weight[k];
        for (j = 0; j < 6; j++) mean[j] += x->weight[k] * x->point[k * DP__MEMBER + 1 + j];
    }
    for (j = 0; j < 6; j++) mean[j] /= sum;
}

/* kept (count): 1 for members that count. */
static double dp__mixture_spread(const dp__mixture *x, const double *kept, const double mean[6]) {
    double sum = 0.0, length = 0.0, n = 0.0;
    size_t k, j;
    for (j = 0; j < 6; j++) length += mean[j] * mean[j];
    for (k = 0; k < x->count; k++) {
        n += kept[k];
        for (j = 0; j < 6; j++) {
            double away = x->point[k * DP__MEMBER + 1 + j] - mean[j];
            sum += kept[k] * away * away;
        }
    }
    return sum > 0.0 ? sqrt(sum / n / length) : 0.0; /* infinite where the gradient is zero */
}

static void dp__mixture_point(dp__mixture *x, size_t i, double *ln_f, double *gradient,
                              double *spread) {
    double mean[6], value;
    size_t k, j;
    for (k = 0; k < x->count; k++) {
        double *to = x->point + k * DP__MEMBER;
        to[0] = x->ln_f[k * DP__MIXTURE_BLOCK + i];
        for (j = 0; j < 6; j++)
            to[1 + j] = x->gradient[6 * (k * DP__MIXTURE_BLOCK + i) + j] * x->scale[j];
    }
    dp__mixture_choose(x);
    memcpy(x->sort, x->weight, x->count * sizeof *x->sort);
    value = dp__mixture_ln_f(x);
    dp__mixture_mean(x, mean);
    if (ln_f) *ln_f = value;
    for (j = 0; j < 6 && gradient; j++) gradient[j] = mean[j] / x->scale[j];
    if (spread) *spread = dp__mixture_spread(x, x->sort, mean);
}

/* ---- all points ---- */

static af_status dp__mixture_open(dp__mixture *x, dp__arena *arena) {
    size_t k;
    dp_df *const *m = x->members;
    x->known = 1;
    x->scale = m[0]->scale;
    for (k = 0; k < x->count; k++) {
        if (m[k]->desc.conditional != m[0]->desc.conditional)
            return af_fail(m[0]->c, AF_ERROR_ARGUMENT,
                           "ensemble: member %lu is %s, the first is not: they cannot be averaged",
                           (unsigned long)k,
                           m[k]->desc.conditional ? "conditional, p(v|x)" : "f(x, v)");
        if ((m[k]->desc.kind == DP_DF_SCORE && !m[k]->normalised) || m[k]->desc.conditional)
            x->known = 0;
    }
    x->ln_f = DP__ARRAY(arena, double, x->count * DP__MIXTURE_BLOCK);
    x->gradient = DP__ARRAY(arena, double, 6 * x->count * DP__MIXTURE_BLOCK);
    x->point = DP__ARRAY(arena, double, x->count * DP__MEMBER);
    x->weight = DP__ARRAY(arena, double, x->count);
    x->sort = DP__ARRAY(arena, double, x->count);
    x->distance = DP__ARRAY(arena, double, x->count);
    if (!x->ln_f || !x->gradient || !x->point || !x->weight || !x->sort || !x->distance)
        return dp__fail_memory(m[0]->c, "the members of an ensemble");
    return AF_OK;
}

AF_API af_status dp_ensemble_evaluate(size_t count, dp_df *const *members, int robust, size_t n,
                                      const double *eta, double *ln_f, double *gradient,
                                      double *spread) {
    dp__mixture x = DP__ZERO;
    dp__arena arena;
    size_t at, i, k;
    af_status s;
    if (count == 0) return AF_ERROR_ARGUMENT;
    arena = dp__arena_open(members[0]->c);
    x.count = count;
    x.members = members;
    x.robust = robust;
    s = dp__mixture_open(&x, &arena);
    for (at = 0; at < n && s == AF_OK; at += DP__MIXTURE_BLOCK) {
        size_t block = n - at < (size_t)DP__MIXTURE_BLOCK ? n - at : (size_t)DP__MIXTURE_BLOCK;
        for (k = 0; k < count && s == AF_OK; k++)
            s = dp_df_evaluate(members[k], block, eta + 6 * at, x.ln_f + k * DP__MIXTURE_BLOCK,
                               x.gradient + 6 * k * DP__MIXTURE_BLOCK);
        for (i = 0; i < block && s == AF_OK; i++)
            dp__mixture_point(&x, i, ln_f ? ln_f + at + i : NULL,
                              gradient ? gradient + 6 * (at + i) : NULL,
                              spread ? spread + at + i : NULL);
    }
    dp__arena_free(&arena);
    return s;
}

/* ---- bootstrap ---- */

enum { DP__STREAM_BOOTSTRAP = 0x626f6f74 }; /* random numbers that no fit with this seed uses */

AF_API void dp_bootstrap_weights(uint64_t seed, size_t n, double *weights) {
    size_t i;
    for (i = 0; i < n; i++) { /* by the sum of probabilities e^-1/k! up to a uniform number */
        double u = af_random_uniform(seed, DP__STREAM_BOOTSTRAP, i), k = 0.0;
        double term = exp(-1.0), sum = term;
        while (u > sum && term > DBL_EPSILON * sum) {
            k += 1.0;
            term /= k;
            sum += term;
        }
        weights[i] = k;
    }
}
