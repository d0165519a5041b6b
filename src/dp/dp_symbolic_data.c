/* ---- the data of a search -----------------------------------------------------------------------
 *
 * Leaves and p for some or all rows, where constants to be searched are 1. */

typedef struct dp__points {
    const dp__plan *plan;
    const dp_data_set *sets;
    size_t set_count, n; /* points of all sets */
    double variance;     /* weighted, of y */
    double weight;       /* the sum */
} dp__points;

static double dp__data_weight(const dp_data_set *s, size_t row) {
    return s->weights ? s->weights[row] : 1.0;
}

static af_status dp__data_check_set(af_context *c, const dp__plan *p, const dp_data_set *s,
                                    size_t number) {
    size_t i, k, v = 0;
    if (!s->n || !s->y || (!s->columns && dp_vocabulary_count(&p->v, DP_VARIABLE)))
        return af_fail(c, AF_ERROR_DATA, "data set %zu has no points or no columns", number + 1);
    for (i = 0; i < s->n; i++)
        if (!dp__is_finite(s->y[i]) || !dp__is_finite(dp__data_weight(s, i)) ||
            dp__data_weight(s, i) < 0.0)
            return af_fail(c, AF_ERROR_DATA,
                           "data set %zu, point %zu: y is %g, its weight %g: both must be finite, "
                           "weights not below zero", number + 1, i + 1, s->y[i],
                           dp__data_weight(s, i));
    for (k = 0; k < p->v.symbol_count; k++) {
        if (p->symbols[k].kind != DP_VARIABLE) continue;
        for (i = 0; i < s->n; i++)
            if (!s->columns[v] || !dp__is_finite(s->columns[v][i]))
                return af_fail(c, AF_ERROR_DATA, "data set %zu, point %zu: %s is not finite",
                               number + 1, i + 1, p->symbols[k].name);
        v++;
    }
    return AF_OK;
}

static af_status dp__data_check(af_context *c, dp__points *d) {
    double sum = 0.0, mean = 0.0, scale = 0.0;
    size_t s, i;
    af_status status;
    for (s = 0; s < d->set_count; s++) {
        status = dp__data_check_set(c, d->plan, &d->sets[s], s);
        if (status != AF_OK) return status;
        d->n += d->sets[s].n;
        for (i = 0; i < d->sets[s].n; i++) {
            d->weight += dp__data_weight(&d->sets[s], i);
            sum += dp__data_weight(&d->sets[s], i) * d->sets[s].y[i];
            scale = fmax(scale, fabs(d->sets[s].y[i]));
        }
    }
    if (!(d->weight > 0.0)) return af_fail(c, AF_ERROR_DATA, "the weights of all points are zero");
    mean = sum / d->weight;
    for (s = 0; s < d->set_count; s++)
        for (i = 0; i < d->sets[s].n; i++) {
            double off = d->sets[s].y[i] - mean;
            d->variance += dp__data_weight(&d->sets[s], i) * off * off / d->weight;
        }
    if (!(d->variance > 1e-28 * scale * scale) || !dp__is_finite(d->variance))
        return af_fail(c, AF_ERROR_DATA,
                       "y is %g at all points, or beyond what a double's square holds: there is "
                       "no function to be found", mean);
    return AF_OK;
}

/* The symbol in this row, raised; constants that are searched are 1. */
static double dp__data_symbol(const dp__points *d, const dp_data_set *set, size_t row,
                              size_t symbol, double power) {
    const dp__plan *p = d->plan;
    const dp_symbol *s = &p->symbols[symbol];
    double value = dp__start_value(s);
    size_t k;
    if (power == 0.0 || symbol == p->amplitude) return 1.0;
    for (k = 0; k < p->scale_count; k++)
        if (p->scale[k] == symbol) return 1.0;
    if (s->kind == DP_VARIABLE) {
        size_t column = 0;
        for (k = 0; k < symbol; k++) column += p->symbols[k].kind == DP_VARIABLE;
        value = set->columns[column][row];
    }
    return power == 1.0 ? value : pow(value, power);
}

static double dp__data_powers(const dp__points *d, const dp_data_set *set, size_t row,
                              const dp__ratio *power) {
    double product = 1.0;
    size_t j;
    for (j = 0; j < d->plan->basis_count; j++)
        product *= dp__data_symbol(d, set, row, d->plan->basis[j], dp__ratio_value(power[j]));
    return product;
}

static void dp__sheet_row(const dp__points *d, dp__sheet *sheet, size_t to, const dp_data_set *set,
                          size_t row, double weight) {
    const dp__plan *p = d->plan;
    size_t l;
    for (l = 0; l < p->leaf_count; l++) {
        size_t symbol = p->leaf[l].symbol;
        double up = symbol == DP__NONE ? 1.0 : dp__data_symbol(d, set, row, symbol, 1.0);
        sheet->leaf[l * sheet->rows + to] = up / dp__data_powers(d, set, row, p->leaf[l].power);
    }
    sheet->prefactor[to] = dp__data_powers(d, set, row, p->target);
    sheet->y[to] = set->y[row];
    sheet->weight[to] = weight;
}

/* `wanted` of the n points, one at random of each of so many equal parts in their order; all when
 * wanted >= n. */
static af_status dp__sheet_make(const dp__points *d, dp__arena *arena, size_t wanted,
                                dp__sheet *out) {
    size_t m = wanted < d->n ? wanted : d->n, i, set = 0, before = 0, last = 0;
    double sum = 0.0;
    out->rows = (m + DP__SHEET_BLOCK - 1) / DP__SHEET_BLOCK * DP__SHEET_BLOCK;
    out->sets = d->set_count;
    out->start = DP__ARRAY(arena, size_t, d->set_count + 1);
    out->leaf = DP__ARRAY(arena, double, d->plan->leaf_count * out->rows);
    out->prefactor = DP__ARRAY(arena, double, out->rows);
    out->y = DP__ARRAY(arena, double, out->rows);
    out->weight = DP__ARRAY(arena, double, out->rows);
    if (!out->start || !out->leaf || !out->prefactor || !out->y || !out->weight)
        return AF_ERROR_MEMORY;
    for (i = 0; i < m; i++) {
        double u = m < d->n ? af_random_uniform(1, 0, i) : 0.0, w;
        size_t at = (size_t)(((double)i + u) * ((double)d->n / (double)m));
        at = at < d->n ? at : d->n - 1;
        while (at - before >= d->sets[set].n) {
            before += d->sets[set].n;
            out->start[++set] = i;
        }
        last = at - before;
        w = dp__data_weight(&d->sets[set], last);
        sum += w;
        dp__sheet_row(d, out, i, &d->sets[set], last, w);
    }
    while (set < d->set_count) out->start[++set] = out->rows;
    for (; i < out->rows; i++) dp__sheet_row(d, out, i, &d->sets[d->set_count - 1], 0, 0.0);
    out->unit = sum * d->variance;
    return sum > 0.0 ? AF_OK : AF_ERROR_DATA;
}

/* ---- where scales are looked for ---- */

typedef struct dp__grid {
    size_t leaf[DP_SCALES_MAX];             /* that the scale brings near 1 */
    double low[DP_SCALES_MAX], high[DP_SCALES_MAX]; /* of ln of the leaf's factor */
    size_t each, count;                     /* points for a scale, points in all */
} dp__grid;

/* Within twice the range that brings some row's leaf to 1; a factor of 10 for constants. */
static void dp__grid_range(const dp__sheet *s, size_t leaf, int constant, double *low,
                           double *high) {
    size_t i;
    *low = HUGE_VAL;
    *high = -HUGE_VAL;
    for (i = 0; i < s->rows && !constant; i++) {
        double x = fabs(s->leaf[leaf * s->rows + i]);
        if (!(x > 0.0)) continue;
        *low = fmin(*low, -log(x));
        *high = fmax(*high, -log(x));
    }
    if (!(*low <= *high)) *low = *high = 0.0;
    *low -= log(constant ? 10.0 : 2.0);
    *high += log(constant ? 10.0 : 2.0);
}

static void dp__grid_make(const dp__plan *p, const dp__sheet *s, dp__grid *g) {
    static const size_t each[DP_SCALES_MAX + 1] = {1, 12, 6, 4, 3};
    size_t k, j, l;
    int pass;
    g->each = each[p->scale_count];
    g->count = 1;
    for (k = 0; k < p->scale_count; k++) {
        g->leaf[k] = DP__NONE;
        for (pass = 0; pass < 3 && g->leaf[k] == DP__NONE; pass++)
            for (l = 0; l + 1 < p->leaf_count && g->leaf[k] == DP__NONE; l++) {
                int own = p->leaf[l].symbol == p->scale[k];
                int variable = p->symbols[p->leaf[l].symbol].kind == DP_VARIABLE;
                for (j = 0; j < k && g->leaf[j] != l; j++) {}
                if (p->power[l][k] != 0.0 && (j == k || pass == 2) &&
                    (pass == 0 ? own : pass == 1 ? variable : 1)) g->leaf[k] = l;
            }
        l = g->leaf[k];
        dp__grid_range(s, l, p->symbols[p->leaf[l].symbol].kind != DP_VARIABLE, &g->low[k],
                       &g->high[k]);
        g->count *= g->each;
    }
}

/* ln(scale) where u (scale_count), in 0..1, says how far in the range of each. */
static void dp__grid_theta(const dp__plan *p, const dp__grid *g, const double *u, double *theta) {
    size_t k, j;
    for (k = 0; k < p->scale_count; k++) {
        double x = g->low[k] + u[k] * (g->high[k] - g->low[k]);
        for (j = 0; j < k; j++) x -= p->power[g->leaf[k]][j] * theta[j];
        theta[k] = x / p->power[g->leaf[k]][k];
    }
}

static void dp__grid_point(const dp__plan *p, const dp__grid *g, size_t point, double *theta) {
    double u[DP_SCALES_MAX];
    size_t k;
    for (k = 0; k < p->scale_count; k++, point /= g->each)
        u[k] = ((double)(point % g->each) + 0.5) / (double)g->each;
    dp__grid_theta(p, g, u, theta);
}
