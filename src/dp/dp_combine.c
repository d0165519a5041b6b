/* ---- several functions together -----------------------------------------------------------------
 *
 * What no function of the list is, two or three of them may be. With Y = y/p and q a small power:
 *
 *     sums        Y^q = c_1 f_1 + c_2 f_2 + c_3 f_3 + C
 *     quotients   Y^q = (c_1 f_1 + C)/(1 - c_2 f_2): linear in f_1 and Y^q f_2
 *     products    Y^q = s + A prod x_i^p_i prod f_k^c_k: linear in logarithms
 *
 * s is 0, 1, -1, 1/2, -1/2, a leaf or minus it; x_i are the leaves. With short lists the same is
 * tried for Y/F, F one of the shortest functions. Coefficients and powers follow from linear least
 * squares, so that a pair costs one scalar product: "sure independence screening and sparsifying
 * operator" (Ouyang et al. 2018, Phys. Rev. Materials 2, 083802), here for logarithms, too, where f
 * stands for all x^p f^c, which makes the list far shorter. */

enum {
    DP__TERMS = 3, DP__NUMBERS = DP__TERMS + 1, /* of a combination; its constants */
    DP__ALONE = 1024,  /* the shortest functions, which are paired with all others ... */
    DP__BEST = 512,    /* ... and so are the best alone; pairs to which a third one is added: fewer
                          for long lists, not fewer than one in eight */
    DP__SPARE = 1 << 22, /* pairs that take no time: 20 ms */
    DP__FACTORS = 64, DP__SHORT = 4096, /* functions F; features up to which they are tried */
    DP__PROPOSED = 16, /* of each kind are fitted; the first also if it is bad, where s is a number
                          and there is no F */
    DP__FRONT = 64, DP__ARRAY_BLOCK = 256, /* vectors at a time, and features at a time */
    DP__FEW_ROWS = 32  /* rows that are not enough: 12 columns are fitted to them */
};

typedef struct dp__aim {
    int logs;
    double power, shift; /* q, s or its factor */
    size_t leaf, node;   /* of s, of F; DP__NONE */
} dp__aim;

static const double dp__aims[][3] = { /* logs, q, s */
    {1, 1, 0},   {0, 1, 0},    {0, -1, 0}, {0, 2, 0},   {0, -2, 0}, {0, 0.5, 0},
    {1, 1, 1},   {1, 1, -1},   {1, 1, 0.5}, {1, 1, -0.5}, {1, -1, 1}, {1, -1, -1},
    {1, 2, 1},   {1, 2, -1},   {1, -2, 1}, {1, -2, -1}};
static const double dp__factor_aims[][3] = {{0, 1, 0}, {0, -1, 0}, {1, 1, 1}, {1, 1, -1}};

enum {
    DP__AIMS = sizeof dp__aims / sizeof dp__aims[0],
    DP__SIMPLE_AIMS = 6, /* the first ones: without s */
    DP__FACTOR_AIMS = sizeof dp__factor_aims / sizeof dp__factor_aims[0]
};

/* Functions as unit vectors, less what the columns that are always fitted explain. */
typedef struct dp__pool {
    double *row;      /* (room, m) */
    double *value;    /* (room, m): of sums, as they are */
    uint32_t *node;   /* (room) */
    size_t count, fixed;
    double *column;   /* (1 + leaves, m): those columns, orthonormal */
    dp__seen seen;
} dp__pool;

/* feature k >= the features' count: Y^q times feature k - count. left: squared residual of 1. */
typedef struct dp__combination {
    size_t count, feature[DP__TERMS];
    double left;
} dp__combination;

typedef struct dp__best {
    dp__combination of[DP__BEST];
    size_t count, room;
} dp__best;

typedef struct dp__combiner {
    const dp__plan *plan;
    const dp__nodes *nodes;
    const dp__sheet *sheet;
    size_t symbol[DP__NUMBERS];    /* the constants c_k */
    size_t rows[DP__SHEET_BLOCK], m; /* of the sheet, those with a weight */
    size_t room, done;             /* features of a kind; nodes that were looked at */
    double factor[DP__SHEET_BLOCK]; /* F */
    dp__pool of[2];                /* sums, products */
    double *implicit;              /* (room, m): Y^q f, for sums */
    double *dot;                   /* (2 room): with the aim */
    dp__aim aim;
    double left[DP__SHEET_BLOCK], right[DP__SHEET_BLOCK]; /* Y^q, or its logarithm; a unit vector */
    double sign;                   /* of Y^q - s in the first row */
    dp__best singles, pairs, triples;
    dp__combination alone[DP__ALONE + DP__BEST];
    af_func *products;             /* (DP__ARRAY_BLOCK, m) times (m, DP__FRONT) */
    af_workspace *work;
    double *front, *product;
    double simple[DP__SIMPLE_AIMS][DP__SHEET_BLOCK]; /* aims without s; zero: not finite */
    int measured;
    dp__form_tree *tree;
    dp_formula formula;
    double constant[DP__NUMBERS];
    int (*over)(void *user);       /* 1: no time is left */
    int (*propose)(void *user, const dp_formula *f, const double *constants); /* 1: enough */
    void *user;
} dp__combiner;

/* ---- functions ---- */

/* Less the columns, twice for accuracy; the length left over that before. */
static double dp__less_columns(const double *column, size_t fixed, size_t stride, size_t m,
                               double *v) {
    double before = sqrt(dp__fit_dot(v, v, m));
    size_t k, i;
    int twice;
    for (twice = 0; twice < 2; twice++)
        for (k = 0; k < fixed; k++) {
            double a = dp__fit_dot(v, column + k * stride, m);
            for (i = 0; i < m; i++) v[i] -= a * column[k * stride + i];
        }
    return before > 0.0 ? sqrt(dp__fit_dot(v, v, m)) / before : 0.0;
}

/* Makes the length 1; 0 where less than 1e-7 is left, which is rounding of logarithms. */
static int dp__unit_vector(const double *column, size_t fixed, size_t stride, size_t m, double *v) {
    double length;
    size_t i;
    if (!dp__is_finite(dp__fit_dot(v, v, m)) ||
        !(dp__less_columns(column, fixed, stride, m, v) > 1e-7)) return 0;
    length = sqrt(dp__fit_dot(v, v, m));
    for (i = 0; i < m; i++) v[i] /= length;
    return 1;
}

static void dp__logs(size_t m, const double *from, double *to) {
    size_t i;
    for (i = 0; i < m; i++) to[i] = log(fabs(from[i]));
}

/* A column that is always fitted. */
static void dp__pool_column(dp__pool *f, size_t m) {
    f->fixed += dp__unit_vector(f->column, f->fixed, m, m, f->column + f->fixed * m) ? 1u : 0u;
}

/* One more, if no other is the same but for a factor. */
static void dp__pool_add(dp__pool *f, size_t m, size_t node, const double *value, int logs) {
    double *row = f->row + f->count * m;
    int at = 0;
    double first;
    if (logs) dp__logs(m, value, row);
    else memcpy(row, value, m * sizeof *row);
    if (!dp__unit_vector(f->column, f->fixed, m, m, row)) return;
    if (f->value) memcpy(f->value + f->count * m, value, m * sizeof *row);
    first = dp__first_value(row, 0.0, &at);
    if (first == 0.0 || !dp__seen_add(&f->seen, dp__hash(row, 0.0, first, 20, 1))) return;
    f->node[f->count++] = (uint32_t)node;
}

/* Values in the sheet's rows (m). */
static void dp__combine_run(const dp__combiner *b, const dp__program *p, double *value) {
    double v[DP__SHEET_BLOCK], factor[DP__LEAVES];
    size_t i;
    for (i = 0; i < DP__LEAVES; i++) factor[i] = 1.0;
    dp__program_run(p, b->sheet->leaf, b->sheet->rows, factor, NULL, 0, v);
    for (i = 0; i < b->m; i++) value[i] = v[b->rows[i]];
}

static int dp__combine_value(const dp__combiner *b, size_t node, double *value) {
    dp__program p;
    p.length = 0;
    if (!dp__node_program(b->nodes, node, 0, &p)) return 0;
    dp__combine_run(b, &p, value);
    return 1;
}

/* Nodes that are new become features; in long lists not those that are sums of other ones, or, for
 * logarithms, products. */
static void dp__combine_read(dp__combiner *b, size_t first, size_t end) {
    double value[DP__SHEET_BLOCK];
    size_t k;
    int logs;
    if (b->done < first) b->done = first;
    for (; b->done < end; b->done++) {
        size_t op = b->nodes->op[b->done];
        int sum = op == DP_ADD || op == DP_SUB || op == DP_NEG;
        int product = op == DP_MUL || op == DP_DIV || op == DP_INV || op == DP_SQUARE ||
                      op == DP_SQRT || op == DP_NEG;
        if (!(b->nodes->flags[b->done] & DP__HAS_VARIABLE) ||
            !dp__combine_value(b, b->done, value)) continue;
        for (logs = 0; logs < 2; logs++) {
            k = b->of[logs].count;
            if (k == b->room || (k > (size_t)DP__SHORT && (logs ? product : sum))) continue;
            dp__pool_add(&b->of[logs], b->m, b->done, value, logs);
        }
    }
}

/* (Y/F)^q - s or its logarithm; 0 when it is not finite. */
static int dp__combine_aim(dp__combiner *b) {
    const dp__aim *aim = &b->aim;
    const dp__pool *f = &b->of[aim->logs];
    size_t i;
    if (aim->node != DP__NONE && !dp__combine_value(b, aim->node, b->factor)) return 0;
    for (i = 0; i < b->m; i++) {
        double y = b->sheet->y[b->rows[i]] / b->sheet->prefactor[b->rows[i]], s = aim->shift;
        if (aim->node != DP__NONE) y /= b->factor[i];
        if (aim->leaf != DP__NONE) s *= b->sheet->leaf[aim->leaf * b->sheet->rows + b->rows[i]];
        b->left[i] = pow(y, aim->power) - s;
    }
    b->sign = b->left[0] < 0.0 ? -1.0 : 1.0;
    if (b->aim.logs) dp__logs(b->m, b->left, b->left);
    memcpy(b->right, b->left, b->m * sizeof *b->right);
    return dp__unit_vector(f->column, f->fixed, b->m, b->m, b->right);
}

/* Y^q f for all f of sums; those that are not of use become zero. */
static void dp__combine_implicit(dp__combiner *b) {
    const dp__pool *f = &b->of[0];
    size_t m = b->m, k, i;
    for (k = 0; k < f->count; k++) {
        double *to = b->implicit + k * m;
        const double *from = f->value + k * m;
        for (i = 0; i < m; i++) to[i] = b->left[i] * from[i];
        if (!dp__unit_vector(f->column, f->fixed, m, m, to)) memset(to, 0, m * sizeof *to);
    }
}

/* ---- the best few of all ---- */

static int dp__same_features(const dp__combination *a, const dp__combination *b) {
    size_t i, k;
    for (i = 0; i < a->count; i++) {
        for (k = 0; k < b->count && b->feature[k] != a->feature[i]; k++) {}
        if (k == b->count) return 0;
    }
    return 1;
}

/* Residuals below 1e-11 are rounding: of such ones the first, which is the shortest, is first. */
static void dp__best_put(dp__best *list, const dp__combination *c) {
    dp__combination put = *c;
    size_t k;
    put.left = fmax(put.left, 1e-11);
    if (list->count == list->room && !(put.left < list->of[list->room - 1].left)) return;
    for (k = 0; k < list->count; k++)
        if (dp__same_features(&list->of[k], &put)) return;
    k = list->count < list->room ? list->count++ : list->room - 1;
    for (; k > 0 && put.left < list->of[k - 1].left; k--) list->of[k] = list->of[k - 1];
    list->of[k] = put;
}

static const double *dp__feature(const dp__combiner *b, size_t k) {
    const dp__pool *f = &b->of[b->aim.logs];
    return k < f->count ? f->row + k * b->m : b->implicit + (k - f->count) * b->m;
}

/* A combination that is to get one more: orthonormal e_k of its features, which are columns of
 * `front`, a_k = <aim, e_k>, what they leave of the aim. */
typedef struct dp__stem {
    const dp__combination *of;
    double a[DP__TERMS - 1], left;
    size_t column;
} dp__stem;

static int dp__stem_open(dp__combiner *b, dp__stem *s, const dp__combination *c, size_t column) {
    double e[DP__TERMS - 1][DP__SHEET_BLOCK];
    size_t m = b->m, k, j, i;
    s->of = c;
    s->column = column;
    s->left = 1.0;
    for (k = 0; k < c->count; k++) {
        memcpy(e[k], dp__feature(b, c->feature[k]), m * sizeof(double));
        if (!dp__unit_vector(e[0], k, DP__SHEET_BLOCK, m, e[k])) return 0;
        s->a[k] = dp__fit_dot(b->right, e[k], m);
        s->left -= s->a[k] * s->a[k];
        for (i = 0, j = column + k; i < m; i++) b->front[i * DP__FRONT + j] = e[k][i];
    }
    return 1;
}

/* Feature j has g_k = <j, e_k>; what it can still explain is <aim, j - sum g e>^2/(1 - sum g^2).
 * Below 1e-5 that is left of it, the difference is mostly rounding. */
static void dp__stem_extend(const dp__combiner *b, const dp__stem *s, const double *g, size_t j,
                            dp__best *list) {
    double rest = 1.0, on = b->dot[j];
    size_t k, n = s->of->count;
    dp__combination d;
    for (k = 0; k < n; k++) {
        double gk = g[s->column + k];
        rest -= gk * gk;
        on -= gk * s->a[k];
    }
    if (!(rest > 1e-5)) return;
    d.left = s->left - on * on / rest;
    if (list->count == list->room && !(d.left < list->of[list->room - 1].left)) return;
    memcpy(d.feature, s->of->feature, sizeof d.feature);
    d.count = n + 1;
    d.feature[n] = j;
    dp__best_put(list, &d);
}

/* All stems with all features of one array, whose numbers begin at `number`. */
static void dp__combine_array(dp__combiner *b, const dp__stem *stem, size_t stems,
                              const double *row, size_t count, size_t number, dp__best *list) {
    size_t first, j, k;
    for (first = 0; first < count; first += DP__ARRAY_BLOCK) {
        const void *in[2];
        void *out[1];
        size_t n = count - first < DP__ARRAY_BLOCK ? count - first : (size_t)DP__ARRAY_BLOCK;
        in[0] = row + first * b->m;
        in[1] = b->front;
        out[0] = b->product;
        if (af_run(b->products, b->work, in, out) != AF_OK) return;
        for (j = 0; j < n; j++)
            for (k = 0; k < stems; k++)
                dp__stem_extend(b, &stem[k], b->product + j * DP__FRONT, number + first + j, list);
    }
}

/* Adds one more feature to each of these combinations, which have equally many. */
static void dp__combine_extend(dp__combiner *b, const dp__combination *c, size_t count,
                               dp__best *list) {
    dp__stem stem[DP__FRONT];
    const dp__pool *f = &b->of[b->aim.logs];
    size_t k = 0, stems;
    while (k < count) {
        for (stems = 0; k < count && (stems + 1) * c->count <= (size_t)DP__FRONT; k++)
            stems += dp__stem_open(b, &stem[stems], &c[k], stems * c->count) ? 1u : 0u;
        dp__combine_array(b, stem, stems, f->row, f->count, 0, list);
        if (!b->aim.logs) dp__combine_array(b, stem, stems, b->implicit, f->count, f->count, list);
    }
}

static void dp__combine_search(dp__combiner *b) {
    const dp__pool *f = &b->of[b->aim.logs];
    size_t total = b->aim.logs ? f->count : 2 * f->count, j, alone = 0, few = DP__ALONE;
    size_t part = b->aim.node == DP__NONE ? (size_t)1 : (size_t)8;
    dp__combination c = DP__ZERO;
    while (part < 8 && total * few > (size_t)DP__SPARE * part) part *= 2;
    few /= part;
    b->singles.room = b->pairs.room = DP__BEST / part;
    b->triples.room = DP__BEST / 8;
    b->singles.count = b->pairs.count = b->triples.count = 0;
    if (!b->aim.logs) dp__combine_implicit(b);
    c.count = 1;
    for (j = 0; j < total; j++) {
        b->dot[j] = dp__fit_dot(b->right, dp__feature(b, j), b->m);
        c.feature[0] = j;
        c.left = 1.0 - b->dot[j] * b->dot[j];
        dp__best_put(&b->singles, &c);
        if (j < f->count && j < few) b->alone[alone++] = c;
    }
    for (j = 0; j < b->singles.count; j++)
        if (b->singles.of[j].feature[0] >= alone) b->alone[alone++] = b->singles.of[j];
    dp__combine_extend(b, b->alone, alone, &b->pairs);
    dp__combine_extend(b, b->pairs.of, b->pairs.count, &b->triples);
}

/* ---- coefficients ---- */

enum { DP__COLUMNS = DP__LEAVES + 1 + DP__TERMS };

/* v = sum_k x_k a_k (count) by Gram and Schmidt, twice; a is destroyed. 0 when they depend. */
static int dp__columns_solve(size_t m, size_t count, double *a, const double *v, double *x) {
    double r[DP__COLUMNS][DP__COLUMNS], rest[DP__SHEET_BLOCK];
    size_t k, j, i;
    int twice;
    memset(r, 0, sizeof r);
    memcpy(rest, v, m * sizeof *rest);
    for (k = 0; k < count; k++) {
        double *ak = a + k * m;
        for (twice = 0; twice < 2; twice++)
            for (j = 0; j < k; j++) {
                double g = dp__fit_dot(ak, a + j * m, m);
                r[j][k] += g;
                for (i = 0; i < m; i++) ak[i] -= g * a[j * m + i];
            }
        r[k][k] = sqrt(dp__fit_dot(ak, ak, m));
        if (!(r[k][k] > 0.0)) return 0;
        for (i = 0; i < m; i++) ak[i] /= r[k][k];
        x[k] = dp__fit_dot(ak, rest, m);
        for (i = 0; i < m; i++) rest[i] -= x[k] * ak[i];
    }
    for (k = count; k-- > 0;) {
        for (j = k + 1; j < count; j++) x[k] -= r[k][j] * x[j];
        x[k] /= r[k][k];
    }
    return dp__is_finite(dp__fit_dot(x, x, count));
}

static int dp__leaf_varies(const dp__combiner *b, size_t leaf) {
    size_t symbol = b->plan->leaf[leaf].symbol, i;
    if (symbol == DP__NONE || b->plan->symbols[symbol].kind != DP_VARIABLE) return 0;
    for (i = 0; i < b->m; i++)
        if (b->sheet->leaf[leaf * b->sheet->rows + b->rows[i]] == 0.0) return 0;
    return 1;
}

/* x: of the features, of 1, and of the logarithms of the leaves that vary. */
static int dp__combine_solve(const dp__combiner *b, const dp__combination *c, double *x) {
    double a[DP__COLUMNS * DP__SHEET_BLOCK], *to = a;
    const dp__pool *f = &b->of[b->aim.logs];
    size_t m = b->m, k, i, l;
    for (k = 0; k < c->count; k++, to += m) {
        int implicit = c->feature[k] >= f->count;
        if (!dp__combine_value(b, f->node[c->feature[k] - (implicit ? f->count : 0)], to)) return 0;
        if (b->aim.logs) dp__logs(m, to, to);
        for (i = 0; i < m && implicit; i++) to[i] *= b->left[i];
    }
    for (i = 0; i < m; i++) to[i] = 1.0;
    for (l = 0, to += m; b->aim.logs && l < b->plan->leaf_count; l++) {
        if (!dp__leaf_varies(b, l)) continue;
        for (i = 0; i < m; i++)
            to[i] = log(fabs(b->sheet->leaf[l * b->sheet->rows + b->rows[i]]));
        to += m;
    }
    return dp__columns_solve(m, (size_t)(to - a) / m, a, b->left, x);
}

/* ---- the formula ---- */

/* op of two nodes of the tree; DP__NONE is no term, no factor. */
static size_t dp__join(dp__form_tree *t, size_t op, size_t a, size_t b) {
    size_t node;
    if (b == DP__NONE) return a;
    if (a == DP__NONE && (op == DP_ADD || op == DP_MUL)) return b;
    if (a == DP__NONE)
        node = dp__tree_put(t, op == DP_SUB ? DP_NEG : DP_INV, b, b);
    else node = dp__tree_put(t, op, a, b);
    if (node == DP__NONE) t->full = 1;
    return node;
}

/* node^n, n > 0. */
static size_t dp__tree_whole(dp__form_tree *t, size_t node, int n) {
    size_t half;
    if (n == 1 || t->full) return node;
    if (n % 2) return dp__join(t, DP_MUL, node, dp__tree_whole(t, node, n - 1));
    half = dp__tree_whole(t, node, n / 2);
    half = half == DP__NONE ? half : dp__tree_put(t, DP_SQUARE, half, half);
    if (half == DP__NONE) t->full = 1;
    return half;
}

/* A constant's place in the formula, which becomes the next one's. */
static size_t dp__combine_constant(dp__combiner *b, size_t *used, double value) {
    if (fabs(value - 1.0) < 1e-9) return dp__tree_put(b->tree, DP__STEP_LEAF,
                                                      b->plan->leaf_count - 1, 0);
    b->constant[*used] = value;
    return dp__tree_put(b->tree, DP__STEP_LEAF, b->plan->leaf_count + (*used)++, 0);
}

/* sum + value term (term DP__NONE: 1); factors 1 and -1 are not written. */
static size_t dp__combine_term(dp__combiner *b, size_t sum, size_t *used, double value,
                               size_t term) {
    if (term == DP__NONE) {
        int minus = fabs(value + 1.0) < 1e-9;
        if (fabs(value) < 1e-10) return sum;
        term = dp__combine_constant(b, used, minus ? 1.0 : value);
        return dp__join(b->tree, minus ? DP_SUB : DP_ADD, sum, term);
    }
    if (fabs(value + 1.0) < 1e-9) return dp__join(b->tree, DP_SUB, sum, term);
    if (fabs(value - 1.0) >= 1e-9)
        term = dp__join(b->tree, DP_MUL, dp__combine_constant(b, used, value), term);
    return dp__join(b->tree, DP_ADD, sum, term);
}

/* Multiplies above or below the line by node^power; 0 when that is no quarter of a whole number. */
static int dp__combine_factor(dp__form_tree *t, size_t line[2], size_t node, double power) {
    int quarters = (int)floor(4.0 * fabs(power) + 0.5), roots = 0;
    if (fabs(power) > 8.0 || fabs(4.0 * fabs(power) - quarters) > 0.02) return 0;
    if (!quarters) return 1;
    while (quarters % 4 && roots < 2) {
        roots++;
        quarters *= 2;
    }
    node = dp__tree_whole(t, node, quarters / 4);
    while (roots-- && node != DP__NONE) node = dp__tree_put(t, DP_SQRT, node, node);
    if (node == DP__NONE) t->full = 1;
    line[power < 0.0] = dp__join(t, DP_MUL, line[power < 0.0], node);
    return !t->full;
}

/* The sign of the first row's value to a power. */
static double dp__row_sign(double value, double power) {
    return value < 0.0 && fabs(fmod(floor(power + 0.5), 2.0)) > 0.5 ? -1.0 : 1.0;
}

/* s + A prod x^p prod f^c; exp to a power that is no such number is exp(c ...). */
static size_t dp__combine_product(dp__combiner *b, const dp__combination *c, const double *x) {
    dp__form_tree *t = b->tree;
    size_t line[2] = {DP__NONE, DP__NONE}, k, l, used = 0, at = c->count + 1, node;
    double gain = b->sign * exp(x[c->count]);
    for (k = 0; k < c->count; k++) {
        double value[DP__SHEET_BLOCK];
        size_t f = b->of[1].node[c->feature[k]];
        if (!dp__combine_value(b, f, value)) return DP__NONE;
        node = dp__tree_add(t, b->nodes, f);
        if (node == DP__NONE) return node;
        gain *= dp__row_sign(value[0], x[k]);
        if (dp__combine_factor(t, line, node, x[k])) continue;
        if (t->full || b->nodes->op[f] != DP_EXP) return DP__NONE;
        node = dp__join(t, DP_MUL, dp__combine_constant(b, &used, x[k]), t->node[node].left);
        node = t->full ? DP__NONE : dp__tree_put(t, DP_EXP, node, node);
        if (node == DP__NONE) return node;
        line[0] = dp__join(t, DP_MUL, line[0], node);
    }
    for (l = 0; l < b->plan->leaf_count; l++) {
        if (!dp__leaf_varies(b, l)) continue;
        gain *= dp__row_sign(b->sheet->leaf[l * b->sheet->rows + b->rows[0]], x[at]);
        node = dp__tree_put(t, DP__STEP_LEAF, l, 0);
        if (node == DP__NONE || !dp__combine_factor(t, line, node, x[at++])) return DP__NONE;
    }
    node = dp__join(t, DP_DIV, line[0], line[1]);
    if (node == DP__NONE || t->full) return DP__NONE;
    node = dp__combine_term(b, DP__NONE, &used, gain, node);
    k = b->aim.leaf == DP__NONE ? b->aim.leaf : dp__tree_put(t, DP__STEP_LEAF, b->aim.leaf, 0);
    return dp__combine_term(b, node, &used, b->aim.shift, k);
}

/* The sum, over 1 less what goes with Y^q. */
static size_t dp__combine_sum(dp__combiner *b, const dp__combination *c, const double *x) {
    dp__form_tree *t = b->tree;
    const dp__pool *f = &b->of[0];
    size_t line[2] = {DP__NONE, DP__NONE}, k, used = 0, below = 0;
    for (k = 0; k < c->count; k++) below += c->feature[k] >= f->count ? 1u : 0u;
    if (below) line[1] = dp__combine_term(b, line[1], &used, 1.0, DP__NONE);
    for (k = 0; k < c->count; k++) {
        int implicit = c->feature[k] >= f->count;
        size_t node = dp__tree_add(t, b->nodes, f->node[c->feature[k] - (implicit ? f->count : 0)]);
        if (node == DP__NONE) return node;
        line[implicit] = dp__combine_term(b, line[implicit], &used, implicit ? -x[k] : x[k], node);
    }
    line[0] = dp__combine_term(b, line[0], &used, x[c->count], DP__NONE);
    return line[0] == DP__NONE ? line[0] : dp__join(t, DP_DIV, line[0], line[1]);
}

/* The formula of a combination with its constants, to the caller; 1: enough. */
static int dp__combine_propose(dp__combiner *b, const dp__combination *c) {
    double x[DP__COLUMNS];
    dp__form_tree *t = b->tree;
    size_t root, k, line[2] = {DP__NONE, DP__NONE};
    if (!dp__combine_solve(b, c, x)) return 0;
    dp__form_open(t, b->plan, &b->formula);
    for (k = 0; k < DP__NUMBERS; k++) b->constant[k] = 1.0;
    root = b->aim.logs ? dp__combine_product(b, c, x) : dp__combine_sum(b, c, x);
    if (root == DP__NONE || t->full) return 0;
    if (!dp__combine_factor(t, line, root, 1.0 / b->aim.power)) return 0;
    if (b->aim.node != DP__NONE)
        line[0] = dp__join(t, DP_MUL, line[0], dp__tree_add(t, b->nodes, b->aim.node));
    root = dp__join(t, DP_DIV, line[0], line[1]);
    return !t->full && dp__form_finish(t, root, 0, 0) &&
           b->propose(b->user, &b->formula, b->constant);
}

static int dp__combine_list(dp__combiner *b, const dp__best *list) {
    size_t k;
    int plain = b->aim.node == DP__NONE && b->aim.leaf == DP__NONE;
    for (k = 0; k < list->count && k < (size_t)DP__PROPOSED; k++)
        if (((k == 0 && plain) || list->of[k].left < 1e-9) &&
            dp__combine_propose(b, &list->of[k])) return 1;
    return 0;
}

static void dp__aim_set(dp__combiner *b, const double aim[3], size_t leaf, size_t node) {
    b->aim.logs = aim[0] > 0.5;
    b->aim.power = aim[1];
    b->aim.shift = aim[2];
    b->aim.leaf = leaf;
    b->aim.node = node;
}

/* One aim; 1: enough. */
static int dp__combine_one(dp__combiner *b, const double aim[3], size_t leaf, size_t node) {
    dp__aim_set(b, aim, leaf, node);
    if (!dp__combine_aim(b)) return 0;
    dp__combine_search(b);
    return dp__combine_list(b, &b->singles) || dp__combine_list(b, &b->pairs) ||
           dp__combine_list(b, &b->triples) || b->over(b->user);
}

/* Looks among the nodes [first, end); 1: enough. */
static int dp__combine(dp__combiner *b, size_t first, size_t end) {
    size_t k, l;
    dp__combine_read(b, first, end);
    for (k = 0; k < (size_t)DP__AIMS; k++)
        if (dp__combine_one(b, dp__aims[k], DP__NONE, DP__NONE)) return 1;
    for (l = 0; l < b->plan->leaf_count; l++)
        for (k = 0; k < 2 && dp__leaf_varies(b, l); k++)
            if (dp__combine_one(b, dp__factor_aims[2 + k], l, DP__NONE)) return 1;
    for (l = 0; b->of[0].count <= (size_t)DP__SHORT && l < (size_t)DP__FACTORS; l++)
        for (k = 0; k < (size_t)DP__FACTOR_AIMS && l < b->of[1].count; k++)
            if (dp__combine_one(b, dp__factor_aims[k], DP__NONE, b->of[0].node[l])) return 1;
    return 0;
}

/* How near one function comes to any aim without s: the residual, 0 ... 1; *product: to logarithms.
 * The aims' vectors are made at the first call. */
static double dp__combine_measure(dp__combiner *b, const dp__program *p, int *product) {
    double value[DP__SHEET_BLOCK], v[DP__SHEET_BLOCK], left = 1.0;
    size_t k;
    int logs;
    for (k = 0; k < (size_t)DP__SIMPLE_AIMS && !b->measured; k++) {
        dp__aim_set(b, dp__aims[k], DP__NONE, DP__NONE);
        if (dp__combine_aim(b)) memcpy(b->simple[k], b->right, sizeof b->right);
    }
    b->measured = 1;
    dp__combine_run(b, p, value);
    for (logs = 0; logs < 2; logs++) {
        const dp__pool *f = &b->of[logs];
        if (logs) dp__logs(b->m, value, v);
        else memcpy(v, value, b->m * sizeof *v);
        if (!dp__unit_vector(f->column, f->fixed, b->m, b->m, v)) continue;
        for (k = 0; k < (size_t)DP__SIMPLE_AIMS; k++) {
            double on = dp__fit_dot(v, b->simple[k], b->m);
            if ((dp__aims[k][0] > 0.5) != logs || !(1.0 - on * on < left)) continue;
            left = 1.0 - on * on;
            *product = logs;
        }
    }
    return sqrt(fmax(left, 0.0));
}

/* ---- the object ---- */

static af_status dp__combine_products(dp__combiner *b, af_context *c) {
    af_expr in[2], out;
    af_func_desc d = DP__ZERO;
    size_t dims[2];
    af_status status;
    dims[0] = DP__ARRAY_BLOCK;
    dims[1] = b->m;
    in[0] = af_input(c, "functions", 2, dims);
    dims[0] = b->m;
    dims[1] = DP__FRONT;
    in[1] = af_input(c, "combinations", 2, dims);
    out = af_matmul(c, in[0], in[1]);
    d.inputs = in;
    d.input_count = 2;
    d.outputs = &out;
    d.output_count = 1;
    d.backend = af_backend_cpu(); /* too small for a device */
    d.label = "combinations of functions";
    status = af_compile(c, &d, &b->products);
    return status == AF_OK ? af_workspace_create(b->products, 1, &b->work) : status;
}

/* Functions that fit into so many bytes; 0 rows: too few points for combinations. */
static af_status dp__combine_open(dp__combiner *b, af_context *c, dp__arena *arena, size_t bytes) {
    size_t i, k, l, m = 0, size;
    for (i = 0; i < b->sheet->rows && m < DP__SHEET_BLOCK; i++)
        if (b->sheet->weight[i] > 0.0) b->rows[m++] = i;
    b->m = m > (size_t)DP__FEW_ROWS ? m : 0;
    if (!b->m) return AF_OK;
    b->room = bytes / (4 * m * sizeof(double) + 64);
    size = (b->room + DP__ARRAY_BLOCK) * m; /* blocks are read whole */
    b->implicit = DP__ARRAY(arena, double, size);
    b->dot = DP__ARRAY(arena, double, 2 * b->room);
    b->tree = DP__NEW(arena, dp__form_tree);
    b->front = DP__ARRAY(arena, double, m * DP__FRONT);
    b->product = DP__ARRAY(arena, double, DP__ARRAY_BLOCK * DP__FRONT);
    if (!b->implicit || !b->dot || !b->tree || !b->front || !b->product ||
        dp__combine_products(b, c) != AF_OK) return AF_ERROR_MEMORY;
    for (k = 0; k < 2; k++) {
        dp__pool *f = &b->of[k];
        size_t room = 1;
        while (room < 2 * b->room) room *= 2; /* half full at most */
        f->row = DP__ARRAY(arena, double, size);
        f->node = DP__ARRAY(arena, uint32_t, b->room);
        if (!k && !(f->value = DP__ARRAY(arena, double, size))) return AF_ERROR_MEMORY;
        f->column = DP__ARRAY(arena, double, (DP__LEAVES + 2) * m);
        if (!f->row || !f->node || !f->column || dp__seen_grow(c, &f->seen, room) != AF_OK)
            return AF_ERROR_MEMORY;
        for (i = 0; i < m; i++) f->column[i] = 1.0;
        dp__pool_column(f, m);
        for (l = 0; k && l < b->plan->leaf_count; l++) {
            double *to = f->column + f->fixed * m;
            if (!dp__leaf_varies(b, l)) continue;
            for (i = 0; i < m; i++)
                to[i] = log(fabs(b->sheet->leaf[l * b->sheet->rows + b->rows[i]]));
            dp__pool_column(f, m);
        }
    }
    return AF_OK;
}

static void dp__combine_close(dp__combiner *b) {
    af_workspace_destroy(b->work);
    af_func_destroy(b->products);
    b->work = NULL;
    b->products = NULL;
    dp__arena_free(&b->of[0].seen.arena);
    dp__arena_free(&b->of[1].seen.arena);
}
