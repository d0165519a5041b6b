/* ---- the search by a policy: samples, rewards, training, front ------------------------------- */

enum {
    DP__POLICY_ROWS = 32,    /* formulas that a thread writes side by side */
    DP__POLICY_SHARE = 128,  /* formulas of a batch that one chunk of work writes in all */
    DP__POLICY_PIECE = 16,   /* sequences of the training that stay in a core's caches */
    DP__POLICY_BLOCK = 256,  /* fits between two looks at the clock */
    DP__POLICY_TABLE = 4096  /* rewards remembered at first; a power of two */
};

typedef struct dp__policy_sample {
    dp_formula formula;
    uint64_t hash;
    double log_p, reward; /* log-probability as written; reward */
} dp__policy_sample;

/* What a chunk of sampling needs. h, state: read from [0], written to [1], or the other way. */
typedef struct dp__policy_lane {
    af_workspace *work;
    dp__policy_walk walk[DP__POLICY_ROWS];
    size_t sample[DP__POLICY_ROWS]; /* number in the batch, or batch: none */
    float *x, *mask, *log_p, *h[2], *state[2];
} dp__policy_lane;

/* A formula not seen before. */
typedef struct dp__policy_fit {
    size_t sample;
    double *constants, error; /* HUGE_VAL: not finite */
} dp__policy_fit;

typedef struct dp__policy_seen {
    uint64_t hash; /* 0: free */
    double reward;
} dp__policy_seen;

typedef struct dp__policy_rank {
    double reward;
    size_t sample;
} dp__policy_rank;

typedef struct dp__policy {
    dp_policy_result result; /* first: it is what the caller has */
    dp__arena arena, work, table; /* of the result; of the search; of the rewards seen */
    af_context *c;
    dp_policy_desc desc;
    const dp_vocabulary *v;
    const dp_data_set *sets;
    size_t set_count, points, constant_count;
    dp__policy_grammar grammar;
    dp__lstm net;
    af_func *step;
    af_trainer *trainer;
    float *params;             /* of the network in f32 */
    size_t lanes, keep, padded; /* chunks; formulas learnt from; that in whole pieces */
    dp__policy_lane *lane;
    dp__called called[DP__LANES];
    dp__policy_sample *sample; /* (batch) */
    dp__policy_rank *rank;     /* (batch) */
    dp__policy_fit *fit;       /* (batch) */
    dp_fitter *fitter[DP__LANES];
    size_t fit_first, fit_count;
    dp__policy_seen *seen;     /* open addressing */
    size_t seen_room, seen_count;
    double *x, *mask, *choice, *entropy; /* of the training: (padded, longest, ...) */
    float *row;                /* an observation, then a mask */
    double *values;            /* of all points, for the filter */
    dp_symbolic_entry kept[DP_FORMULA_MAX + 1], front[DP_FORMULA_MAX + 1]; /* best of a length */
    double *constants[DP_FORMULA_MAX + 1]; /* of what is kept */
    int over;
    double began;
} dp__policy;

/* ---- writing formulas ---- */

/* The choice that the uniform number u falls on; log_p (choices). */
static size_t dp__policy_draw(const float *log_p, const float *mask, size_t choices, double u) {
    double sum = 0.0;
    size_t k, last = 0;
    for (k = 0; k < choices; k++) {
        if (mask[k] <= DP__POLICY_NEVER) continue;
        last = k;
        sum += exp((double)log_p[k]);
        if (u < sum) break;
    }
    return last;
}

/* Rows that are free get the lane's next formulas; observations and masks of the others. */
static size_t dp__policy_prepare(const dp__policy *p, dp__policy_lane *l, size_t now,
                                 size_t *next) {
    const dp__policy_grammar *g = &p->grammar;
    size_t width = p->net.width, features = p->net.features, busy = 0, r;
    for (r = 0; r < (size_t)DP__POLICY_ROWS; r++) {
        if (l->sample[r] == p->desc.batch && *next < p->desc.batch) {
            l->sample[r] = *next;
            *next += p->lanes;
            dp__policy_begin(g, &l->walk[r]);
            memset(l->h[now] + r * width, 0, width * sizeof(float));
            memset(l->state[now] + r * width, 0, width * sizeof(float));
        }
        if (l->sample[r] == p->desc.batch) continue;
        dp__policy_observe(g, &l->walk[r], l->x + r * features);
        dp__policy_mask(g, &l->walk[r], l->mask + r * g->choices);
        busy++;
    }
    return busy;
}

/* Draws the next token of a row. */
static void dp__policy_advance(dp__policy *p, dp__policy_lane *l, size_t r) {
    const dp__policy_grammar *g = &p->grammar;
    dp__policy_walk *w = &l->walk[r];
    dp__policy_sample *s = &p->sample[l->sample[r]];
    const float *log_p = l->log_p + r * g->choices;
    double u = af_random_uniform(p->desc.seed, p->result.samples + l->sample[r] + 1,
                                 w->formula.length);
    size_t k = dp__policy_draw(log_p, l->mask + r * g->choices, g->choices, u);
    if (w->formula.length == 0) s->log_p = 0.0;
    s->log_p += (double)log_p[k];
    dp__policy_take(g, w, g->token[k]);
    if (w->dangling) return;
    s->formula = w->formula;
    l->sample[r] = p->desc.batch;
}

static void dp__policy_write_lane(size_t lane, void *user) {
    dp__policy *p = (dp__policy *)user;
    dp__policy_lane *l = &p->lane[lane];
    size_t next = lane, now = 0, r;
    for (r = 0; r < (size_t)DP__POLICY_ROWS; r++) l->sample[r] = p->desc.batch;
    while (dp__policy_prepare(p, l, now, &next)) {
        const void *in[5];
        void *out[3];
        in[0] = p->params;
        in[1] = l->x;
        in[2] = l->h[now];
        in[3] = l->state[now];
        in[4] = l->mask;
        out[0] = l->h[1 - now];
        out[1] = l->state[1 - now];
        out[2] = l->log_p;
        dp__call(&p->called[lane], p->step, l->work, in, out);
        if (p->called[lane].status != AF_OK) return;
        for (r = 0; r < (size_t)DP__POLICY_ROWS; r++)
            if (l->sample[r] < p->desc.batch) dp__policy_advance(p, l, r);
        now = 1 - now;
    }
}

/* A batch of formulas. */
static af_status dp__policy_write(dp__policy *p) {
    const double *params = af_params_data(p->net.params);
    size_t k;
    af_status s;
    for (k = 0; k < af_params_size(p->net.params); k++) p->params[k] = (float)params[k];
    af_parallel(p->c, p->lanes, dp__policy_write_lane, p);
    s = dp__call_check(p->c, p->called, p->lanes, "the policy");
    if (s != AF_OK) return s;
    p->result.samples += p->desc.batch;
    return AF_OK;
}

/* ---- rewards ---- */

/* FNV-1a over the tokens, never 0. Of 10^7 formulas two have the same with probability 3e-6. */
static uint64_t dp__policy_hash(const dp_formula *f) {
    uint64_t hash = 14695981039346656037u;
    size_t i;
    for (i = 0; i < f->length; i++) hash = (hash ^ f->token[i]) * 1099511628211u;
    hash ^= hash >> 32;
    return hash ? hash : 1;
}

static dp__policy_seen *dp__policy_slot(dp__policy_seen *seen, size_t room, uint64_t hash) {
    size_t k = (size_t)(hash & (room - 1));
    while (seen[k].hash && seen[k].hash != hash) k = (k + 1) & (room - 1);
    return &seen[k];
}

/* Room for a batch more, at most half full. */
static af_status dp__policy_room(dp__policy *p) {
    dp__arena arena = dp__arena_open(p->c);
    dp__policy_seen *grown;
    size_t room = p->seen_room ? p->seen_room : (size_t)DP__POLICY_TABLE, k;
    while (room < 2 * (p->seen_count + p->desc.batch)) room *= 2;
    if (room == p->seen_room) return AF_OK;
    grown = DP__ARRAY(&arena, dp__policy_seen, room);
    if (!grown) return AF_ERROR_MEMORY;
    for (k = 0; k < p->seen_room; k++)
        if (p->seen[k].hash) *dp__policy_slot(grown, room, p->seen[k].hash) = p->seen[k];
    dp__arena_free(&p->table);
    p->table = arena;
    p->seen = grown;
    p->seen_room = room;
    return AF_OK;
}

/* Lists the formulas that are new. */
static void dp__policy_sort_out(dp__policy *p) {
    size_t i;
    p->fit_count = 0;
    for (i = 0; i < p->desc.batch; i++) {
        dp__policy_sample *s = &p->sample[i];
        dp__policy_seen *seen;
        s->hash = dp__policy_hash(&s->formula);
        seen = dp__policy_slot(p->seen, p->seen_room, s->hash);
        if (seen->hash) continue;
        seen->hash = s->hash;
        seen->reward = 0.0;
        p->seen_count++;
        p->fit[p->fit_count++].sample = i;
    }
}

static void dp__policy_fit_lane(size_t lane, void *user) {
    dp__policy *p = (dp__policy *)user;
    size_t k, last = p->fit_first + DP__POLICY_BLOCK;
    if (last > p->fit_count) last = p->fit_count;
    for (k = p->fit_first + lane; k < last; k += DP__LANES) {
        dp__policy_fit *f = &p->fit[k];
        dp_fit_report report = DP__ZERO;
        af_status s = dp_fitter_run(p->fitter[lane], &p->sample[f->sample].formula, f->constants,
                                    &report);
        f->error = s == AF_OK && dp__is_finite(report.nrmse) ? report.nrmse : HUGE_VAL;
    }
}

/* The formula's values at the points of all sets, one set after the other. */
static void dp__policy_values(const dp__policy *p, const dp_formula *f, const double *constants) {
    double of_set[DP_SYMBOLS_MAX];
    size_t all = dp_vocabulary_count(p->v, DP_FREE), own = dp_vocabulary_count(p->v, DP_SPECIFIC);
    size_t d, first = 0;
    memcpy(of_set, constants, all * sizeof *of_set);
    for (d = 0; d < p->set_count; d++) {
        memcpy(of_set + all, constants + all + d * own, own * sizeof *of_set);
        dp_formula_evaluate(p->v, f, p->sets[d].n, p->sets[d].columns, of_set, p->values + first);
        first += p->sets[d].n;
    }
}

/* The error with the filter's penalty; HUGE_VAL: it is left out. */
static double dp__policy_filtered(dp__policy *p, const dp_formula *f, const dp__policy_fit *fit) {
    dp_symbolic_candidate candidate;
    double penalty;
    if (!p->desc.filter || fit->error == HUGE_VAL) return fit->error;
    dp__policy_values(p, f, fit->constants);
    candidate.vocabulary = p->v;
    candidate.formula = f;
    candidate.constants = fit->constants;
    candidate.values = p->values;
    candidate.error = fit->error;
    penalty = p->desc.filter(&candidate, p->desc.user);
    return penalty >= 0.0 ? fit->error * penalty : HUGE_VAL;
}

/* Reward and front from one fit. */
static void dp__policy_judge(dp__policy *p, const dp__policy_fit *fit) {
    const dp__policy_sample *s = &p->sample[fit->sample];
    dp_symbolic_entry *kept = &p->kept[s->formula.length];
    double error = dp__policy_filtered(p, &s->formula, fit);
    p->result.fits++;
    if (!(error < HUGE_VAL)) return;
    dp__policy_slot(p->seen, p->seen_room, s->hash)->reward = 1.0 / (1.0 + error);
    p->result.reward = fmax(p->result.reward, 1.0 / (1.0 + error));
    if (!(error < kept->error)) return;
    kept->formula = s->formula;
    kept->error = error;
    memcpy(p->constants[s->formula.length], fit->constants, p->constant_count * sizeof(double));
    if (!p->over && error <= p->desc.error) {
        p->result.end = DP_POLICY_ERROR;
        p->over = 1;
    }
}

static void dp__policy_time(dp__policy *p) {
    if (!p->desc.clock) return;
    p->result.seconds = p->desc.clock(p->desc.user) - p->began;
    if (p->over || !(p->desc.seconds > 0.0 && p->result.seconds >= p->desc.seconds)) return;
    p->result.end = DP_POLICY_TIME;
    p->over = 1;
}

/* Rewards of the batch; formulas that the time does not suffice for have none. */
static af_status dp__policy_reward(dp__policy *p) {
    double sum = 0.0;
    size_t i;
    af_status s = dp__policy_room(p);
    if (s != AF_OK) return dp__fail_memory(p->c, "the rewards of the policy's formulas");
    dp__policy_sort_out(p);
    for (p->fit_first = 0; p->fit_first < p->fit_count && !p->over;
         p->fit_first += DP__POLICY_BLOCK) {
        af_parallel(p->c, DP__LANES, dp__policy_fit_lane, p);
        for (i = p->fit_first; i < p->fit_count && i < p->fit_first + DP__POLICY_BLOCK; i++)
            dp__policy_judge(p, &p->fit[i]);
        dp__policy_time(p);
    }
    for (i = 0; i < p->desc.batch; i++) {
        dp__policy_sample *one = &p->sample[i];
        one->reward = dp__policy_slot(p->seen, p->seen_room, one->hash)->reward;
        sum += one->reward;
    }
    p->result.mean = sum / (double)p->desc.batch;
    return AF_OK;
}

/* ---- training ---- */

static int dp__policy_compare(const void *a, const void *b) {
    const dp__policy_rank *x = (const dp__policy_rank *)a, *y = (const dp__policy_rank *)b;
    if (x->reward != y->reward) return x->reward > y->reward ? -1 : 1;
    return x->sample < y->sample ? -1 : 1;
}

/* A formula of the training once more, token by token, into sequence `row`. */
static void dp__policy_replay(dp__policy *p, size_t row, const dp_formula *f, double advantage,
                              double entropy) {
    const dp__policy_grammar *g = &p->grammar;
    dp__policy_walk *w = &p->lane[0].walk[0];
    size_t features = p->net.features, n = g->choices, t, k;
    dp__policy_begin(g, w);
    for (t = 0; t < f->length; t++) {
        size_t at = row * g->longest + t;
        dp__policy_observe(g, w, p->row);
        dp__policy_mask(g, w, p->row + features);
        for (k = 0; k < features; k++) p->x[at * features + k] = (double)p->row[k];
        for (k = 0; k < n; k++) p->mask[at * n + k] = (double)p->row[features + k];
        p->choice[at * n + g->choice[f->token[t]]] = advantage;
        p->entropy[at] = entropy;
        entropy *= p->desc.decay;
        dp__policy_take(g, w, f->token[t]);
    }
}

/* One step on the best of the batch, the lowest reward of which is the baseline. */
static af_status dp__policy_learn(dp__policy *p) {
    size_t all = p->padded * p->grammar.longest, i;
    /* the loss is a mean over padded sequences, of which the kept ones are a part */
    double scale = (double)p->padded / (double)p->keep, loss, baseline;
    const void *in[4];
    af_status s;
    for (i = 0; i < p->desc.batch; i++) {
        p->rank[i].reward = p->sample[i].reward;
        p->rank[i].sample = i;
    }
    qsort(p->rank, p->desc.batch, sizeof *p->rank, dp__policy_compare);
    baseline = p->rank[p->keep - 1].reward;
    memset(p->x, 0, all * p->net.features * sizeof *p->x);
    memset(p->mask, 0, all * p->grammar.choices * sizeof *p->mask);
    memset(p->choice, 0, all * p->grammar.choices * sizeof *p->choice);
    memset(p->entropy, 0, all * sizeof *p->entropy);
    for (i = 0; i < p->keep; i++) {
        const dp__policy_sample *kept = &p->sample[p->rank[i].sample];
        dp__policy_replay(p, i, &kept->formula, scale * (kept->reward - baseline),
                          scale * p->desc.entropy);
    }
    in[0] = p->x;
    in[1] = p->mask;
    in[2] = p->choice;
    in[3] = p->entropy;
    s = af_trainer_step(p->trainer, in, 0.0, &loss);
    if (s != AF_OK)
        return af_fail(p->c, s, "the policy's training failed in epoch %lu: lower desc.rate",
                       (unsigned long)p->result.epochs + 1);
    return AF_OK;
}

/* ---- epochs ---- */

static af_status dp__policy_run(dp__policy *p) {
    af_status s = AF_OK;
    while (s == AF_OK && !p->over && p->result.epochs < p->desc.epochs) {
        s = dp__policy_write(p);
        if (s == AF_OK) s = dp__policy_reward(p);
        if (s == AF_OK && !p->over) s = dp__policy_learn(p);
        if (s != AF_OK) break;
        p->result.epochs++;
        dp__policy_time(p);
        p->result.count = dp__front(p->kept, (double)p->points, p->grammar.v, p->desc.error,
                                    p->front, &p->result.best);
        if (p->desc.progress && p->desc.progress(&p->result, p->desc.user) && !p->over) {
            p->result.end = DP_POLICY_STOPPED;
            p->over = 1;
        }
    }
    return s;
}

/* ---- the interface ---- */

static af_status dp__policy_sizes(af_context *c, const dp_policy_desc *d) {
    if (d->width > 1024)
        return af_fail(c, AF_ERROR_ARGUMENT, "policy: width is %lu; at most 1024",
                       (unsigned long)d->width);
    if (d->batch > (size_t)10000000)
        return af_fail(c, AF_ERROR_ARGUMENT, "policy: batch is %lu; at most ten million",
                       (unsigned long)d->batch);
    if (d->max_tokens > (size_t)DP_FORMULA_MAX)
        return af_fail(c, AF_ERROR_ARGUMENT, "policy: max_tokens is %lu; at most %d",
                       (unsigned long)d->max_tokens, (int)DP_FORMULA_MAX);
    if (d->min_tokens > d->max_tokens)
        return af_fail(c, AF_ERROR_ARGUMENT, "policy: min_tokens is %lu, above max_tokens, %lu",
                       (unsigned long)d->min_tokens, (unsigned long)d->max_tokens);
    if (!(d->risk > 0.0 && d->risk <= 1.0))
        return af_fail(c, AF_ERROR_ARGUMENT,
                       "policy: risk is %g; it is a fraction of the batch, in (0,1]", d->risk);
    if (!(d->decay > 0.0 && d->decay <= 1.0 && d->rate > 0.0 && dp__is_finite(d->rate)))
        return af_fail(c, AF_ERROR_ARGUMENT,
                       "policy: decay is %g and rate %g; decay must be in (0,1], rate positive",
                       d->decay, d->rate);
    if (!dp__is_finite(d->length + d->spread + d->entropy + d->error))
        return af_fail(c, AF_ERROR_ARGUMENT,
                       "policy: length, spread, entropy and error must be finite");
    if (d->seconds != 0.0 && (!d->clock || !(d->seconds > 0.0)))
        return af_fail(c, AF_ERROR_ARGUMENT,
                       "policy: seconds is %g: it must be positive, and needs a clock",
                       d->seconds);
    return AF_OK;
}

static af_status dp__policy_desc(af_context *c, const dp_policy_desc *desc, dp_policy_desc *d) {
    memset(d, 0, sizeof *d);
    if (desc) *d = *desc;
    if (d->start_canary != 0 || d->end_canary != 0)
        return af_fail(c, AF_ERROR_ARGUMENT,
                       "the dp_policy_desc was not zeroed: begin with dp_policy_desc d = {0}");
    if (!d->width) d->width = 64;
    if (!d->epochs) d->epochs = 100;
    if (!d->batch) d->batch = 1000;
    if (!d->min_tokens) d->min_tokens = 1;
    if (!d->max_tokens) d->max_tokens = 35;
    if (d->length == 0.0) d->length = 8.0;
    if (d->spread == 0.0) d->spread = 5.0;
    if (d->risk == 0.0) d->risk = 0.05;
    if (d->entropy == 0.0) d->entropy = 0.005;
    if (d->entropy < 0.0) d->entropy = 0.0;
    if (d->decay == 0.0) d->decay = 0.7;
    if (d->rate == 0.0) d->rate = 0.0025;
    if (!d->starts) d->starts = 2;
    if (!d->iterations) d->iterations = 30;
    if (d->error == 0.0) d->error = 1e-9;
    return dp__policy_sizes(c, d);
}

static int dp__policy_lane_memory(dp__policy *p, dp__policy_lane *l) {
    size_t rows = DP__POLICY_ROWS, width = rows * p->net.width, k;
    size_t need = (p->grammar.longest + 1) * p->grammar.kinds;
    uint8_t *needs = DP__ARRAY(&p->work, uint8_t, rows * need);
    l->x = DP__ARRAY(&p->work, float, rows * p->net.features);
    l->mask = DP__ARRAY(&p->work, float, rows * p->grammar.choices);
    l->log_p = DP__ARRAY(&p->work, float, rows * p->grammar.choices);
    for (k = 0; k < 2; k++) {
        l->h[k] = DP__ARRAY(&p->work, float, width);
        l->state[k] = DP__ARRAY(&p->work, float, width);
        if (!l->h[k] || !l->state[k]) return 0;
    }
    for (k = 0; k < rows && needs; k++) l->walk[k].need = needs + k * need;
    return needs && l->x && l->mask && l->log_p &&
           af_context_workspace(p->c, p->step, 1, &l->work) == AF_OK;
}

static int dp__policy_memory_all(dp__policy *p) {
    size_t batch = p->desc.batch, all = p->padded * p->grammar.longest, k;
    double *constants = DP__ARRAY(&p->work, double, batch * p->constant_count);
    p->params = DP__ARRAY(&p->work, float, af_params_size(p->net.params));
    p->sample = DP__ARRAY(&p->work, dp__policy_sample, batch);
    p->rank = DP__ARRAY(&p->work, dp__policy_rank, batch);
    p->fit = DP__ARRAY(&p->work, dp__policy_fit, batch);
    p->x = DP__ARRAY(&p->work, double, all * p->net.features);
    p->mask = DP__ARRAY(&p->work, double, all * p->grammar.choices);
    p->choice = DP__ARRAY(&p->work, double, all * p->grammar.choices);
    p->entropy = DP__ARRAY(&p->work, double, all);
    p->row = DP__ARRAY(&p->work, float, p->net.features + p->grammar.choices);
    p->values = DP__ARRAY(&p->work, double, p->desc.filter ? p->points : 0);
    p->lane = DP__ARRAY(&p->work, dp__policy_lane, p->lanes);
    if (!constants || !p->params || !p->sample || !p->rank || !p->fit || !p->x || !p->mask ||
        !p->choice || !p->entropy || !p->row || !p->values || !p->lane)
        return 0;
    for (k = 0; k < batch; k++) p->fit[k].constants = constants + k * p->constant_count;
    for (k = 0; k <= (size_t)DP_FORMULA_MAX; k++) {
        p->kept[k].error = HUGE_VAL;
        p->constants[k] = DP__ARRAY(&p->arena, double, p->constant_count);
        p->kept[k].constants = p->constants[k];
        if (!p->constants[k]) return 0;
    }
    for (k = 0; k < p->lanes; k++)
        if (!dp__policy_lane_memory(p, &p->lane[k])) return 0;
    return 1;
}

/* Fitters, which check the data, and what depends on them. */
static af_status dp__policy_fitters(dp__policy *p) {
    dp_fitter_desc d = DP__ZERO;
    size_t k;
    af_status s = AF_OK;
    d.starts = p->desc.starts;
    d.iterations = p->desc.iterations;
    d.seed = p->desc.seed;
    for (k = 0; k < (size_t)DP__LANES && s == AF_OK; k++)
        s = dp_fitter_create(p->c, p->v, p->sets, p->set_count, &d, &p->fitter[k]);
    if (s != AF_OK) return s;
    p->constant_count = dp_fitter_constants(p->fitter[0]);
    for (k = 0; k < p->set_count; k++) p->points += p->sets[k].n;
    return AF_OK;
}

static af_status dp__policy_open_all(dp__policy *p) {
    dp__policy_grammar *g = &p->grammar;
    size_t pieces;
    af_status s = dp__policy_fitters(p);
    g->shortest = p->desc.min_tokens;
    g->longest = p->desc.max_tokens;
    g->centre = p->desc.length;
    g->spread = p->desc.spread;
    if (s == AF_OK) s = dp__policy_grammar_open(p->c, g, p->v, &p->work);
    if (s != AF_OK) return s;
    p->net.c = p->c;
    p->net.width = p->desc.width;
    p->net.features = dp__policy_features(g);
    p->net.choices = g->choices;
    p->keep = (size_t)ceil(p->desc.risk * (double)p->desc.batch);
    pieces = (p->keep + DP__POLICY_PIECE - 1) / DP__POLICY_PIECE;
    p->padded = pieces * DP__POLICY_PIECE;
    p->lanes = (p->desc.batch + DP__POLICY_SHARE - 1) / DP__POLICY_SHARE;
    if (p->lanes > (size_t)DP__LANES) p->lanes = DP__LANES;
    s = dp__lstm_open(&p->net, p->desc.seed);
    if (s == AF_OK) s = dp__lstm_compile(&p->net, DP__POLICY_ROWS, &p->step);
    if (s == AF_OK)
        s = dp__lstm_trainer(&p->net, DP__POLICY_PIECE, g->longest, pieces, p->desc.rate,
                             &p->trainer);
    if (s == AF_OK && !dp__policy_memory_all(p)) s = dp__fail_memory(p->c, "a policy");
    return s;
}

/* All but the result. */
static void dp__policy_close(dp__policy *p) {
    size_t k;
    for (k = 0; p->lane && k < p->lanes; k++) af_workspace_destroy(p->lane[k].work);
    for (k = 0; k < (size_t)DP__LANES; k++) dp_fitter_destroy(p->fitter[k]);
    af_func_destroy(p->step);
    af_trainer_destroy(p->trainer);
    af_params_destroy(p->net.params);
    dp__arena_free(&p->table);
    dp__arena_free(&p->work);
}

AF_API void dp_policy_destroy(dp_policy_result *result) {
    dp__arena arena;
    if (!result) return;
    arena = ((dp__policy *)(void *)result)->arena; /* it is in it itself */
    dp__arena_free(&arena);
}

/* Ready to run; *out is NULL after an error. */
static af_status dp__policy_open(af_context *c, const dp_vocabulary *v, const dp_data_set *sets,
                                 size_t set_count, const dp_policy_desc *desc, dp__policy **out) {
    dp__arena arena = dp__arena_open(c);
    dp_policy_desc d;
    dp__policy *p;
    af_status s = dp__policy_desc(c, desc, &d);
    *out = NULL;
    if (s != AF_OK) return s;
    p = DP__NEW(&arena, dp__policy);
    if (!p) return dp__fail_memory(c, "a policy");
    p->arena = arena;
    p->work = p->table = dp__arena_open(c);
    p->c = c;
    p->desc = d;
    p->v = v;
    p->sets = sets;
    p->set_count = set_count;
    p->result.front = p->front;
    if (d.clock) p->began = d.clock(d.user);
    s = dp__policy_open_all(p);
    if (s == AF_OK) {
        *out = p;
        return AF_OK;
    }
    dp__policy_close(p);
    dp_policy_destroy(&p->result);
    return s;
}

AF_API af_status dp_policy_search(af_context *c, const dp_vocabulary *v, const dp_data_set *sets,
                                  size_t set_count, const dp_policy_desc *desc,
                                  dp_policy_result **out) {
    dp__policy *p;
    af_status s = dp__policy_open(c, v, sets, set_count, desc, &p);
    *out = NULL;
    if (s != AF_OK) return s;
    s = dp__policy_run(p);
    dp__policy_close(p);
    if (s != AF_OK) {
        dp_policy_destroy(&p->result);
        return s;
    }
    *out = &p->result;
    return p->result.end == DP_POLICY_STOPPED ? AF_STOPPED : AF_OK;
}
