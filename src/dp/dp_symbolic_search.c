/* ---- the search ---- */

enum {
    DP__SMALL = 64,   /* rows of the screening */
    DP__EVOLVED_ROOM = 1 << 16, /* nodes: a batch of DP__GENES each */
    DP__SETTLED = 512, /* new elites after which combinations are looked for */
    DP__FEW = 256,    /* of the first fit of a combination */
    DP__BIG = 4096,   /* of the first fit of what is promising; then all rows */
    DP__START_ROOM = 1 << 14,
    DP__LONGEST = 20  /* tokens of f */
};

typedef struct dp__symbolic {
    dp_symbolic_result result; /* first: it is what the caller has */
    dp__arena arena, work;     /* of the result; of the search alone */
    af_context *c;
    dp__plan plan;
    dp__points data;
    dp_symbolic_desc desc;
    unsigned forms;
    uint32_t operators; /* of the caller */
    dp__nodes nodes;
    dp__seen seen;
    dp__sheet small, big, whole;
    dp__scales_fit small_fit, big_fit, whole_fit;
    dp__screen screen;
    dp__enrichment enrichment;
    dp__form_tree tree;
    dp__combiner combiner;
    dp__archive *archive;  /* NULL: nothing evolves */
    int evolving;
    size_t improved;       /* elites since combinations were looked for */
    uint16_t fresh[DP__BATCH]; /* cells of new elites */
    dp_fitter *fitter[2]; /* of combinations, to a few points and to all; NULL: there are none */
    dp_data_set few;
    const double *few_columns[DP_SYMBOLS_MAX];
    dp_symbolic_entry kept[DP_FORMULA_MAX + 1]; /* the best of a length; error HUGE_VAL: none */
    double *kept_constants[DP_FORMULA_MAX + 1];
    double kept_small[DP_FORMULA_MAX + 1], kept_big[DP_FORMULA_MAX + 1]; /* errors on sheets */
    dp_symbolic_entry front[DP_FORMULA_MAX + 1];
    double *constants, *values; /* of a candidate */
    size_t free_count, specific_count, constant_count;
    size_t first, combined; /* node; how many there were when combinations were looked for */
    size_t base;   /* transient: nodes from here on are forgotten after each batch */
    int transient, stop;
    double began;
} dp__symbolic;

/* ---- the front ---- */

/* The front (at most DP_FORMULA_MAX) of the best of each length. What shortens the description of
 * `points` residuals by less than one nat is no improvement, and none is better than an error of
 * `enough` (0 or less: 1e-12). *best gets the entry of least description length: of the residuals,
 * and of tokens, each one of all that v has. Returns the count. */
static size_t dp__front(const dp_symbolic_entry kept[DP_FORMULA_MAX + 1], double points,
                        const dp_vocabulary *v, double enough, dp_symbolic_entry *front,
                        size_t *best) {
    double least = HUGE_VAL, score = HUGE_VAL, choices = (double)v->symbol_count;
    size_t k, count = 0;
    *best = 0;
    enough = enough > 0.0 ? enough : 1e-12;
    for (k = 0; k < DP_OPERATORS; k++) choices += dp_vocabulary_operators(v) >> k & 1u;
    for (k = 1; k <= (size_t)DP_FORMULA_MAX && least > enough; k++) {
        double description;
        if (!(kept[k].error < exp(-1.0 / points) * least)) continue;
        least = kept[k].error;
        description = points * log(fmax(least, enough)) + (double)k * log(choices);
        if (description < score) {
            score = description;
            *best = count;
        }
        front[count++] = kept[k];
    }
    return count;
}

static void dp__publish(dp__symbolic *s) {
    dp_symbolic_result *r = &s->result;
    r->front = s->front;
    r->count = dp__front(s->kept, (double)s->data.n, &s->plan.v, s->desc.error, s->front, &r->best);
    if (s->desc.clock) r->seconds = s->desc.clock(s->desc.user) - s->began;
}

/* The length of the kept formula that is no longer and best; 0: there is none. */
static size_t dp__kept_before(const dp__symbolic *s, size_t length) {
    size_t k, best = 0;
    for (k = 1; k <= length; k++)
        if (s->kept[k].error < s->kept[best].error) best = k;
    return best;
}

/* ---- constants ---- */

static void dp__set_constant(dp__symbolic *s, size_t symbol, size_t set, double value) {
    size_t i, before = 0;
    int specific = s->plan.symbols[symbol].kind == DP_SPECIFIC;
    for (i = 0; i < symbol; i++) before += s->plan.symbols[i].kind == s->plan.symbols[symbol].kind;
    s->constants[specific ? s->free_count + set * s->specific_count + before : before] = value;
}

/* ln|A| less what scales and fixed constants give, spread over the amplitude and the scales. */
static void dp__set_amplitude(dp__symbolic *s, const dp__scales_fit *f, size_t set, int negative) {
    const dp__plan *p = &s->plan;
    double a = f->a[set], known = 0.0, move;
    size_t k;
    for (k = 0; k < p->scale_count; k++) known += p->target_power[k] * f->theta[k];
    if (p->amplitude == DP__NONE) {
        if (f->form & DP__FORM_A) dp__set_constant(s, p->number, set, a * exp(-known));
        return;
    }
    move = (log(fabs(a)) - known) / p->stretch;
    dp__set_constant(s, p->amplitude, set, exp(move) * ((a < 0.0) == (negative != 0) ? 1.0 : -1.0));
    for (k = 0; k < p->scale_count; k++)
        if (p->along[k] != 0.0)
            dp__set_constant(s, p->scale[k], set, exp(f->theta[k] + move * p->along[k]));
}

/* Constants of the formula from a fit; 0 where a sign cannot be written. */
static int dp__constants(dp__symbolic *s, const dp__scales_fit *f, int negative) {
    const dp__plan *p = &s->plan;
    size_t i, d;
    for (i = 0; i < p->v.symbol_count; i++)
        for (d = 0; d < s->data.set_count && dp__is_constant(&p->symbols[i]); d++)
            dp__set_constant(s, i, d, dp__start_value(&p->symbols[i]));
    for (i = 0; i < p->scale_count; i++) dp__set_constant(s, p->scale[i], 0, exp(f->theta[i]));
    for (d = 0; d < s->data.set_count; d++) {
        int odd = (f->a[d] < 0.0) != (negative != 0) && p->amplitude != DP__NONE;
        if (odd && fabs(fabs(p->stretch) - 1.0) > 1e-9) return 0; /* the root of a negative A */
        dp__set_amplitude(s, f, d, negative);
        if (f->form & DP__FORM_C) dp__set_constant(s, p->offset, d, f->c[d]);
    }
    return 1;
}

/* ---- what a candidate must pass ---- */

/* NRMSE of the formula itself, as it will be read: HUGE_VAL when not finite. */
static double dp__formula_error(dp__symbolic *s, const dp_formula *f) {
    double constants[DP_SYMBOLS_MAX], cost = 0.0;
    size_t d, i, first = 0;
    memcpy(constants, s->constants, s->free_count * sizeof *constants);
    for (d = 0; d < s->data.set_count; d++) {
        const dp_data_set *set = &s->data.sets[d];
        memcpy(constants + s->free_count, s->constants + s->free_count + d * s->specific_count,
               s->specific_count * sizeof *constants);
        if (dp_formula_evaluate(&s->plan.v, f, set->n, set->columns, constants,
                                s->values + first) != AF_OK) return HUGE_VAL;
        for (i = 0; i < set->n; i++) {
            double off = set->y[i] - s->values[first + i];
            cost += dp__data_weight(set, i) * off * off;
        }
        first += set->n;
    }
    cost /= s->data.weight * s->data.variance;
    return dp__is_finite(cost) ? sqrt(cost) : HUGE_VAL;
}

/* The filter's verdict on what is in constants and values. */
static double dp__filtered(dp__symbolic *s, const dp_formula *f, double error) {
    dp_symbolic_candidate candidate;
    double penalty;
    if (!s->desc.filter) return error;
    candidate.vocabulary = &s->plan.v;
    candidate.formula = f;
    candidate.constants = s->constants;
    candidate.values = s->values;
    candidate.error = error;
    penalty = s->desc.filter(&candidate, s->desc.user);
    return penalty >= 0.0 ? error * penalty : HUGE_VAL;
}

/* The bound on errors that later batches have to come near. */
static void dp__lower_bound(dp__symbolic *s, size_t tokens, double error) {
    size_t k;
    for (k = tokens; k < DP__TOKENS; k++)
        s->screen.bound[k] = fmin(s->screen.bound[k], fmax(error, 1e-13));
}

static void dp__keep(dp__symbolic *s, const dp_formula *f, double error, double small, double big) {
    size_t k = f->length;
    s->kept[k].formula = *f;
    s->kept[k].error = error;
    s->kept_small[k] = small;
    s->kept_big[k] = big;
    memcpy(s->kept_constants[k], s->constants, s->constant_count * sizeof *s->constants);
    if (error <= s->desc.error && !s->stop) {
        s->result.end = DP_END_ERROR;
        s->stop = 1;
    }
}

/* Better in the end than what is there, of this length or shorter? Fits to more rows, then all. */
static void dp__verify(dp__symbolic *s, const dp__program *program, const dp_formula *f,
                       size_t tokens, double small, int negative) {
    dp__scales_fit *fits[2], *last = NULL;
    double error = small, big = small, rival;
    size_t k, before = dp__kept_before(s, f->length);
    rival = s->kept[before].error;
    fits[0] = &s->big_fit;
    fits[1] = &s->whole_fit;
    last = &s->small_fit;
    for (k = 0; k < 2; k++) {
        if (fits[k]->sheet->rows == last->sheet->rows) continue;
        fits[k]->program = program;
        fits[k]->form = s->small_fit.form;
        memcpy(fits[k]->theta, last->theta, sizeof last->theta);
        last = fits[k];
        error = dp__scales_refine(last, s->kept_big[before], 30);
        if (!k) big = error;
        if (!(error < rival)) return;
    }
    s->result.verified++;
    if (!dp__constants(s, last, negative)) return;
    error = dp__formula_error(s, f);
    if (!(error < 0.999 * rival)) return;
    error = dp__filtered(s, f, error);
    if (!(error < 0.999 * rival)) return;
    dp__keep(s, f, error, small, big);
    if (s->desc.filter) dp__lower_bound(s, tokens, small);
}

/* A function from the batch: written with units, compared on the small sheet, then verified. What
 * is short with units need not be so without: up to three times the bound is looked at. On 64 noisy
 * points the right function can be 15 % worse than another. */
static void dp__consider(dp__symbolic *s, const dp__trial *t, size_t form) {
    const dp__plan *p = &s->plan;
    size_t tokens = s->screen.tokens + dp__form_tokens(p, form);
    double error = t->error[form], rival;
    dp__program program;
    dp_formula f;
    int negative;
    if (!s->desc.filter) dp__lower_bound(s, tokens, error);
    if (!(error <= 3.0 * s->screen.bound[tokens])) return;
    program.length = 0;
    if (!dp__node_program(&s->nodes, t->node, 0, &program)) return;
    s->small_fit.program = &program;
    s->small_fit.form = (int)form;
    memcpy(s->small_fit.theta, t->theta[form], sizeof s->small_fit.theta);
    error = dp__scales_refine(&s->small_fit, error, 12);
    negative = error < HUGE_VAL && p->amplitude != DP__NONE && s->small_fit.a[0] < 0.0 &&
               p->symbols[p->amplitude].kind == DP_FREE;
    if (!dp__redimension(&s->tree, p, &s->nodes, t->node, (int)form, negative, &f)) return;
    rival = s->kept_small[dp__kept_before(s, f.length)];
    if (rival < HUGE_VAL && !(error < 1.15 * rival)) return;
    if (rival < HUGE_VAL && fabs(error - rival) < 1e-6 * error) return; /* the same */
    dp__verify(s, &program, &f, tokens, error, negative);
}

/* Enumeration leaves half of the time to evolution. */
static int dp__out_of_time(void *user) {
    dp__symbolic *s = (dp__symbolic *)user;
    double limit = s->desc.seconds;
    if (s->desc.clock) s->result.seconds = s->desc.clock(s->desc.user) - s->began;
    if (s->archive && !s->evolving) limit /= 2.0;
    if (!s->desc.clock || !(limit > 0.0) || s->result.seconds < limit) return 0;
    if (!s->stop) s->result.end = DP_END_TIME;
    s->stop = 1;
    return 1;
}

/* Another's formula: the constants that start at `numbers` are fitted. 1: the search is over. */
static int dp__propose(void *user, const dp_formula *f, const double *numbers) {
    dp__symbolic *s = (dp__symbolic *)user;
    double rival = s->kept[dp__kept_before(s, f->length)].error, error;
    size_t i, k;
    for (i = 0; i < s->plan.v.symbol_count; i++)
        if (dp__is_constant(&s->plan.symbols[i]))
            dp__set_constant(s, i, 0, dp__start_value(&s->plan.symbols[i]));
    for (k = 0; k < DP__NUMBERS; k++) dp__set_constant(s, s->combiner.symbol[k], 0, numbers[k]);
    for (k = 0; k < 2; k++) {
        dp_fit_report report;
        dp__fitter_start(s->fitter[k], s->constants);
        s->result.fits++;
        if (dp_fitter_run(s->fitter[k], f, s->constants, &report) != AF_OK ||
            !(report.nrmse < 1.15 * rival)) return s->stop;
    }
    s->result.verified++;
    error = dp__formula_error(s, f);
    if (!(error < 0.999 * rival)) return s->stop;
    error = dp__filtered(s, f, error);
    if (error < 0.999 * rival) dp__keep(s, f, error, error, error);
    return s->stop;
}

/* ---- batches ---- */

static af_status dp__make_room(dp__symbolic *s) {
    dp__nodes *n = &s->nodes;
    dp__seen *seen = &s->seen;
    size_t used = n->room * DP__NODE_BYTES + seen->room * 8;
    af_status status = AF_OK;
    if ((seen->count + 3 * DP__BATCH) * 10 > seen->room * 6) {
        if (used + seen->room * 16 > s->desc.memory && s->evolving) {
            memset(seen->key, 0, seen->room * sizeof *seen->key); /* forgotten: some come again */
            seen->count = 0;
            return AF_OK;
        }
        if (used + seen->room * 16 > s->desc.memory) {
            s->result.end = DP_END_MEMORY;
            s->stop = 1;
            return AF_OK;
        }
        status = dp__seen_grow(s->c, seen, 2 * seen->room);
    }
    if (status != AF_OK || s->transient || n->count + 2 * DP__BATCH + 1 <= n->room) return status;
    if (used + n->room * DP__NODE_BYTES * 2 <= s->desc.memory && n->room < (size_t)1 << 30)
        return dp__nodes_grow(s->c, n, 2 * n->room);
    s->transient = 1;
    s->base = n->count;
    s->result.end = DP_END_MEMORY;
    return AF_OK;
}

/* What was fitted, to the archive. Returns how many are the best of their kind; their cells into
 * s->fresh. */
static size_t dp__elect(dp__symbolic *s) {
    size_t k, form, fresh = 0;
    for (k = 0; s->archive && k < s->screen.count; k++) {
        const dp__trial *t = &s->screen.trial[k];
        dp__program program;
        double error = HUGE_VAL;
        int product = 0;
        size_t cell;
        program.length = 0;
        if (!t->forms || !dp__node_program(&s->nodes, t->node, 0, &program)) continue;
        for (form = 0; form < DP__FORMS; form++)
            if (t->forms >> form & 1u) error = fmin(error, t->error[form]);
        if (s->fitter[1]) error = dp__combine_measure(&s->combiner, &program, &product);
        cell = dp__archive_put(s->archive, &program, error, product);
        if (cell != DP__NONE) s->fresh[fresh++] = (uint16_t)cell;
    }
    s->result.elites = s->archive ? s->archive->count : 0;
    return fresh;
}

/* New elites become nodes that stay, for combinations. */
static void dp__settle(dp__symbolic *s, size_t fresh) {
    dp__nodes *n = &s->nodes;
    size_t k, op, a, b;
    for (k = 0; k < fresh && s->base + DP__EVOLVED_ROOM < n->room; k++) {
        const dp__elite *e = &s->archive->cell[s->fresh[k]];
        if (!dp__genome_plant(n, &e->genome, &op, &a, &b)) continue;
        b = dp__part(n, op, a, b);
        n->flags[b] |= (uint8_t)dp__op_flag(op);
        s->base = n->count;
        s->improved++;
    }
}

/* Combinations of all functions that stay: when there are twice as many as at the last time, or
 * some new elites. */
static void dp__combine_due(dp__symbolic *s) {
    size_t end = s->transient ? s->base : s->nodes.count, count = end - s->first;
    int due = s->evolving ? s->improved >= (size_t)DP__SETTLED : count >= 2 * s->combined;
    if (!s->fitter[1] || s->stop || !due) return;
    s->combined = count;
    s->improved = 0;
    dp__combine(&s->combiner, s->first, end);
}

/* Fits what has come together, and asks clock and caller. */
static af_status dp__flush(dp__symbolic *s) {
    size_t k, form, fresh;
    af_parallel(s->c, DP__LANES, dp__screen_lane, &s->screen);
    for (k = 0; k < s->screen.count; k++)
        for (form = 0; form < DP__FORMS; form++)
            if (s->screen.trial[k].forms >> form & 1u) {
                s->result.fits++;
                dp__consider(s, &s->screen.trial[k], form);
            }
    fresh = dp__elect(s);
    s->result.unique += s->screen.count;
    s->screen.count = 0;
    if (s->transient) s->nodes.count = s->base;
    if (s->evolving) dp__settle(s, fresh);
    dp__combine_due(s);
    dp__publish(s);
    if (s->stop) return AF_OK;
    if (dp__out_of_time(s)) return AF_OK;
    if (s->desc.progress && s->desc.progress(&s->result, s->desc.user)) {
        s->result.end = DP_END_STOPPED;
        s->stop = 1;
    }
    return s->stop ? AF_OK : dp__make_room(s);
}

/* Keeps the node that is at nodes.count. */
static af_status dp__take(dp__symbolic *s, unsigned forms) {
    dp__trial *t = &s->screen.trial[s->screen.count++];
    t->node = s->nodes.count++;
    t->forms = forms;
    return s->screen.count == DP__BATCH ? dp__flush(s) : AF_OK;
}

static af_status dp__try(dp__symbolic *s, size_t op, size_t a, size_t b) {
    dp__nodes *n = &s->nodes;
    s->result.candidates++;
    if (s->stop || !dp__node_try(n, &s->seen, op, a, b)) return AF_OK;
    return dp__take(s, dp__new_forms(&s->seen, n->value + n->count * DP__SAMPLES, s->forms));
}

/* ---- levels ---- */

/* Leaves at random rows and scales, with a factor near 1 so that no value is special; fixed numbers
 * as they are. */
static void dp__leaf_samples(dp__symbolic *s, size_t leaf, double *value) {
    const dp__plan *p = &s->plan;
    const dp__sheet *sheet = &s->small;
    const dp_symbol *symbol = p->leaf[leaf].symbol != DP__NONE ? &p->symbols[p->leaf[leaf].symbol]
                                                               : NULL;
    size_t i, k;
    for (i = 0; i < DP__SAMPLES; i++) {
        double u[DP_SCALES_MAX], theta[DP_SCALES_MAX], factor[DP__LEAVES];
        size_t row = (size_t)(af_random_uniform(2, leaf, i) * (double)sheet->rows);
        for (k = 0; k < p->scale_count; k++) u[k] = af_random_uniform(3, k, i);
        dp__grid_theta(p, &s->screen.grid, u, theta);
        dp__factors(p, theta, factor);
        value[i] = sheet->leaf[leaf * sheet->rows + row] * factor[leaf];
        if (symbol && symbol->kind != DP_FIXED)
            value[i] *= 0.9 + 0.2 * af_random_uniform(4, leaf, i);
    }
}

/* Leaves, parts of norms: evaluated but not fitted. */
static af_status dp__level_none(dp__symbolic *s) {
    dp__nodes *n = &s->nodes;
    const dp__plan *p = &s->plan;
    uint32_t norm = 1u << DP_ADD | 1u << DP_SUB | 1u << DP_SQUARE | 1u << DP_SQRT;
    size_t l, k;
    af_status status = AF_OK;
    for (l = 0; l < p->leaf_count; l++) {
        size_t symbol = p->leaf[l].symbol;
        n->op[l] = DP__STEP_LEAF;
        n->left[l] = n->right[l] = (uint32_t)l;
        n->flags[l] = symbol != DP__NONE && p->symbols[symbol].kind == DP_VARIABLE
                          ? (uint8_t)DP__HAS_VARIABLE : (uint8_t)0;
        dp__leaf_samples(s, l, n->value + l * DP__SAMPLES);
    }
    n->count = p->leaf_count;
    s->enrichment.plan = p;
    s->enrichment.nodes = n;
    s->enrichment.differences = s->fitter[1] != NULL;
    if (!s->desc.no_enrichment && (s->operators & norm) == norm) dp__enrich(&s->enrichment);
    for (k = 0; k < n->count && status == AF_OK; k++) {
        dp__trial *t = &s->screen.trial[s->screen.count++];
        t->node = k;
        t->forms = 0;
        if (s->screen.count == DP__BATCH || k + 1 == n->count) status = dp__flush(s);
    }
    s->result.unique = 0;
    return status;
}

/* Leaves again, with a place in the order: numbers but 1, which are rarer, on the second level,
 * others on the first. */
static af_status dp__level_leaves(dp__symbolic *s, size_t level) {
    dp__nodes *n = &s->nodes;
    size_t l, k = n->count;
    af_status status = AF_OK;
    for (l = 0; l < s->plan.leaf_count && status == AF_OK; l++) {
        size_t symbol = s->plan.leaf[l].symbol;
        int number = symbol != DP__NONE && s->plan.symbols[symbol].kind == DP_FIXED;
        if (number != (level == 2)) continue;
        s->result.candidates++;
        k = n->count;
        memcpy(n->value + k * DP__SAMPLES, n->value + l * DP__SAMPLES,
               DP__SAMPLES * sizeof(double));
        n->op[k] = DP__STEP_LEAF;
        n->left[k] = n->right[k] = (uint32_t)l;
        n->flags[k] = n->flags[l];
        if (!dp__clean(n->value + k * DP__SAMPLES, NULL, NULL) ||
            !dp__seen_add(&s->seen, dp__hash(n->value + k * DP__SAMPLES, 0.0, 1.0, 36, 1)))
            continue;
        status = dp__take(s, dp__new_forms(&s->seen, n->value + k * DP__SAMPLES, s->forms));
    }
    return status;
}

/* Operators with two arguments: nodes [start[i], start[i+1]) have i tokens. */
static af_status dp__level_pairs(dp__symbolic *s, size_t op, const size_t *start, size_t level) {
    int commutes = op == DP_ADD || op == DP_MUL || op == DP__STEP_NORM;
    size_t i, a, b;
    af_status status = AF_OK;
    for (i = 1; i + 1 < level; i++) {
        size_t k = level - 1 - i;
        if (commutes && i > k) break;
        for (a = start[i]; a < start[i + 1]; a++)
            for (b = commutes && i == k ? a : start[k]; b < start[k + 1]; b++) {
                if (!dp__useful(&s->nodes, op, a, b)) continue;
                status = dp__try(s, op, a, b);
                if (status != AF_OK || s->stop) return status;
            }
    }
    return status;
}

static af_status dp__level(dp__symbolic *s, const size_t *start, size_t level) {
    size_t op, a, k;
    af_status status = AF_OK;
    if (level <= 2) status = dp__level_leaves(s, level);
    for (k = 0; k < s->enrichment.count && status == AF_OK; k++) {
        const dp__macro *m = &s->enrichment.macro[k];
        if (m->tokens == level) status = dp__try(s, m->op, m->left, m->right);
    }
    if (s->desc.norms && status == AF_OK)
        status = dp__level_pairs(s, DP__STEP_NORM, start, level);
    for (k = 0; level > 1 && k < DP_OPERATORS && status == AF_OK && !s->stop; k++) {
        op = s->fitter[1] ? DP_OPERATORS - 1 - k : k; /* for combinations the few functions first */
        if (!(s->operators >> op & 1u)) continue;
        if (op <= DP_POW) {
            status = dp__level_pairs(s, op, start, level);
            continue;
        }
        for (a = start[level - 1]; a < start[level] && status == AF_OK && !s->stop; a++)
            if (dp__useful(&s->nodes, op, a, a)) status = dp__try(s, op, a, a);
    }
    return status;
}

static af_status dp__levels(dp__symbolic *s) {
    size_t start[DP__LONGEST + 2], level;
    af_status status = dp__level_none(s);
    start[1] = s->first = s->nodes.count;
    for (level = 1; level <= s->desc.max_tokens && status == AF_OK && !s->stop; level++) {
        s->screen.tokens = level;
        s->screen.cached = start[level] < s->screen.cache_room ? start[level]
                                                               : s->screen.cache_room;
        s->base = s->nodes.count;
        s->transient = level == s->desc.max_tokens && !s->fitter[1];
        status = dp__level(s, start, level);
        if (status == AF_OK && !s->stop) status = dp__flush(s);
        if (status == AF_OK && !s->stop) s->result.tokens = level;
        if (s->result.end == DP_END_MEMORY) break;
        start[level + 1] = s->nodes.count;
    }
    return status;
}

/* Functions by evolution, from those of all lengths that were tried. */
static af_status dp__evolve(dp__symbolic *s) {
    dp__nodes *n = &s->nodes;
    size_t op, a, b;
    af_status status = dp__nodes_grow(s->c, n, n->count + 2 * (size_t)DP__EVOLVED_ROOM);
    s->evolving = s->transient = 1;
    s->stop = 0;
    s->base = n->count;
    s->screen.tokens = DP__LONGEST;
    while (status == AF_OK && !s->stop && s->archive->count &&
           s->result.evolved < s->desc.evolve) {
        dp__genome child;
        size_t before = n->count, waiting = s->screen.count;
        s->result.evolved++;
        if (!dp__archive_child(s->archive, &child) ||
            !dp__genome_plant(n, &child, &op, &a, &b)) continue;
        status = dp__try(s, op, a, b);
        if (s->screen.count == waiting) n->count = before;
    }
    if (status == AF_OK && !s->stop) status = dp__flush(s);
    return status;
}

/* ---- the interface ---- */

static af_status dp__search_desc(af_context *c, const dp_symbolic_desc *desc,
                                 dp_symbolic_desc *d) {
    memset(d, 0, sizeof *d);
    if (desc) *d = *desc;
    if (d->start_canary != 0 || d->end_canary != 0)
        return af_fail(c, AF_ERROR_ARGUMENT,
                       "the dp_symbolic_desc was not zeroed: begin with dp_symbolic_desc d = {0}");
    if (!d->max_tokens) d->max_tokens = 9;
    if (d->max_tokens > DP__LONGEST)
        return af_fail(c, AF_ERROR_ARGUMENT, "max_tokens is %zu; at most %d can be searched",
                       d->max_tokens, (int)DP__LONGEST);
    if ((int)d->affine < 0 || d->affine > DP_EXACT)
        return af_fail(c, AF_ERROR_ARGUMENT, "affine is %d, which is none of dp_affine",
                       (int)d->affine);
    if (d->seconds != 0.0 && (!d->clock || !(d->seconds > 0.0)))
        return af_fail(c, AF_ERROR_ARGUMENT,
                       "seconds is %g: it must be positive, and needs a clock", d->seconds);
    if (d->error == 0.0) d->error = 1e-9;
    if (!d->memory) d->memory = (size_t)256 << 20;
    if (d->memory < (size_t)8 << 20)
        return af_fail(c, AF_ERROR_ARGUMENT, "memory is %zu bytes; a search needs 8 MB",
                       d->memory);
    return AF_OK;
}

static af_status dp__search_fit(dp__scales_fit *f, const dp__plan *p, const dp__sheet *s,
                                dp__arena *arena) {
    double *memory = DP__ARRAY(arena, double, dp__scales_size(p, s));
    if (!memory) return AF_ERROR_MEMORY;
    dp__scales_open(f, p, s, memory);
    return AF_OK;
}

/* Arrays for the data and the front. */
static af_status dp__search_memory(dp__symbolic *s) {
    size_t k, sets = s->data.set_count;
    size_t cache = s->desc.memory / 4 < (size_t)16 << 20 ? s->desc.memory / 4 : (size_t)16 << 20;
    af_status status;
    s->free_count = dp_vocabulary_count(&s->plan.v, DP_FREE);
    s->specific_count = dp_vocabulary_count(&s->plan.v, DP_SPECIFIC);
    s->constant_count = s->free_count + sets * s->specific_count;
    s->constants = DP__ARRAY(&s->work, double, s->constant_count);
    s->values = DP__ARRAY(&s->work, double, s->data.n);
    if (!s->constants || !s->values) return AF_ERROR_MEMORY;
    for (k = 0; k <= DP_FORMULA_MAX; k++) {
        s->kept[k].error = s->kept_small[k] = s->kept_big[k] = HUGE_VAL;
        s->kept_constants[k] = DP__ARRAY(&s->arena, double, s->constant_count);
        s->kept[k].constants = s->kept_constants[k];
        if (!s->kept_constants[k]) return AF_ERROR_MEMORY;
    }
    /* eight points of each set at least */
    k = sets > DP__SMALL / 8 ? 8 * sets : (size_t)DP__SMALL;
    status = dp__sheet_make(&s->data, &s->work, k, &s->small);
    if (status == AF_OK) status = dp__sheet_make(&s->data, &s->work, DP__BIG, &s->big);
    if (status == AF_OK) status = dp__sheet_make(&s->data, &s->work, s->data.n, &s->whole);
    if (status == AF_OK) status = dp__search_fit(&s->small_fit, &s->plan, &s->small, &s->work);
    if (status == AF_OK) status = dp__search_fit(&s->big_fit, &s->plan, &s->big, &s->work);
    if (status == AF_OK) status = dp__search_fit(&s->whole_fit, &s->plan, &s->whole, &s->work);
    if (status == AF_OK)
        status = dp__screen_open(&s->screen, &s->plan, &s->small, &s->work, cache);
    if (status == AF_OK) status = dp__nodes_grow(s->c, &s->nodes, DP__START_ROOM);
    if (status == AF_OK) status = dp__seen_grow(s->c, &s->seen, 4 * DP__START_ROOM);
    s->screen.nodes = &s->nodes;
    return status;
}

/* Constants of combinations: after the plan's own, so that they are no leaves of functions. */
static af_status dp__combine_symbols(dp__symbolic *s) {
    static const char *const names[DP__NUMBERS][3] = {
        {"c1", "c_1", NULL}, {"c2", "c_2", NULL}, {"c3", "c_3", NULL}, {"c4", "c_4", NULL}};
    dp__plan *p = &s->plan;
    size_t k;
    af_status status = AF_OK;
    for (k = 0; k < DP__NUMBERS && status == AF_OK; k++) {
        dp__leaf *leaf = &p->leaf[p->leaf_count + k];
        *leaf = p->leaf[p->leaf_count - 1]; /* of no units, as 1 is */
        status = dp__plan_add(s->c, p, names[k], DP_FREE, &s->combiner.symbol[k]);
        leaf->symbol = s->combiner.symbol[k];
    }
    return status;
}

/* Combinations have constants of their own only. */
static int dp__combines(const dp__symbolic *s) {
    return s->desc.combine && s->data.set_count == 1 && !s->plan.scale_count &&
           s->plan.amplitude == DP__NONE;
}

/* Some points of the one set, evenly from all of them. */
static af_status dp__few_points(dp__symbolic *s) {
    const dp_data_set *all = s->data.sets;
    size_t n = all->n < DP__FEW ? all->n : (size_t)DP__FEW, i, k;
    double *y = DP__ARRAY(&s->work, double, n), *weight = DP__ARRAY(&s->work, double, n);
    if (!y || !weight) return AF_ERROR_MEMORY;
    s->few.n = n;
    s->few.columns = s->few_columns;
    s->few.y = y;
    s->few.weights = weight;
    for (i = 0; i < n; i++) {
        y[i] = all->y[i * all->n / n];
        weight[i] = dp__data_weight(all, i * all->n / n);
    }
    for (k = 0; k < dp_vocabulary_count(&s->plan.v, DP_VARIABLE); k++) {
        double *x = DP__ARRAY(&s->work, double, n);
        if (!x) return AF_ERROR_MEMORY;
        for (i = 0; i < n; i++) x[i] = all->columns[k][i * all->n / n];
        s->few_columns[k] = x;
    }
    return AF_OK;
}

static af_status dp__search_combine(dp__symbolic *s) {
    dp__combiner *b = &s->combiner;
    dp_fitter_desc d = DP__ZERO;
    af_status status;
    b->plan = &s->plan;
    b->nodes = &s->nodes;
    b->sheet = &s->small;
    b->propose = dp__propose;
    b->over = dp__out_of_time;
    b->user = s;
    b->of[0].seen.arena = b->of[1].seen.arena = dp__arena_open(s->c);
    status = dp__combine_open(b, s->c, &s->work, s->desc.memory / 4);
    if (status != AF_OK || !b->m) return status;
    d.starts = 1;
    d.iterations = 8; /* it begins at the solution of a linear problem */
    status = dp__few_points(s);
    if (status == AF_OK)
        status = dp_fitter_create(s->c, &s->plan.v, &s->few, 1, &d, &s->fitter[0]);
    if (status == AF_OK)
        status = dp_fitter_create(s->c, &s->plan.v, s->data.sets, 1, &d, &s->fitter[1]);
    return status;
}

static af_status dp__search_run(dp__symbolic *s, const dp_vocabulary *v, const dp_data_set *sets,
                                size_t set_count) {
    af_status status = dp__plan_make(s->c, v, s->desc.affine, &s->plan);
    if (status != AF_OK) return status;
    s->data.plan = &s->plan;
    s->data.sets = sets;
    s->data.set_count = set_count;
    status = dp__data_check(s->c, &s->data);
    if (status != AF_OK) return status;
    if (dp__combines(s) && (status = dp__combine_symbols(s)) != AF_OK) return status;
    s->forms = dp__forms_allowed(&s->plan, s->desc.affine);
    s->operators = dp_vocabulary_operators(v);
    s->result.vocabulary = s->plan.v;
    if (s->desc.clock) s->began = s->desc.clock(s->desc.user);
    status = dp__search_memory(s);
    if (status == AF_ERROR_DATA)
        return af_fail(s->c, AF_ERROR_DATA, "too many weights are zero: leave those points out");
    if (status == AF_OK && dp__combines(s)) status = dp__search_combine(s);
    if (status == AF_OK && s->desc.evolve) {
        s->archive = DP__NEW(&s->work, dp__archive);
        if (!s->archive) status = AF_ERROR_MEMORY;
        else dp__archive_open(s->archive, s->operators, s->plan.leaf_count, s->desc.seed);
    }
    if (status == AF_OK) status = dp__levels(s);
    if (status == AF_OK && s->archive && s->result.end != DP_END_ERROR &&
        s->result.end != DP_END_STOPPED) status = dp__evolve(s);
    if (status == AF_ERROR_MEMORY)
        return dp__fail_memory(s->c, "a search for formulas (desc.memory bounds what it takes)");
    dp__publish(s);
    return status;
}

/* What only the search needs. */
static void dp__search_close(dp__symbolic *s) {
    size_t k;
    for (k = 0; k < 2; k++) {
        dp_fitter_destroy(s->fitter[k]);
        s->fitter[k] = NULL;
    }
    dp__combine_close(&s->combiner);
    dp__arena_free(&s->nodes.arena);
    dp__arena_free(&s->seen.arena);
    dp__arena_free(&s->work);
}

AF_API void dp_symbolic_destroy(dp_symbolic_result *result) {
    dp__symbolic *s = (dp__symbolic *)(void *)result;
    dp__arena arena;
    if (!result) return;
    dp__search_close(s);
    arena = s->arena; /* s itself is in it */
    dp__arena_free(&arena);
}

AF_API af_status dp_symbolic_search(af_context *c, const dp_vocabulary *v, const dp_data_set *sets,
                                    size_t set_count, const dp_symbolic_desc *desc,
                                    dp_symbolic_result **out) {
    dp__arena arena = dp__arena_open(c);
    dp_symbolic_desc d;
    dp__symbolic *s;
    af_status status = dp__search_desc(c, desc, &d);
    *out = NULL;
    if (status != AF_OK) return status;
    if (!set_count) return af_fail(c, AF_ERROR_DATA, "there are no data sets to search in");
    s = DP__NEW(&arena, dp__symbolic);
    if (!s) return dp__fail_memory(c, "a search for formulas");
    s->arena = arena;
    s->work = dp__arena_open(c);
    s->nodes.arena = s->seen.arena = s->work;
    s->c = c;
    s->desc = d;
    status = dp__search_run(s, v, sets, set_count);
    if (status != AF_OK) {
        dp_symbolic_destroy(&s->result);
        return status;
    }
    dp__search_close(s);
    *out = &s->result;
    return s->result.end == DP_END_STOPPED ? AF_STOPPED : AF_OK;
}
