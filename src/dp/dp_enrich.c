/* ---- norms and products -------------------------------------------------------------------------
 *
 * Where variables share units they may be components: norms of two or three of them, and distances
 * and scalar products of four or six in pairs, count as few tokens: they are found early; so are
 * differences, where combinations are looked for. */

enum { DP__PART_ROOM = 1024, DP__MACROS = 64 };

typedef struct dp__macro {
    size_t op, left, right; /* of parts, which are nodes without a place in the order */
    size_t tokens;
} dp__macro;

typedef struct dp__enrichment {
    const dp__plan *plan;
    dp__nodes *nodes;
    dp__macro macro[DP__MACROS];
    size_t count;
    int differences; /* x - y are two tokens, too */
} dp__enrichment;

/* A part without a check that it is new. */
static size_t dp__part(dp__nodes *n, size_t op, size_t a, size_t b) {
    size_t k = n->count++;
    n->op[k] = (uint8_t)op;
    n->left[k] = (uint32_t)a;
    n->right[k] = (uint32_t)b;
    n->flags[k] = (uint8_t)(n->flags[a] | n->flags[b]);
    dp__apply(op, DP__SAMPLES, n->value + a * DP__SAMPLES, n->value + b * DP__SAMPLES,
              n->value + k * DP__SAMPLES);
    return k;
}

static void dp__macro_add(dp__enrichment *e, size_t op, size_t left, size_t right, size_t tokens) {
    dp__macro *m = &e->macro[e->count];
    if (e->count == DP__MACROS) return;
    m->op = op;
    m->left = left;
    m->right = right;
    m->tokens = tokens;
    e->count++;
}

/* The sum of terms (n >= 1): nodes. */
static size_t dp__part_sum(dp__nodes *nodes, const size_t *term, size_t n) {
    size_t k, sum = term[0];
    for (k = 1; k < n; k++) sum = dp__part(nodes, DP_ADD, sum, term[k]);
    return sum;
}

/* |x| of the components (n), 2 tokens. */
static void dp__norm(dp__enrichment *e, const size_t *x, size_t n) {
    size_t square[3], k, sum;
    for (k = 0; k < n; k++) square[k] = dp__part(e->nodes, DP_SQUARE, x[k], x[k]);
    sum = dp__part_sum(e->nodes, square, n);
    dp__macro_add(e, DP_SQRT, sum, sum, 2);
}

/* |a - b| and a.b, where components are a_k, b_k = x[order[2 k]], x[order[2 k + 1]]; 3 tokens. */
static void dp__pairs(dp__enrichment *e, const size_t *x, const size_t *order, size_t n) {
    size_t square[3], product[3], k, sum;
    for (k = 0; k < n; k++) {
        size_t a = x[order[2 * k]], b = x[order[2 * k + 1]];
        size_t off = dp__part(e->nodes, DP_SUB, a, b);
        square[k] = dp__part(e->nodes, DP_SQUARE, off, off);
        product[k] = dp__part(e->nodes, DP_MUL, a, b);
    }
    sum = dp__part_sum(e->nodes, square, n);
    dp__macro_add(e, DP_SQRT, sum, sum, 3);
    sum = dp__part_sum(e->nodes, product, n - 1);
    dp__macro_add(e, DP_ADD, sum, product[n - 1], 3);
}

/* All ways to make pairs of x (n = 4 or 6). */
static void dp__pairings(dp__enrichment *e, const size_t *x, size_t n) {
    size_t first, second, k;
    for (first = 1; first < n; first++) {
        size_t rest[4], order[6], m = 0;
        for (k = 1; k < n; k++)
            if (k != first) rest[m++] = k;
        for (second = 1; second < m; second++) {
            size_t at = 4;
            order[0] = 0;
            order[1] = first;
            order[2] = rest[0];
            order[3] = rest[second];
            for (k = 1; k < m; k++)
                if (k != second) order[at++] = rest[k];
            dp__pairs(e, x, order, n / 2);
        }
    }
}

/* x (n): the nodes of variables with equal units. */
static void dp__enrich_class(dp__enrichment *e, const size_t *x, size_t n) {
    size_t i, j, pair[2];
    for (i = 0; i < n && n <= 4; i++)
        for (j = i + 1; j < n; j++) {
            pair[0] = x[i];
            pair[1] = x[j];
            dp__norm(e, pair, 2);
            if (e->differences) dp__macro_add(e, DP_SUB, x[i], x[j], 2);
        }
    if (n == 3) dp__norm(e, x, 3);
    if (n == 4 || n == 6) dp__pairings(e, x, n);
}

/* The nodes [0, leaf_count) are the leaves. A variable of the basis is the number one there. */
static void dp__enrich(dp__enrichment *e) {
    const dp__plan *p = e->plan;
    size_t i, j, l, known;
    for (i = 0; i < p->v.symbol_count; i++) {
        size_t x[DP_SYMBOLS_MAX], n = 0;
        known = 0;
        for (j = 0; j < p->v.symbol_count; j++) {
            if (p->symbols[j].kind != DP_VARIABLE || p->symbols[i].kind != DP_VARIABLE ||
                memcmp(p->units[i], p->units[j], sizeof p->units[i]) != 0) continue;
            known |= j < i;
            for (l = 0; l + 1 < p->leaf_count && p->leaf[l].symbol != j; l++) {}
            x[n++] = l;
        }
        if (!known && n > 1) dp__enrich_class(e, x, n);
    }
}
