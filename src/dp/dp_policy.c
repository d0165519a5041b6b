/* ---- a formula token by token: what may come next -----------------------------------------------
 *
 * Where the next token goes, need[k] is the fewest tokens that all other open places take when the
 * part begun here gets units k (a number of the table of reachable units): for the root 0 at the
 * target and "far" elsewhere, for arguments it follows from the operator above. To it is added the
 * fewest tokens of a part with units k that begins with a given token: the token is possible when
 * for some k the sum is within the tokens that are left. So every formula that is begun can be
 * ended, with right units.
 *
 * Parts have units of the table only: the DP__POLICY_KINDS that take fewest tokens. */

enum {
    DP__POLICY_KINDS = 512,
    DP__POLICY_FAR = 100,    /* tokens; above DP_FORMULA_MAX, and twice that fits into a byte */
    DP__POLICY_NONE = 0xffff,
    DP__POLICY_CHOICES = DP_OPERATORS + DP_SYMBOLS_MAX
};

/* Logarithms of prior probabilities: of what is not possible (its exp is 0 in f32), of what is of
 * no use (f32's epsilon, as published), and the least of all products of them. */
#define DP__POLICY_NEVER (-1e4f)
#define DP__POLICY_USELESS (-15.94f)
#define DP__POLICY_LEAST (-40.0f)

typedef struct dp__policy_grammar {
    const dp_vocabulary *v;
    size_t shortest, longest;      /* tokens */
    double centre, spread;         /* of the prior for the length */
    size_t choices;                /* tokens that may be used */
    uint8_t token[DP__POLICY_CHOICES], choice[DP__POLICY_CHOICES]; /* by choice; by token */
    size_t kinds;
    size_t zero, target;           /* units; zero may be DP__POLICY_NONE */
    uint16_t symbol[DP_SYMBOLS_MAX];
    dp_units *units;               /* (kinds) */
    uint8_t *least;                /* (kinds) fewest tokens */
    uint8_t *least_with;           /* (DP_OPERATORS, kinds) the same with this operator first */
    uint16_t *of_one;              /* (DP_OPERATORS, kinds) units of op(x) by those of x */
    uint16_t *product, *ratio;     /* (kinds, kinds) */
    uint8_t *factor, *divisor;     /* (kinds, kinds) [u, w]: fewest tokens of x in u = w x, w/x */
    uint16_t *power;               /* (symbols, kinds) units of x^symbol */
} dp__policy_grammar;

/* ---- tables ---- */

static size_t dp__policy_find(const dp_reach *r, size_t kinds, const dp__reach_key *a,
                              double factor, const dp__reach_key *b, double sign) {
    dp__reach_key key;
    size_t entry;
    if (!dp__reach_combine(a, factor, b, sign, &key)) return DP__POLICY_NONE;
    entry = r->slots[dp__reach_slot(r, &key)];
    return entry > 0 && entry <= kinds ? entry - 1 : (size_t)DP__POLICY_NONE;
}

static size_t dp__policy_find_units(const dp_reach *r, size_t kinds, const dp_units *u) {
    dp_units none = DP__ZERO;
    dp__reach_key key = dp__reach_round(r->v->no_units ? &none : u);
    return dp__policy_find(r, kinds, &key, 1.0, &key, 0.0);
}

static uint8_t dp__policy_sum(size_t a, size_t b) {
    return (uint8_t)(a + b < DP__POLICY_FAR ? a + b : (size_t)DP__POLICY_FAR);
}

static void dp__policy_lower(uint8_t *a, size_t b) {
    if (b < *a) *a = (uint8_t)b;
}

/* The power that an operator of one argument raises units to; 0: it takes none. */
static double dp__policy_exponent(size_t op) {
    switch ((dp_operator)op) {
    case DP_NEG:
    case DP_ABS: return 1.0;
    case DP_INV: return -1.0;
    case DP_SQUARE: return 2.0;
    case DP_CUBE: return 3.0;
    case DP_SQRT: return 0.5;
    default: return 0.0;
    }
}

static void dp__policy_fill_one(dp__policy_grammar *g, const dp_reach *r) {
    size_t op, k, s;
    for (op = DP_NEG; op < DP_OPERATORS; op++)
        for (k = 0; k < g->kinds; k++) {
            double e = dp__policy_exponent(op);
            size_t u = k == g->zero ? k : (size_t)DP__POLICY_NONE;
            if (e != 0.0) u = dp__policy_find(r, g->kinds, r->keys + k, e, r->keys + k, 0.0);
            g->of_one[op * g->kinds + k] = (uint16_t)u;
        }
    for (s = 0; s < g->v->symbol_count; s++)
        for (k = 0; k < g->kinds; k++) {
            const dp_symbol *symbol = g->v->symbols + s;
            size_t u = DP__POLICY_NONE;
            if (symbol->kind == DP_FIXED && g->symbol[s] == g->zero)
                u = dp__policy_find(r, g->kinds, r->keys + k, symbol->value, r->keys + k, 0.0);
            g->power[s * g->kinds + k] = (uint16_t)u;
        }
}

static void dp__policy_fill_two(dp__policy_grammar *g, const dp_reach *r) {
    size_t n = g->kinds, a, b, i;
    for (a = 0; a < n; a++)
        for (b = 0; b < n; b++) {
            const dp__reach_key *ka = r->keys + a, *kb = r->keys + b;
            g->product[a * n + b] = (uint16_t)dp__policy_find(r, n, ka, 1.0, kb, 1.0);
            g->ratio[a * n + b] = (uint16_t)dp__policy_find(r, n, ka, 1.0, kb, -1.0);
        }
    for (a = 0; a < n; a++)
        for (b = 0; b < n; b++) {
            i = a * n + b; /* a = b x: x = a/b; a = b/x: x = b/a */
            g->factor[i] = g->ratio[i] == DP__POLICY_NONE ? (uint8_t)DP__POLICY_FAR
                                                          : g->least[g->ratio[i]];
            g->divisor[i] = g->ratio[b * n + a] == DP__POLICY_NONE ? (uint8_t)DP__POLICY_FAR
                                                                   : g->least[g->ratio[b * n + a]];
        }
}

/* Fewest tokens with an operator of two arguments first. */
static void dp__policy_least_two(dp__policy_grammar *g, size_t op, uint8_t *least) {
    size_t n = g->kinds, u, w, s;
    const uint8_t *other = op == DP_MUL ? g->factor : g->divisor;
    for (u = 0; u < n; u++) {
        if (op == DP_ADD || op == DP_SUB) least[u] = dp__policy_sum(1, 2u * g->least[u]);
        if (op != DP_MUL && op != DP_DIV) continue;
        for (w = 0; w < n; w++)
            dp__policy_lower(&least[u], (size_t)1 + g->least[w] + other[u * n + w]);
    }
    if (op != DP_POW) return;
    if (g->zero != DP__POLICY_NONE)
        least[g->zero] = dp__policy_sum(1, 2u * g->least[g->zero]);
    for (s = 0; s < g->v->symbol_count; s++)
        for (w = 0; w < n; w++) {
            u = g->power[s * n + w];
            if (u != DP__POLICY_NONE) dp__policy_lower(&least[u], (size_t)2 + g->least[w]);
        }
}

static void dp__policy_fill_least(dp__policy_grammar *g) {
    size_t op, w, n = g->kinds;
    for (op = 0; op < DP_OPERATORS; op++) {
        uint8_t *least = g->least_with + op * n;
        memset(least, DP__POLICY_FAR, n);
        if (!dp__operator_allowed(g->v, (dp_operator)op)) continue;
        if (op <= DP_POW) {
            dp__policy_least_two(g, op, least);
            continue;
        }
        for (w = 0; w < n; w++) {
            size_t u = g->of_one[op * n + w];
            if (u != DP__POLICY_NONE) dp__policy_lower(&least[u], (size_t)1 + g->least[w]);
        }
    }
}

static int dp__policy_memory(dp__policy_grammar *g, dp__arena *arena) {
    size_t n = g->kinds;
    g->units = DP__ARRAY(arena, dp_units, n);
    g->least = DP__ARRAY(arena, uint8_t, n);
    g->least_with = DP__ARRAY(arena, uint8_t, DP_OPERATORS * n);
    g->of_one = DP__ARRAY(arena, uint16_t, DP_OPERATORS * n);
    g->product = DP__ARRAY(arena, uint16_t, n * n);
    g->ratio = DP__ARRAY(arena, uint16_t, n * n);
    g->factor = DP__ARRAY(arena, uint8_t, n * n);
    g->divisor = DP__ARRAY(arena, uint8_t, n * n);
    g->power = DP__ARRAY(arena, uint16_t, g->v->symbol_count * n);
    return g->units && g->least && g->least_with && g->of_one && g->product && g->ratio &&
           g->factor && g->divisor && g->power;
}

static void dp__policy_choices(dp__policy_grammar *g) {
    size_t t;
    for (t = 0; t < DP_OPERATORS + g->v->symbol_count; t++) {
        if (t < DP_OPERATORS && !dp__operator_allowed(g->v, (dp_operator)t)) continue;
        g->choice[t] = (uint8_t)g->choices;
        g->token[g->choices++] = (uint8_t)t;
    }
}

/* Tables for formulas of v of up to g->longest tokens; the arena is the caller's. */
static af_status dp__policy_grammar_open(af_context *c, dp__policy_grammar *g,
                                         const dp_vocabulary *v, dp__arena *arena) {
    dp_reach *r = NULL;
    dp_units none = DP__ZERO;
    size_t k, tokens;
    af_status s = dp_reach_create(c, v, g->longest, &r);
    if (s == AF_OK) s = v->no_units ? AF_OK : dp_reach_check(c, r);
    if (s != AF_OK) {
        dp_reach_destroy(r);
        return s;
    }
    g->v = v;
    dp__policy_choices(g);
    g->target = dp__policy_find_units(r, r->count, &v->target);
    g->zero = dp__policy_find_units(r, r->count, &none);
    g->kinds = r->count;
    if (r->count > (size_t)DP__POLICY_KINDS && g->target < (size_t)DP__POLICY_KINDS &&
        (g->zero < (size_t)DP__POLICY_KINDS || g->zero == DP__POLICY_NONE))
        g->kinds = DP__POLICY_KINDS;
    if (!dp__policy_memory(g, arena)) {
        dp_reach_destroy(r);
        return dp__fail_memory(c, "tables of units");
    }
    for (k = 0; k < g->kinds; k++) {
        dp_reach_entry(r, k, &g->units[k], &tokens);
        g->least[k] = (uint8_t)tokens;
    }
    for (k = 0; k < v->symbol_count; k++)
        g->symbol[k] = (uint16_t)dp__policy_find_units(r, g->kinds, &v->symbols[k].units);
    dp__policy_fill_one(g, r);
    dp__policy_fill_two(g, r);
    dp__policy_fill_least(g);
    dp_reach_destroy(r);
    return AF_OK;
}

/* ---- a formula that is being written ---- */

typedef struct dp__policy_above { /* an operator that lacks arguments */
    size_t op, at;  /* token and its place */
    size_t first;   /* units of the first of two arguments, DP__POLICY_NONE before it is there */
} dp__policy_above;

typedef struct dp__policy_walk {
    dp_formula formula;
    size_t depth, dangling;        /* open operators; places without a token */
    dp__policy_above open[DP_FORMULA_MAX];
    size_t known[DP_FORMULA_MAX + 1]; /* units of what open[i] begins, and of the next token, where
                                         only one is possible; otherwise DP__POLICY_NONE */
    uint8_t *need;                 /* (longest + 1, kinds): the same; the caller's */
} dp__policy_walk;

/* need of the first argument, part, from that of the whole. */
static void dp__policy_need_first(const dp__policy_grammar *g, size_t op, const uint8_t *whole,
                                  uint8_t *part) {
    size_t n = g->kinds, u, k, s;
    const uint8_t *other = op == DP_MUL ? g->factor : g->divisor;
    if (op == DP_ADD || op == DP_SUB)
        for (k = 0; k < n; k++) part[k] = dp__policy_sum(g->least[k], whole[k]);
    for (u = 0; u < n && (op == DP_MUL || op == DP_DIV); u++) {
        const uint8_t *row = other + u * n, here = whole[u];
        if (here >= DP__POLICY_FAR) continue;
        for (k = 0; k < n; k++) {
            uint8_t sum = (uint8_t)(here + row[k]);
            part[k] = sum < part[k] ? sum : part[k];
        }
    }
    if (op != DP_POW) return;
    if (g->zero != DP__POLICY_NONE)
        part[g->zero] = dp__policy_sum(g->least[g->zero], whole[g->zero]);
    for (s = 0; s < g->v->symbol_count; s++)
        for (k = 0; k < n; k++) {
            u = g->power[s * n + k];
            if (u != DP__POLICY_NONE) dp__policy_lower(&part[k], (size_t)1 + whole[u]);
        }
}

/* The same of the second, where the first has units `first`. A number in an exponent, when what is
 * raised has units, is no matter of units: dp__policy_possible. */
static void dp__policy_need_second(const dp__policy_grammar *g, const dp__policy_above *o,
                                   const uint8_t *whole, uint8_t *part) {
    size_t n = g->kinds, k;
    const uint16_t *table = (o->op == DP_MUL ? g->product : g->ratio) + o->first * n;
    if (o->op == DP_ADD || o->op == DP_SUB) part[o->first] = whole[o->first];
    if (o->op == DP_POW && o->first == g->zero) part[g->zero] = whole[g->zero];
    for (k = 0; k < n && (o->op == DP_MUL || o->op == DP_DIV); k++)
        if (table[k] != DP__POLICY_NONE) part[k] = whole[table[k]];
}

/* need where the next token goes, an argument of the last open operator. */
static void dp__policy_need(const dp__policy_grammar *g, dp__policy_walk *w) {
    const dp__policy_above *o = &w->open[w->depth - 1];
    const uint8_t *whole = w->need + (w->depth - 1) * g->kinds;
    uint8_t *part = w->need + w->depth * g->kinds;
    size_t k, u, possible = 0;
    memset(part, DP__POLICY_FAR, g->kinds);
    if (dp_operator_arity(o->op) == 2) {
        if (o->first == DP__POLICY_NONE) dp__policy_need_first(g, o->op, whole, part);
        else dp__policy_need_second(g, o, whole, part);
    } else {
        for (k = 0; k < g->kinds; k++) {
            u = g->of_one[o->op * g->kinds + k];
            if (u != DP__POLICY_NONE) part[k] = whole[u];
        }
    }
    w->known[w->depth] = DP__POLICY_NONE;
    for (k = 0; k < g->kinds; k++)
        if (part[k] < DP__POLICY_FAR && possible++ == 0) w->known[w->depth] = k;
    if (possible > 1) w->known[w->depth] = DP__POLICY_NONE;
}

static void dp__policy_begin(const dp__policy_grammar *g, dp__policy_walk *w) {
    w->formula.length = 0;
    w->depth = 0;
    w->dangling = 1;
    memset(w->need, DP__POLICY_FAR, g->kinds);
    w->need[g->target] = 0;
    w->known[0] = g->target;
}

/* Units of what an operator begins, from those of its last argument. */
static size_t dp__policy_result(const dp__policy_grammar *g, const dp__policy_walk *w,
                                const dp__policy_above *o, size_t last) {
    size_t at = o->first * g->kinds + last;
    switch ((dp_operator)o->op) {
    case DP_ADD:
    case DP_SUB: return o->first;
    case DP_MUL: return g->product[at];
    case DP_DIV: return g->ratio[at];
    case DP_POW: /* the symbol before this place is the number */
        if (o->first == g->zero) return g->zero;
        at = (size_t)w->formula.token[w->formula.length - 1] - (size_t)DP_OPERATORS;
        return g->power[at * g->kinds + o->first];
    default: return g->of_one[o->op * g->kinds + last];
    }
}

/* Appends a token that is possible. */
static void dp__policy_take(const dp__policy_grammar *g, dp__policy_walk *w, size_t token) {
    size_t units;
    w->formula.token[w->formula.length++] = (uint8_t)token;
    w->dangling += dp_operator_arity(token);
    w->dangling--;
    if (token < DP_OPERATORS) {
        w->open[w->depth].op = token;
        w->open[w->depth].at = w->formula.length - 1;
        w->open[w->depth++].first = DP__POLICY_NONE;
        dp__policy_need(g, w);
        return;
    }
    units = g->symbol[token - (size_t)DP_OPERATORS];
    for (; w->depth > 0; w->depth--) {
        dp__policy_above *o = &w->open[w->depth - 1];
        if (dp_operator_arity(o->op) == 2 && o->first == DP__POLICY_NONE) {
            o->first = units;
            dp__policy_need(g, w);
            return;
        }
        units = dp__policy_result(g, w, o, units);
    }
}

/* ---- masks ---- */

/* Fewest tokens that the formula still takes when this is the next token. */
static size_t dp__policy_possible(const dp__policy_grammar *g, const dp__policy_walk *w,
                                  size_t token) {
    const uint8_t *need = w->need + w->depth * g->kinds, *least;
    const dp__policy_above *o = w->depth ? &w->open[w->depth - 1] : NULL;
    size_t symbol = token - (size_t)DP_OPERATORS, k;
    uint8_t fewest = DP__POLICY_FAR;
    if (o && o->op == DP_POW && o->first != DP__POLICY_NONE && o->first != g->zero) {
        if (token < DP_OPERATORS) return DP__POLICY_FAR;
        k = g->power[symbol * g->kinds + o->first];
        return k == DP__POLICY_NONE ? (size_t)DP__POLICY_FAR
                                    : (size_t)1 + w->need[(w->depth - 1) * g->kinds + k];
    }
    if (token >= DP_OPERATORS) return (size_t)1 + need[g->symbol[symbol]];
    least = g->least_with + token * g->kinds;
    k = w->known[w->depth];
    if (k != DP__POLICY_NONE) return dp__policy_sum(least[k], need[k]);
    for (k = 0; k < g->kinds; k++) {
        uint8_t sum = (uint8_t)(least[k] + need[k]);
        fewest = sum < fewest ? sum : fewest;
    }
    return fewest;
}

static int dp__policy_is_angle(size_t op) { return op >= DP_SIN && op <= DP_ATAN; }

/* op of other_op undoes it. */
static int dp__policy_undoes(size_t op, size_t above) {
    static const uint8_t pair[][2] = {{DP_EXP, DP_LOG}, {DP_SQUARE, DP_SQRT}, {DP_NEG, DP_NEG},
                                      {DP_INV, DP_INV}, {DP_SIN, DP_ASIN},    {DP_COS, DP_ACOS},
                                      {DP_TAN, DP_ATAN}, {DP_ABS, DP_ABS}};
    size_t k;
    for (k = 0; k < sizeof pair / sizeof pair[0]; k++)
        if ((op == pair[k][0] && above == pair[k][1]) || (op == pair[k][1] && above == pair[k][0]))
            return 1;
    return 0;
}

/* Log of the prior probability of an operator from those above it: inverses, functions in
 * themselves. */
static float dp__policy_prior_tree(const dp__policy_walk *w, size_t op) {
    size_t i;
    if (op >= DP_OPERATORS || w->depth == 0) return 0.0f;
    if (dp__policy_undoes(op, w->open[w->depth - 1].op)) return DP__POLICY_USELESS;
    for (i = 0; i < w->depth; i++) {
        size_t above = w->open[i].op;
        if ((op == above && (op == DP_EXP || op == DP_LOG)) ||
            (dp__policy_is_angle(op) && dp__policy_is_angle(above)))
            return DP__POLICY_USELESS;
    }
    return 0.0f;
}

/* The same from the length: symbols before the centre, tokens that make the formula longer than
 * that (`fewest`: tokens from here on), symbols that end it before `shortest`. Published is a prior
 * against operators after the centre; where those that follow must mend the units first, as here,
 * formulas would rarely end. */
static float dp__policy_prior_length(const dp__policy_grammar *g, const dp__policy_walk *w,
                                     size_t token, size_t fewest) {
    double early = g->centre - (double)w->formula.length;
    double late = (double)(w->formula.length + fewest) - g->centre;
    int symbol = token >= DP_OPERATORS;
    double prior = 0.0;
    if (g->spread > 0.0 && symbol && early > 0.0) prior -= early * early / (2.0 * g->spread);
    if (g->spread > 0.0 && late > 0.0) prior -= late * late / (2.0 * g->spread);
    if (symbol && w->dangling == 1 && w->formula.length + 1 < g->shortest)
        prior += (double)DP__POLICY_USELESS;
    return (float)prior;
}

/* mask (choices): logs of prior probabilities of the next token, the largest 0. */
static void dp__policy_mask(const dp__policy_grammar *g, const dp__policy_walk *w, float *mask) {
    size_t room = g->longest - w->formula.length, k;
    float largest = DP__POLICY_NEVER;
    for (k = 0; k < g->choices; k++) {
        size_t token = g->token[k], fewest = dp__policy_possible(g, w, token);
        mask[k] = DP__POLICY_NEVER;
        if (fewest > room) continue;
        mask[k] = dp__policy_prior_tree(w, token) + dp__policy_prior_length(g, w, token, fewest);
        if (mask[k] > largest) largest = mask[k];
    }
    for (k = 0; k < g->choices; k++) {
        if (mask[k] <= DP__POLICY_NEVER) continue;
        mask[k] -= largest;
        if (mask[k] < DP__POLICY_LEAST) mask[k] = DP__POLICY_LEAST;
    }
}

/* ---- observations ---- */

static size_t dp__policy_features(const dp__policy_grammar *g) {
    return 3 * g->choices + 1 + 4 * ((size_t)DP_UNITS + 1);
}

/* Powers and a 1, or zeros when not known; returns where the next go. */
static float *dp__policy_observe_units(const dp__policy_grammar *g, size_t units, float *x) {
    size_t k;
    for (k = 0; k < (size_t)DP_UNITS; k++)
        x[k] = units == DP__POLICY_NONE ? 0.0f : (float)g->units[units].power[k];
    x[DP_UNITS] = units == DP__POLICY_NONE ? 0.0f : 1.0f;
    return x + DP_UNITS + 1;
}

/* x (features): parent, sibling and previous token, dangling places, units required here, of
 * parent, sibling and previous token. */
static void dp__policy_observe(const dp__policy_grammar *g, const dp__policy_walk *w, float *x) {
    const dp__policy_above *o = w->depth ? &w->open[w->depth - 1] : NULL;
    size_t n = g->choices, length = w->formula.length, units[4];
    memset(x, 0, dp__policy_features(g) * sizeof *x);
    units[0] = w->known[w->depth];
    units[1] = o ? w->known[w->depth - 1] : (size_t)DP__POLICY_NONE;
    units[2] = o ? o->first : (size_t)DP__POLICY_NONE;
    units[3] = DP__POLICY_NONE;
    if (o) x[g->choice[o->op]] = 1.0f;
    if (o && o->first != DP__POLICY_NONE) x[n + g->choice[w->formula.token[o->at + 1]]] = 1.0f;
    if (length > 0) {
        size_t last = w->formula.token[length - 1];
        x[2 * n + g->choice[last]] = 1.0f;
        units[3] = last < DP_OPERATORS ? units[1] : g->symbol[last - (size_t)DP_OPERATORS];
    }
    x[3 * n] = (float)w->dangling;
    x += 3 * n + 1;
    for (n = 0; n < 4; n++) x = dp__policy_observe_units(g, units[n], x);
}
