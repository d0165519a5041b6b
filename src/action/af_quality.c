/* ---- ActionFinder: judging its result -------------------------------------------------------- */

enum {
    AF__QUALITY_NEIGHBOURS = 64,
    AF__QUALITY_NEAREST = 4, /* for distances: one alone scatters, many look over the edge */
    AF__QUALITY_LEAST = 8,
    AF__QUALITY_MOST = 4096
};

/* Sorted values, to rank others among. */
typedef struct af__ranking {
    double *value;
    size_t count;
} af__ranking;

struct af_quality {
    const af_finder *finder;
    af__arena arena;
    af_evaluator *one;
    af_quality_desc desc; /* defaults resolved */
    double scale[3];      /* of the place */
    size_t count;         /* reference streams; of each: */
    double (*place)[3];   /* roots of its actions over scale */
    double *relative, *toy_spread;
    double usual;         /* distance from the nearest, in units of scale */
    af__ranking ratio, apart, stream_distance, star_distance;
    double *near_distance, *near_value; /* scratch (neighbours) */
    size_t *near_index;
};

/* Orbits solved star by star. */
typedef struct af__solved_sample {
    const af_orbits *orbits;
    size_t streams, stars;
    double *j, *toy;  /* (S,N,3) */
    unsigned *flags;  /* (S,N) */
    double *scratch;  /* (N) */
} af__solved_sample;

AF_API void af_quality_destroy(af_quality *q) {
    af_allocator allocator;
    if (!q) return;
    allocator = q->arena.allocator;
    af_evaluator_destroy(q->one);
    af__arena_free(&q->arena);
    allocator.release(q, sizeof *q, allocator.user);
}

AF_API size_t af_quality_held_back(const af_quality *q) { return q->ratio.count; }

/* ---- the area under the ROC curve ---- */

typedef struct af__scored {
    double score;
    int positive;
} af__scored;

static int af__scored_order(const void *a, const void *b) {
    double x = ((const af__scored *)a)->score, y = ((const af__scored *)b)->score;
    return x < y ? -1 : x > y;
}

/* Sum of the positives' ranks, from 1; equal scores share the mean of their ranks. */
static double af__positive_ranks(const af__scored *sorted, size_t n) {
    double sum = 0.0;
    size_t i, begin = 0, end;
    for (; begin < n; begin = end) {
        for (end = begin + 1; end < n && !(sorted[begin].score < sorted[end].score);) end++;
        for (i = begin; i < end; i++)
            if (sorted[i].positive) sum += 0.5 * (double)(begin + 1 + end);
    }
    return sum;
}

AF_API af_status af_roc_auc(af_context *c, size_t n, const double *score, const double *label,
                            double *auc) {
    af__arena arena = AF__ZERO;
    af__scored *all;
    size_t i, used = 0, positives = 0;
    *auc = NAN;
    arena.allocator = c->allocator;
    all = AF__ARRAY(&arena, af__scored, n);
    if (!all) return af__fail_memory(c, "an ROC curve");
    for (i = 0; i < n; i++) {
        if (score[i] != score[i] || label[i] != label[i]) continue;
        all[used].score = score[i];
        all[used].positive = label[i] > 0.0;
        positives += label[i] > 0.0 ? 1u : 0u;
        used++;
    }
    qsort(all, used, sizeof *all, af__scored_order);
    if (positives > 0 && positives < used) {
        double p = (double)positives, sum = af__positive_ranks(all, used);
        *auc = (sum - 0.5 * p * (p + 1.0)) / (p * (double)(used - positives));
    }
    af__arena_free(&arena);
    return AF_OK;
}

/* ---- stars, one by one ---- */

static af_status af__solve_sample(const af_quality *q, const af_orbits *o, af__arena *arena,
                                  af__solved_sample *out) {
    size_t n = o->streams * o->stars;
    out->orbits = o;
    out->streams = o->streams;
    out->stars = o->stars;
    out->j = AF__ARRAY(arena, double, 3 * n);
    out->toy = AF__ARRAY(arena, double, 3 * n);
    out->flags = AF__ARRAY(arena, unsigned, n);
    out->scratch = AF__ARRAY(arena, double, o->stars);
    if (!out->j || !out->toy || !out->flags || !out->scratch)
        return af__fail_memory(q->finder->context, "judging orbits");
    af_isochrone_actions_of(&q->one->toy, n, o->xv, out->toy, NULL, NULL, NULL);
    af_evaluate(q->one, n, o->xv, NULL, out->j, NULL, out->flags);
    return AF_OK;
}

/* The medians of the finite rows of j (n,3), and the mean distance from them in each component, the
 * three together. Returns the number of rows. */
static size_t af__middle(const double *j, size_t n, double *scratch, double middle[3],
                         double *spread) {
    size_t i, k, m = 0;
    *spread = 0.0;
    for (k = 0; k < 3; k++) {
        double sum = 0.0;
        for (i = m = 0; i < n; i++)
            if (af__is_finite(j[3 * i + k])) scratch[m++] = j[3 * i + k];
        middle[k] = m ? af__median(scratch, m) : NAN;
        for (i = 0; i < m; i++) sum += fabs(scratch[i] - middle[k]);
        *spread += sum * sum;
    }
    *spread = m > 1 ? sqrt(*spread) / (double)m : NAN;
    return m;
}

static double af__action_sum(const double j[3]) { return fabs(j[0]) + fabs(j[1]) + fabs(j[2]); }

/* All that needs no reference. */
static void af__judge_alone(const af__solved_sample *x, size_t s, af_stream_quality *out) {
    const unsigned *flags = x->flags + s * x->stars;
    size_t i, bound;
    memset(out, 0, sizeof *out);
    out->stars = x->orbits->count[s];
    for (i = 0; i < out->stars; i++) {
        if (flags[i] & AF_ORBIT_FAILED) out->unbound++;
        else if (flags[i] & AF_STAR_UNCONVERGED) out->unconverged++;
    }
    bound = af__middle(x->j + 3 * s * x->stars, out->stars, x->scratch, out->j, &out->spread);
    af__middle(x->toy + 3 * s * x->stars, out->stars, x->scratch, out->toy_j, &out->toy_spread);
    out->relative = bound > 1 ? out->spread / af__action_sum(out->j) : NAN;
    if (!af__is_finite(out->relative)) out->relative = NAN;
    out->typical = out->ratio = out->rank = out->toy_typical = NAN;
    out->distance = out->distance_rank = NAN;
}

/* ---- among neighbours ---- */

/* Roots, as in a Poincare pair: an action near 0 is as far from its neighbours as the orbit is. */
static void af__place_of(const af_quality *q, const double j[3], double place[3]) {
    size_t k;
    for (k = 0; k < 3; k++)
        place[k] = (j[k] < 0.0 ? -sqrt(-j[k]) : sqrt(j[k])) / q->scale[k];
}

static int af__same_place(const double a[3], const double b[3]) {
    return !(a[0] < b[0] || a[0] > b[0] || a[1] < b[1] || a[1] > b[1] || a[2] < b[2] ||
             a[2] > b[2]);
}

/* The `most` reference streams nearest to `at`, nearest first, without the one at `own` (the stream
 * itself). Returns how many. */
static size_t af__nearest(af_quality *q, const double at[3], const double own[3], size_t most) {
    size_t i, k, n = 0;
    for (i = 0; i < q->count; i++) {
        const double *p = q->place[i];
        double x = p[0] - at[0], y = p[1] - at[1], z = p[2] - at[2], d = x * x + y * y + z * z;
        if ((n == most && !(d < q->near_distance[n - 1])) || af__same_place(p, own)) continue;
        if (n < most) n++;
        for (k = n - 1; k > 0 && d < q->near_distance[k - 1]; k--) {
            q->near_distance[k] = q->near_distance[k - 1];
            q->near_index[k] = q->near_index[k - 1];
        }
        q->near_distance[k] = d;
        q->near_index[k] = i;
    }
    return n;
}

/* Mean distance from the nearest reference streams, not yet over the usual one. */
static double af__distance(af_quality *q, const double at[3], const double own[3]) {
    size_t k, n;
    double sum = 0.0;
    if (!af__is_finite(at[0] + at[1] + at[2])) return NAN;
    n = af__nearest(q, at, own, AF__QUALITY_NEAREST);
    for (k = 0; k < n; k++) sum += sqrt(q->near_distance[k]);
    return n ? sum / (double)n : NAN;
}

static double af__median_near(const af_quality *q, const double *value, size_t n) {
    size_t k, m = 0;
    for (k = 0; k < n; k++)
        if (af__is_finite(value[q->near_index[k]])) q->near_value[m++] = value[q->near_index[k]];
    return m ? af__median(q->near_value, m) : NAN;
}

static void af__judge_among(af_quality *q, af_stream_quality *s) {
    double place[3];
    size_t n;
    af__place_of(q, s->j, place);
    if (!af__is_finite(place[0] + place[1] + place[2])) return;
    n = af__nearest(q, place, place, q->desc.neighbours);
    s->typical = af__median_near(q, q->relative, n);
    s->toy_typical = af__median_near(q, q->toy_spread, n);
    s->ratio = s->typical > 0.0 ? s->relative / s->typical : NAN;
    s->distance = af__distance(q, place, place) / q->usual;
}

static void af__judge_star(af_quality *q, const af__solved_sample *x, size_t s, size_t i,
                           const af_stream_quality *stream, af_star_quality *out) {
    const double *j = x->j + 3 * (s * x->stars + i);
    double place[3], own[3], sum = 0.0;
    size_t k;
    memset(out, 0, sizeof *out);
    out->flags = x->flags[s * x->stars + i];
    for (k = 0; k < 3; k++) {
        out->j[k] = j[k];
        out->deviation[k] = j[k] - stream->j[k];
        sum += out->deviation[k] * out->deviation[k];
    }
    out->relative = sqrt(sum) / af__action_sum(stream->j);
    if (!af__is_finite(out->relative) || !af__is_finite(stream->relative)) out->relative = NAN;
    af__place_of(q, j, place);
    af__place_of(q, stream->j, own);
    out->distance = af__distance(q, place, own) / q->usual;
    out->rank = out->distance_rank = NAN;
}

/* A place of the stars' array without a star. */
static void af__blank_star(af_star_quality *out) {
    size_t k;
    memset(out, 0, sizeof *out);
    for (k = 0; k < 3; k++) out->j[k] = out->deviation[k] = NAN;
    out->relative = out->rank = out->distance = out->distance_rank = NAN;
}

/* ---- ranks ---- */

static void af__ranking_add(af__ranking *r, double value) {
    if (af__is_finite(value)) r->value[r->count++] = value;
}

static void af__ranking_sort(af__ranking *r) {
    qsort(r->value, r->count, sizeof *r->value, af__compare_doubles);
}

/* (1 + values at least as large) / (1 + values). */
static double af__rank(const af__ranking *r, double value) {
    size_t low = 0, high = r->count;
    if (value != value) return NAN;
    while (low < high) {
        size_t half = low + (high - low) / 2;
        if (r->value[half] < value) low = half + 1;
        else high = half;
    }
    return (double)(1 + r->count - low) / (double)(1 + r->count);
}

static void af__rank_stream(const af_quality *q, af_stream_quality *s) {
    s->rank = af__rank(&q->ratio, s->ratio);
    s->distance_rank = af__rank(&q->stream_distance, s->distance);
    if (s->rank <= q->desc.false_alarm) s->flags |= AF_STREAM_MISFIT;
    if (s->distance_rank <= q->desc.false_alarm) s->flags |= AF_STAR_OUTSIDE;
}

static void af__rank_star(const af_quality *q, const af_stream_quality *s, af_star_quality *star) {
    star->rank = s->typical > 0.0 ? af__rank(&q->apart, star->relative / s->typical) : NAN;
    star->distance_rank = af__rank(&q->star_distance, star->distance);
    if (star->rank <= q->desc.false_alarm) star->flags |= AF_STAR_APART;
    if (star->distance_rank <= q->desc.false_alarm) star->flags |= AF_STAR_OUTSIDE;
}

/* ---- judging ---- */

AF_API af_status af_quality_judge(af_quality *q, const af_orbits *orbits,
                                  af_stream_quality *streams, af_star_quality *stars) {
    af__arena scratch = AF__ZERO;
    af__solved_sample x;
    af_status status;
    size_t s, i;
    scratch.allocator = q->finder->context->allocator;
    status = af__solve_sample(q, orbits, &scratch, &x);
    for (s = 0; s < orbits->streams && status == AF_OK; s++) {
        af_stream_quality own, *stream = streams ? streams + s : &own;
        af__judge_alone(&x, s, stream);
        af__judge_among(q, stream);
        af__rank_stream(q, stream);
        for (i = 0; i < x.stars && stars; i++) {
            af_star_quality *star = stars + s * x.stars + i;
            if (i >= stream->stars) {
                af__blank_star(star);
                continue;
            }
            af__judge_star(q, &x, s, i, stream, star);
            af__rank_star(q, stream, star);
        }
    }
    af__arena_free(&scratch);
    return status;
}

/* ---- the reference ---- */

/* Median absolute deviations of the roots; where they vanish (an action that is the same for all)
 * the root of the median sum of actions, which is larger than any. */
static void af__find_scales(af_quality *q, const af_stream_quality *all, size_t n,
                            double *scratch) {
    double whole, middle, size;
    size_t i, k;
    for (i = 0; i < n; i++) scratch[i] = af__action_sum(all[i].j);
    whole = sqrt(af__median(scratch, n));
    for (k = 0; k < 3; k++) {
        q->scale[k] = 1.0;
        for (i = 0; i < n; i++) {
            double place[3];
            af__place_of(q, all[i].j, place);
            scratch[i] = place[k];
        }
        middle = af__median(scratch, n);
        for (i = 0; i < n; i++) scratch[i] = fabs(scratch[i] - middle);
        size = af__median(scratch, n);
        q->scale[k] = size > 1e-6 * whole ? size : whole; /* 1e-6: rounding */
    }
}

static af_status af__quality_memory(af_quality *q, size_t n, size_t stars) {
    size_t most = af__clamp(q->desc.neighbours, AF__QUALITY_NEAREST, SIZE_MAX);
    q->place = (double (*)[3])af__arena_alloc(&q->arena, n, sizeof *q->place);
    q->relative = AF__ARRAY(&q->arena, double, n);
    q->toy_spread = AF__ARRAY(&q->arena, double, n);
    q->ratio.value = AF__ARRAY(&q->arena, double, n);
    q->stream_distance.value = AF__ARRAY(&q->arena, double, n);
    q->apart.value = AF__ARRAY(&q->arena, double, n * stars);
    q->star_distance.value = AF__ARRAY(&q->arena, double, n * stars);
    q->near_distance = AF__ARRAY(&q->arena, double, most);
    q->near_value = AF__ARRAY(&q->arena, double, most);
    q->near_index = AF__ARRAY(&q->arena, size_t, most);
    if (!q->place || !q->relative || !q->toy_spread || !q->ratio.value || !q->apart.value ||
        !q->stream_distance.value || !q->star_distance.value || !q->near_distance ||
        !q->near_value || !q->near_index)
        return af__fail_memory(q->finder->context, "judging orbits");
    return AF_OK;
}

/* Ranks need what the reference streams have among themselves. */
static void af__calibrate(af_quality *q, const af__solved_sample *x, const size_t *index,
                          af_stream_quality *all) {
    size_t s, i;
    for (s = 0; s < q->count; s++) {
        int held_back = q->desc.trained == SIZE_MAX || index[s] >= q->desc.trained;
        af__judge_among(q, &all[s]);
        af__ranking_add(&q->stream_distance, all[s].distance);
        if (held_back) af__ranking_add(&q->ratio, all[s].ratio);
        for (i = 0; i < all[s].stars; i++) {
            af_star_quality star;
            af__judge_star(q, x, index[s], i, &all[s], &star);
            af__ranking_add(&q->star_distance, star.distance);
            if (held_back && all[s].typical > 0.0)
                af__ranking_add(&q->apart, star.relative / all[s].typical);
        }
    }
    q->usual = 1.0;
    af__ranking_sort(&q->ratio);
    af__ranking_sort(&q->apart);
    af__ranking_sort(&q->stream_distance);
    af__ranking_sort(&q->star_distance);
    if (q->stream_distance.count == 0) return;
    q->usual = af__quantile(q->stream_distance.value, q->stream_distance.count, 0.5);
    if (!(q->usual > 0.0)) q->usual = 1.0;
    for (i = 0; i < q->stream_distance.count; i++) q->stream_distance.value[i] /= q->usual;
    for (i = 0; i < q->star_distance.count; i++) q->star_distance.value[i] /= q->usual;
}

/* Reference streams with two stars or more, evenly taken, into all and index (where they stand in
 * the sample). Returns how many. */
static size_t af__pick_reference(const af_quality *q, const af__solved_sample *x,
                                 af_stream_quality *all, size_t *index) {
    size_t s, n = 0, good = 0, room = q->desc.most;
    af_stream_quality one;
    for (s = 0; s < x->streams; s++) {
        af__judge_alone(x, s, &one);
        if (!af__is_finite(one.relative)) continue;
        index[good++] = s;
    }
    for (s = 0; s < good; s++) {
        if (good > room && s * room / good == (s + 1) * room / good) continue;
        index[n] = index[s];
        af__judge_alone(x, index[n], &all[n]);
        n++;
    }
    return n;
}

static af_status af__quality_fill(af_quality *q, const af_orbits *o, af__arena *scratch) {
    af__solved_sample x;
    af_stream_quality *all = AF__ARRAY(scratch, af_stream_quality, o->streams);
    size_t *index = AF__ARRAY(scratch, size_t, o->streams), s;
    double *numbers = AF__ARRAY(scratch, double, o->streams);
    af_context *c = q->finder->context;
    if (!all || !index || !numbers) return af__fail_memory(c, "judging orbits");
    if (af__solve_sample(q, o, scratch, &x) != AF_OK) return c->status;
    q->count = af__pick_reference(q, &x, all, index);
    if (q->count < AF__QUALITY_LEAST)
        return af__fail(c, AF_ERROR_DATA,
                        "%lu streams to judge by have two bound stars, at least %d are needed",
                        (unsigned long)q->count, (int)AF__QUALITY_LEAST);
    q->desc.neighbours = af__clamp(q->desc.neighbours, 1, q->count / AF__QUALITY_LEAST);
    if (af__quality_memory(q, q->count, o->stars) != AF_OK) return c->status;
    af__find_scales(q, all, q->count, numbers);
    for (s = 0; s < q->count; s++) {
        af__place_of(q, all[s].j, q->place[s]);
        q->relative[s] = all[s].relative;
        q->toy_spread[s] = all[s].toy_spread;
    }
    q->usual = 1.0;
    af__calibrate(q, &x, index, all);
    return AF_OK;
}

static af_status af__quality_defaults(af_context *c, const af_orbits *o,
                                      const af_quality_desc *desc, af_quality_desc *d) {
    af_quality_desc zero = AF__ZERO;
    *d = desc ? *desc : zero;
    if (d->start_canary != 0 || d->end_canary != 0)
        return af__fail(c, AF_ERROR_ARGUMENT, "af_quality_desc was not zeroed before use");
    if (d->trained == 0) d->trained = o->streams - o->streams / 8;
    if (d->neighbours == 0) d->neighbours = AF__QUALITY_NEIGHBOURS;
    if (d->most == 0) d->most = AF__QUALITY_MOST;
    if (d->false_alarm == 0.0) d->false_alarm = 0.02;
    if (!(d->false_alarm > 0.0) || !(d->false_alarm < 1.0))
        return af__fail(c, AF_ERROR_ARGUMENT, "false_alarm is %g, it must be between 0 and 1",
                        d->false_alarm);
    return AF_OK;
}

AF_API af_status af_quality_create(const af_finder *f, const af_orbits *reference,
                                   const af_quality_desc *desc, af_quality **out) {
    af_context *c = f->context;
    af__arena scratch = AF__ZERO;
    af_quality_desc d;
    af_quality *q;
    af_status status;
    *out = NULL;
    if (af__quality_defaults(c, reference, desc, &d) != AF_OK) return c->status;
    q = (af_quality *)c->allocator.allocate(sizeof *q, c->allocator.user);
    if (!q) return af__fail_memory(c, "judging orbits");
    memset(q, 0, sizeof *q);
    q->finder = f;
    q->desc = d;
    q->arena.allocator = scratch.allocator = c->allocator;
    status = af_evaluator_create(f, 1, AF__EVALUATE_BLOCK, d.threads, &q->one);
    if (status == AF_OK) status = af__quality_fill(q, reference, &scratch);
    af__arena_free(&scratch);
    if (status != AF_OK) {
        af_quality_destroy(q);
        return status;
    }
    *out = q;
    return AF_OK;
}
