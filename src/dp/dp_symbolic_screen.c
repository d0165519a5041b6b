/* ---- a batch of functions -----------------------------------------------------------------------
 *
 * Each is evaluated at all points of the grid of scales on some 64 rows; where the best is
 * promising, Levenberg-Marquardt begins there. Side by side, and what is promising is known before
 * the batch: the result does not depend on threads. */

enum { DP__BATCH = 2048, DP__TOKENS = 32 /* of f with A and C, a bound */ };

typedef struct dp__trial {
    size_t node;
    unsigned forms; /* bit k: form k is to be fitted */
    double error[DP__FORMS], theta[DP__FORMS][DP_SCALES_MAX];
} dp__trial;

typedef struct dp__screen {
    const dp__plan *plan;
    const dp__nodes *nodes;
    const dp__sheet *sheet;
    dp__grid grid;
    double *grid_factor, *grid_gain; /* (grid.count, leaf_count), (grid.count) */
    double *yy;                      /* (sets): sum of weight y^2 */
    double *cache;                   /* (cache_room, grid.count, rows): f of the first nodes */
    size_t cache_room, cached;       /* nodes that have a place; nodes whose values are there */
    double bound[DP__TOKENS];        /* the best error up to so many tokens with A and C */
    size_t tokens;                   /* of the batch */
    dp__trial *trial;                /* (DP__BATCH) */
    size_t count;
    dp__scales_fit lane[DP__LANES];
    dp__sums *sums[DP__LANES];       /* (sets) each */
} dp__screen;

/* Tokens that A and C add. */
static size_t dp__form_tokens(const dp__plan *p, size_t form) {
    return (form & DP__FORM_C ? 2u : 0u) + (form & DP__FORM_A && p->number != DP__NONE ? 2u : 0u);
}

static unsigned dp__forms_allowed(const dp__plan *p, dp_affine affine) {
    unsigned forms = 0, form;
    for (form = 0; form < DP__FORMS; form++) {
        if (form & DP__FORM_C && affine != DP_AMPLITUDE_OFFSET) continue;
        if (form & DP__FORM_A ? p->amplitude == DP__NONE && affine == DP_EXACT
                              : p->amplitude != DP__NONE) continue;
        forms |= 1u << form;
    }
    return forms;
}

static void dp__sums_centre(dp__sums *s, double *yy) {
    if (!(s->w > 0.0)) return;
    s->gg -= s->g * s->g / s->w;
    s->gy -= s->g * s->y / s->w;
    *yy -= s->y * s->y / s->w;
}

/* What dp__scales_cost gives, from sums alone: to 1e-8 of the NRMSE. */
static double dp__screen_cost(const dp__screen *s, const dp__sums *sums, size_t form, double gain) {
    const dp__plan *p = s->plan;
    size_t symbol = p->amplitude != DP__NONE ? p->amplitude : p->number, d;
    int each_a = form & DP__FORM_A && p->symbols[symbol].kind == DP_SPECIFIC;
    int each_c = form & DP__FORM_C && p->symbols[p->offset].kind == DP_SPECIFIC;
    dp__sums all = DP__ZERO;
    double cost = 0.0, yy = 0.0;
    for (d = 0; d < s->sheet->sets; d++) {
        dp__sums k = sums[d];
        double raw = k.gg;
        if (!each_a && !each_c) raw = 0.0;
        yy += s->yy[d];
        if (each_c) dp__sums_centre(&k, &yy);
        if (each_a && k.gg > 1e-12 * raw) cost -= k.gy * k.gy / k.gg;
        all.w += k.w;
        all.g += k.g;
        all.y += k.y;
        all.gg += k.gg;
        all.gy += k.gy;
    }
    if (each_a) return dp__is_finite(all.gg) ? fmax(cost + yy, 0.0) : HUGE_VAL;
    if (form & DP__FORM_C && !each_c) {
        double raw = all.gg;
        dp__sums_centre(&all, &yy);
        if (!(all.gg > 1e-12 * raw)) return HUGE_VAL;
    }
    if (!(all.gg > 0.0) || !dp__is_finite(all.gg)) return HUGE_VAL;
    if (form & DP__FORM_A) return fmax(yy - all.gy * all.gy / all.gg, 0.0);
    return fmax(yy - 2.0 * gain * all.gy + gain * gain * all.gg, 0.0);
}

/* f at one point of the grid into the fit's value, times p; kept if there is a place. */
static void dp__screen_values(const dp__screen *s, dp__scales_fit *f, size_t node, size_t point) {
    size_t rows = s->sheet->rows, b, i;
    for (b = 0; b < rows; b += DP__SHEET_BLOCK)
        dp__program_run(f->program, s->sheet->leaf + b, rows,
                        s->grid_factor + point * s->plan->leaf_count,
                        s->cache + point * rows + b, s->grid.count * rows, f->value + b);
    if (node < s->cache_room)
        memcpy(s->cache + (node * s->grid.count + point) * rows, f->value, rows * sizeof(double));
    for (i = 0; i < rows; i++) f->value[i] *= s->sheet->prefactor[i];
}

static void dp__screen_grid(const dp__screen *s, size_t lane, dp__trial *t) {
    dp__scales_fit fit = s->lane[lane];
    dp__program program;
    size_t point, form, d;
    double best[DP__FORMS];
    program.length = 0;
    for (form = 0; form < DP__FORMS; form++) t->error[form] = best[form] = HUGE_VAL;
    if (!dp__node_program(s->nodes, t->node, s->cached, &program)) return;
    fit.program = &program;
    for (point = 0; point < s->grid.count; point++) {
        dp__screen_values(s, &fit, t->node, point);
        for (d = 0; d < s->sheet->sets && t->forms; d++)
            s->sums[lane][d] = dp__sums_of(&fit, s->sheet->start[d], s->sheet->start[d + 1], 0.0,
                                           0.0);
        for (form = 0; form < DP__FORMS; form++) {
            double cost = t->forms >> form & 1u ? dp__screen_cost(s, s->sums[lane], form,
                                                                  s->grid_gain[point]) : HUGE_VAL;
            if (!(cost < best[form])) continue;
            best[form] = cost;
            dp__grid_point(s->plan, &s->grid, point, t->theta[form]);
        }
    }
    for (form = 0; form < DP__FORMS; form++)
        if (best[form] < HUGE_VAL) t->error[form] = sqrt(best[form] / s->sheet->unit);
}

/* A grid point can be a factor of some 1.5 from the scale, where the right function, if steep, may
 * be far worse than a smooth wrong one: a first step is made for all. Without scales there is
 * nothing to gain. */
static void dp__screen_one(const dp__screen *s, size_t lane, dp__trial *t) {
    dp__scales_fit *f, fit = s->lane[lane];
    dp__program program;
    size_t form;
    double factor = s->plan->scale_count ? HUGE_VAL : 3.0;
    f = &fit;
    dp__screen_grid(s, lane, t);
    program.length = 0;
    if (!dp__node_program(s->nodes, t->node, 0, &program)) return;
    f->program = &program;
    for (form = 0; form < DP__FORMS; form++) {
        double bound = s->bound[s->tokens + dp__form_tokens(s->plan, form)];
        if (t->error[form] == HUGE_VAL || !(t->error[form] <= factor * bound)) continue;
        f->form = (int)form;
        memcpy(f->theta, t->theta[form], sizeof f->theta);
        t->error[form] = dp__scales_refine(f, bound, 12);
        memcpy(t->theta[form], f->theta, sizeof f->theta);
    }
}

static void dp__screen_lane(size_t lane, void *user) {
    dp__screen *s = (dp__screen *)user;
    size_t k;
    for (k = lane; k < s->count; k += DP__LANES) dp__screen_one(s, lane, &s->trial[k]);
}

static af_status dp__screen_open(dp__screen *s, const dp__plan *p, const dp__sheet *sheet,
                                 dp__arena *arena, size_t cache_bytes) {
    size_t g, d, i, lane, size;
    s->plan = p;
    s->sheet = sheet;
    dp__grid_make(p, sheet, &s->grid);
    size = s->grid.count * sheet->rows;
    s->cache_room = cache_bytes / (size * sizeof(double));
    s->cache = DP__ARRAY(arena, double, s->cache_room * size);
    s->grid_factor = DP__ARRAY(arena, double, s->grid.count * p->leaf_count);
    s->grid_gain = DP__ARRAY(arena, double, s->grid.count);
    s->yy = DP__ARRAY(arena, double, sheet->sets);
    s->trial = DP__ARRAY(arena, dp__trial, DP__BATCH);
    if (!s->cache || !s->grid_factor || !s->grid_gain || !s->yy || !s->trial)
        return AF_ERROR_MEMORY;
    for (lane = 0; lane < DP__LANES; lane++) {
        double *memory = DP__ARRAY(arena, double, dp__scales_size(p, sheet));
        s->sums[lane] = DP__ARRAY(arena, dp__sums, sheet->sets);
        if (!memory || !s->sums[lane]) return AF_ERROR_MEMORY;
        dp__scales_open(&s->lane[lane], p, sheet, memory);
    }
    for (g = 0; g < s->grid.count; g++) {
        double theta[DP_SCALES_MAX];
        dp__grid_point(p, &s->grid, g, theta);
        s->grid_gain[g] = dp__factors(p, theta, s->grid_factor + g * p->leaf_count);
    }
    for (d = 0; d < sheet->sets; d++)
        for (i = sheet->start[d]; i < sheet->start[d + 1]; i++)
            s->yy[d] += sheet->weight[i] * sheet->y[i] * sheet->y[i];
    for (i = 0; i < DP__TOKENS; i++) s->bound[i] = 1.0;
    return AF_OK;
}
