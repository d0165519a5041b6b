/* ---- formulas: which units can be reached -------------------------------------------------------
 *
 * Powers are whole multiples of 1/DP__REACH_UNIT. The entries whose fewest tokens are n come from
 * those with fewer: by one more operator on one of n - 1, or on two with n - 1 together. + and -
 * and functions without units make nothing new. */

enum {
    DP__REACH_UNIT = 967680, /* 2^10 3^3 5 7: halves of halves of small fractions are whole */
    DP__REACH_POWER = 6,
    DP__REACH_MOST = 2048,
    DP__REACH_SLOTS = 8192   /* a power of two, well above DP__REACH_MOST */
};

typedef struct dp__reach_key {
    int32_t power[DP_UNITS];
} dp__reach_key;

struct dp_reach {
    dp__arena arena;
    const dp_vocabulary *v;
    size_t tokens, count;
    int32_t bound;             /* of powers */
    int cut;                   /* 1: something was left out */
    dp__reach_key *keys;       /* (DP__REACH_MOST), ordered by tokens */
    uint16_t *slots;           /* (DP__REACH_SLOTS): number of the entry + 1; 0: free */
    size_t begin[DP_FORMULA_MAX + 2]; /* entries of n tokens are begin[n] ... begin[n + 1] */
};

static dp__reach_key dp__reach_round(const dp_units *u) {
    dp__reach_key key;
    size_t k;
    for (k = 0; k < (size_t)DP_UNITS; k++)
        key.power[k] = (int32_t)floor(u->power[k] * (double)DP__REACH_UNIT + 0.5);
    return key;
}

/* Where the key is, or the free slot where it belongs (FNV-1a over the powers). */
static size_t dp__reach_slot(const dp_reach *r, const dp__reach_key *key) {
    uint64_t hash = 14695981039346656037u;
    size_t k, slot;
    for (k = 0; k < (size_t)DP_UNITS; k++) hash = (hash ^ (uint32_t)key->power[k]) * 1099511628211u;
    hash ^= hash >> 32; /* the low bits alone do not see the high ones */
    slot = (size_t)(hash & (DP__REACH_SLOTS - 1));
    while (r->slots[slot] &&
           memcmp(&r->keys[r->slots[slot] - 1], key, sizeof *key) != 0)
        slot = (slot + 1) & (DP__REACH_SLOTS - 1);
    return slot;
}

static void dp__reach_add(dp_reach *r, const dp__reach_key *key) {
    size_t k, slot;
    for (k = 0; k < (size_t)DP_UNITS; k++) {
        if (key->power[k] >= -r->bound && key->power[k] <= r->bound) continue;
        r->cut = 1;
        return;
    }
    slot = dp__reach_slot(r, key);
    if (r->slots[slot]) return;
    if (r->count == (size_t)DP__REACH_MOST) {
        r->cut = 1;
        return;
    }
    r->keys[r->count++] = *key;
    r->slots[slot] = (uint16_t)r->count;
}

/* a^(up/down) b^sign; 0 where the fraction's parts are too small, or powers are far too large. */
static int dp__reach_combine(const dp__reach_key *a, double factor, const dp__reach_key *b,
                             double sign, dp__reach_key *out) {
    size_t k;
    for (k = 0; k < (size_t)DP_UNITS; k++) {
        double power = factor * a->power[k] + sign * b->power[k];
        double whole = floor(power + 0.5);
        if (fabs(power - whole) > 1e-3 || fabs(whole) > 1e9) return 0;
        out->power[k] = (int32_t)whole;
    }
    return 1;
}

static void dp__reach_power(dp_reach *r, const dp__reach_key *a, double exponent) {
    dp__reach_key key;
    if (dp__reach_combine(a, exponent, a, 0.0, &key)) dp__reach_add(r, &key);
    else r->cut = 1;
}

/* One operator of one argument on the entries of n - 1 tokens. */
static void dp__reach_unary(dp_reach *r, size_t n) {
    static const dp_operator op[4] = {DP_INV, DP_SQUARE, DP_CUBE, DP_SQRT};
    static const double exponent[4] = {-1.0, 2.0, 3.0, 0.5};
    size_t i, k;
    for (k = 0; k < 4; k++)
        for (i = r->begin[n - 1]; i < r->begin[n] && dp__operator_allowed(r->v, op[k]); i++)
            dp__reach_power(r, r->keys + i, exponent[k]);
}

/* a^p with fixed numbers p on the entries of n - 2 tokens. */
static void dp__reach_powers(dp_reach *r, size_t n) {
    size_t i, k;
    for (k = 0; k < r->v->symbol_count; k++) {
        const dp_symbol *s = r->v->symbols + k;
        if (s->kind != DP_FIXED || !dp__units_none(&s->units)) continue;
        for (i = r->begin[n - 2]; i < r->begin[n - 1]; i++)
            dp__reach_power(r, r->keys + i, s->value);
    }
}

/* Products and ratios of entries of n_a and n_b tokens. */
static void dp__reach_pairs(dp_reach *r, size_t n_a, size_t n_b) {
    int mul = dp__operator_allowed(r->v, DP_MUL) && n_a <= n_b;
    int div = dp__operator_allowed(r->v, DP_DIV);
    size_t a, b;
    dp__reach_key key;
    for (a = r->begin[n_a]; a < r->begin[n_a + 1]; a++)
        for (b = r->begin[n_b]; b < r->begin[n_b + 1]; b++) {
            if (mul && dp__reach_combine(r->keys + a, 1.0, r->keys + b, 1.0, &key))
                dp__reach_add(r, &key);
            if (div && dp__reach_combine(r->keys + a, 1.0, r->keys + b, -1.0, &key))
                dp__reach_add(r, &key);
        }
}

static void dp__reach_fill(dp_reach *r) {
    size_t n, i;
    for (i = 0; i < r->v->symbol_count; i++) {
        dp_units none = DP__ZERO;
        dp__reach_key key = dp__reach_round(r->v->no_units ? &none : &r->v->symbols[i].units);
        dp__reach_add(r, &key);
    }
    for (n = 2; n <= r->tokens && !r->v->no_units; n++) {
        r->begin[n] = r->count;
        if (r->count == (size_t)DP__REACH_MOST) continue;
        dp__reach_unary(r, n);
        if (n >= 3 && dp__operator_allowed(r->v, DP_POW)) dp__reach_powers(r, n);
        for (i = 1; i + 1 < n; i++) dp__reach_pairs(r, i, n - 1 - i);
    }
    for (n = r->v->no_units ? 2 : r->tokens + 1; n < (size_t)DP_FORMULA_MAX + 2; n++)
        r->begin[n] = r->count;
}

static double dp__reach_largest(const dp_units *u, double largest) {
    size_t k;
    for (k = 0; k < (size_t)DP_UNITS; k++) largest = fmax(largest, fabs(u->power[k]));
    return largest;
}

AF_API af_status dp_reach_create(af_context *c, const dp_vocabulary *v, size_t tokens,
                                 dp_reach **out) {
    dp__arena arena = dp__arena_open(c);
    dp_reach *r;
    double largest = DP__REACH_POWER;
    size_t i;
    af_status s = dp_vocabulary_check(c, v);
    *out = NULL;
    if (s != AF_OK) return s;
    if (tokens > (size_t)DP_FORMULA_MAX)
        return af_fail(c, AF_ERROR_ARGUMENT, "reachable units: %lu tokens; there can be %d",
                       (unsigned long)tokens, (int)DP_FORMULA_MAX);
    r = DP__NEW(&arena, dp_reach);
    if (r) r->keys = DP__ARRAY(&arena, dp__reach_key, DP__REACH_MOST);
    if (r && r->keys) r->slots = DP__ARRAY(&arena, uint16_t, DP__REACH_SLOTS);
    if (!r || !r->keys || !r->slots) {
        dp__arena_free(&arena);
        return dp__fail_memory(c, "the table of reachable units");
    }
    r->arena = arena;
    r->v = v;
    r->tokens = tokens ? tokens : (size_t)DP_FORMULA_MAX;
    for (i = 0; i < v->symbol_count && !v->no_units; i++)
        largest = dp__reach_largest(&v->symbols[i].units, largest);
    if (!v->no_units) largest = dp__reach_largest(&v->target, largest);
    r->bound = (int32_t)floor(largest * (double)DP__REACH_UNIT + 0.5);
    dp__reach_fill(r);
    *out = r;
    return AF_OK;
}

AF_API void dp_reach_destroy(dp_reach *r) {
    dp__arena arena;
    if (!r) return;
    arena = r->arena;
    dp__arena_free(&arena);
}

static size_t dp__reach_level(const dp_reach *r, size_t entry) {
    size_t n = 1;
    while (entry >= r->begin[n + 1]) n++;
    return n;
}

AF_API size_t dp_reach_tokens(const dp_reach *r, const dp_units *units) {
    dp__reach_key key;
    size_t slot;
    if (r->v->no_units) return 1;
    if (!(dp__reach_largest(units, 0.0) * (double)DP__REACH_UNIT <= r->bound + 1.0)) return 0;
    key = dp__reach_round(units);
    slot = dp__reach_slot(r, &key);
    return r->slots[slot] ? dp__reach_level(r, (size_t)r->slots[slot] - 1) : 0;
}

AF_API size_t dp_reach_count(const dp_reach *r) { return r->count; }

AF_API void dp_reach_entry(const dp_reach *r, size_t entry, dp_units *units, size_t *tokens) {
    size_t k;
    for (k = 0; k < (size_t)DP_UNITS; k++)
        units->power[k] = (double)r->keys[entry].power[k] / (double)DP__REACH_UNIT;
    *tokens = dp__reach_level(r, entry);
}

/* ---- the sentence for a target that is out of reach ---- */

/* "r [m], b [m]" */
static void dp__reach_symbols(const dp_vocabulary *v, char *text, size_t size) {
    char units[64];
    size_t i;
    text[0] = '\0';
    for (i = 0; i < v->symbol_count; i++) {
        dp_units_text(&v->symbols[i].units, v->bases, v->base_count, units, sizeof units);
        dp__units_append(text, size, i ? ", " : "");
        dp__units_append(text, size, v->symbols[i].name);
        dp__units_append(text, size, " [");
        dp__units_append(text, size, units);
        dp__units_append(text, size, "]");
    }
}

/* The base units that the target has and no symbol. */
static dp_units dp__reach_missing(const dp_vocabulary *v) {
    dp_units missing = DP__ZERO;
    size_t i, k;
    for (k = 0; k < (size_t)DP_UNITS; k++) {
        missing.power[k] = fabs(v->target.power[k]) > 1e-6;
        for (i = 0; i < v->symbol_count; i++)
            if (fabs(v->symbols[i].units.power[k]) > 1e-6) missing.power[k] = 0.0;
    }
    return missing;
}

/* How much of u is left when what the n orthogonal vectors hold of it is taken out; u is the rest
 * then, relative to what it was. */
static double dp__reach_rest(double *u, double basis[][DP_UNITS], size_t n) {
    double before = 0.0, after = 0.0;
    size_t i, k;
    for (k = 0; k < (size_t)DP_UNITS; k++) before += u[k] * u[k];
    for (i = 0; i < n; i++) {
        double dot = 0.0, square = 0.0;
        for (k = 0; k < (size_t)DP_UNITS; k++) {
            dot += u[k] * basis[i][k];
            square += basis[i][k] * basis[i][k];
        }
        for (k = 0; k < (size_t)DP_UNITS; k++) u[k] -= dot / square * basis[i][k];
    }
    for (k = 0; k < (size_t)DP_UNITS; k++) after += u[k] * u[k];
    return before > 0.0 ? sqrt(after / before) : 0.0;
}

/* The target is a product of real powers of the symbols (Gram-Schmidt). */
static int dp__reach_spans(const dp_vocabulary *v) {
    double basis[DP_UNITS][DP_UNITS], u[DP_UNITS];
    size_t i, n = 0;
    for (i = 0; i < v->symbol_count && n < (size_t)DP_UNITS; i++) {
        memcpy(basis[n], v->symbols[i].units.power, sizeof basis[n]);
        n += dp__reach_rest(basis[n], basis, n) > 1e-6;
    }
    memcpy(u, v->target.power, sizeof u);
    return dp__reach_rest(u, basis, n) <= 1e-6;
}

AF_API af_status dp_reach_check(af_context *c, const dp_reach *r) {
    const dp_vocabulary *v = r->v;
    dp_units missing;
    char symbols[400], target[96], advice[160], bases[96];
    if (dp_reach_tokens(r, &v->target)) return AF_OK;
    missing = dp__reach_missing(v);
    dp__reach_symbols(v, symbols, sizeof symbols);
    dp_units_text(&v->target, v->bases, v->base_count, target, sizeof target);
    dp_units_text(&missing, v->bases, v->base_count, bases, sizeof bases);
    if (!dp__units_none(&missing))
        snprintf(advice, sizeof advice, "give a constant that has %s in it", bases);
    else if (!dp__reach_spans(v))
        snprintf(advice, sizeof advice,
                 "no product of powers of these symbols has them; give a constant that helps");
    else
        snprintf(advice, sizeof advice, "allow more tokens or operators, or give a constant%s",
                 r->cut ? " (parts with large powers or many kinds of units were left out)" : "");
    return af_fail(c, AF_ERROR_DATA,
                   "no expression of up to %lu tokens of %s has the units %s: %s",
                   (unsigned long)r->tokens, symbols, target, advice);
}
