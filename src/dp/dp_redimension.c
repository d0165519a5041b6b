/* ---- units return -------------------------------------------------------------------------------
 *
 * A dimensionless f of leaves r/b, 1, ... is written with r and b themselves. Each node times a
 * product of powers of the basis has a cheapest form: r/b times b is r, 1 times b is b, a sum times
 * b is the sum of its terms times b. Bottom up, a few powers for each node ("options"), those that
 * come by themselves; at last the powers that give the units of the result. */

enum {
    DP__OPTIONS = 6,  /* kept for a node, the cheapest */
    DP__NEVER = 1000, /* tokens of what cannot be written */
    DP__TREE = 64     /* nodes of f, each part where it occurs; a formula has 48 tokens at most */
};

typedef struct dp__powers {
    double of[DP_UNITS];
} dp__powers;

/* The node times basis^power, made of its arguments times basis^left and basis^right. */
typedef struct dp__option {
    dp__powers power, left, right;
    size_t cost;
} dp__option;

typedef struct dp__tree_node {
    size_t op, leaf, left, right; /* as in dp__nodes; arguments come before */
    size_t count;                 /* of options; 0: the number one, which has all */
    dp__option option[DP__OPTIONS];
} dp__tree_node;

typedef struct dp__form_tree {
    const dp__plan *plan;
    dp__tree_node node[DP__TREE];
    size_t count;
    dp_formula *out;
    int full; /* the formula did not fit, or a power cannot be written */
} dp__form_tree;

static int dp__powers_equal(const dp__powers *a, const dp__powers *b) {
    size_t j;
    for (j = 0; j < DP_UNITS; j++)
        if (fabs(a->of[j] - b->of[j]) > 1e-9) return 0;
    return 1;
}

/* a + factor b */
static dp__powers dp__powers_sum(const dp__powers *a, double factor, const dp__powers *b) {
    dp__powers s;
    size_t j;
    for (j = 0; j < DP_UNITS; j++) s.of[j] = a->of[j] + factor * b->of[j];
    return s;
}

static void dp__put(dp__form_tree *t, size_t token) {
    if (t->out->length < DP_FORMULA_MAX) t->out->token[t->out->length++] = (uint8_t)token;
    else t->full = 1;
}

/* symbol^power, power > 0, of squares, cubes, products and roots: how many tokens; written when
 * `write`. */
static size_t dp__power_tokens(dp__form_tree *t, size_t symbol, double power, int write) {
    uint32_t allowed = t->plan->v.operators;
    double half = 0.5 * power;
    size_t root;
    for (root = 0; root <= 3 && fabs(power - floor(power + 0.5)) > 1e-9; root++) {
        if (write) dp__put(t, DP_SQRT);
        power *= 2.0;
        half = 0.5 * power;
    }
    if (root > 3 || power > 24.5) return DP__NEVER;
    power = floor(power + 0.5);
    if (power < 1.5) {
        if (write) dp__put(t, DP_OPERATORS + symbol);
        return root + 1;
    }
    if (fabs(half - floor(half + 0.5)) < 1e-9) {
        if (write) dp__put(t, DP_SQUARE);
        return root + 1 + dp__power_tokens(t, symbol, half, write);
    }
    if (power < 3.5 && allowed & 1u << DP_CUBE) {
        if (write) dp__put(t, DP_CUBE);
        return root + 1 + dp__power_tokens(t, symbol, 1.0, write);
    }
    if (write) dp__put(t, DP_MUL);
    root += 1 + dp__power_tokens(t, symbol, 1.0, write);
    return root + dp__power_tokens(t, symbol, power - 1.0, write);
}

/* Tokens to multiply by basis^q. */
static size_t dp__change_cost(dp__form_tree *t, const dp__powers *q) {
    size_t j, cost = 0;
    for (j = 0; j < t->plan->basis_count; j++)
        if (fabs(q->of[j]) > 1e-9)
            cost += 1 + dp__power_tokens(t, t->plan->basis[j], fabs(q->of[j]), 0);
    return cost;
}

/* basis^q by itself: its first factor needs no "*"; only below the line it is 1/... */
static size_t dp__one_cost(dp__form_tree *t, const dp__powers *q) {
    size_t j, cost = dp__change_cost(t, q);
    for (j = 0; j < t->plan->basis_count; j++)
        if (q->of[j] > 1e-9) return cost - 1;
    return cost + 1;
}

/* The cheapest option for the node times basis^p. */
static size_t dp__need(dp__form_tree *t, const dp__tree_node *n, const dp__powers *p,
                       size_t *option) {
    size_t k, best = DP__NEVER;
    *option = 0;
    if (!n->count) return n->op == DP__STEP_LEAF ? dp__one_cost(t, p) : (size_t)DP__NEVER;
    for (k = 0; k < n->count; k++) {
        dp__powers q = dp__powers_sum(p, -1.0, &n->option[k].power);
        size_t cost = n->option[k].cost + dp__change_cost(t, &q);
        if (cost >= best) continue;
        best = cost;
        *option = k;
    }
    return best;
}

/* Offers the node times basis^power with arguments times basis^left, basis^right. */
static void dp__offer(dp__form_tree *t, dp__tree_node *n, const dp__powers *power,
                      const dp__powers *left, const dp__powers *right) {
    dp__option o;
    size_t k, worst = 0, unused;
    o.power = *power;
    o.left = *left;
    o.right = right ? *right : *left;
    o.cost = 1 + dp__need(t, &t->node[n->left], left, &unused);
    if (right) o.cost += dp__need(t, &t->node[n->right], right, &unused);
    if (o.cost >= DP__NEVER) return;
    for (k = 0; k < n->count; k++) {
        if (!dp__powers_equal(&n->option[k].power, power)) {
            if (n->option[k].cost > n->option[worst].cost) worst = k;
            continue;
        }
        if (o.cost < n->option[k].cost) n->option[k] = o;
        return;
    }
    if (n->count < DP__OPTIONS) n->option[n->count++] = o;
    else if (o.cost < n->option[worst].cost) n->option[worst] = o;
}

static void dp__options_product(dp__form_tree *t, dp__tree_node *n) {
    const dp__tree_node *a = &t->node[n->left], *b = &t->node[n->right];
    dp__powers none = DP__ZERO, p;
    double sign = n->op == DP_MUL ? 1.0 : -1.0;
    size_t i, k;
    for (k = 0; k < b->count; k++) {
        for (i = 0; i < a->count; i++) {
            p = dp__powers_sum(&a->option[i].power, sign, &b->option[k].power);
            dp__offer(t, n, &p, &a->option[i].power, &b->option[k].power);
        }
        if (a->count) continue;
        p = dp__powers_sum(&none, sign, &b->option[k].power); /* 1 times, or over, something */
        dp__offer(t, n, &p, &none, &b->option[k].power);
        p = dp__powers_sum(&none, -sign, &b->option[k].power);
        dp__offer(t, n, &none, &p, &b->option[k].power);
    }
    for (i = 0; i < a->count && !b->count; i++)
        dp__offer(t, n, &a->option[i].power, &a->option[i].power, &none);
}

/* Options of a node whose arguments have theirs. */
static void dp__options(dp__form_tree *t, dp__tree_node *n) {
    const dp__tree_node *a = &t->node[n->left], *b = &t->node[n->right];
    dp__powers none = DP__ZERO, p;
    double up = n->op == DP_INV ? -1.0 : n->op == DP_SQUARE ? 2.0 : n->op == DP_CUBE ? 3.0
              : n->op == DP_SQRT ? 0.5 : 1.0;
    size_t k;
    int scales = n->op == DP_INV || n->op == DP_SQUARE || n->op == DP_CUBE || n->op == DP_SQRT ||
                 n->op == DP_NEG || n->op == DP_ABS;
    if (n->op == DP_MUL || n->op == DP_DIV) {
        dp__options_product(t, n);
    } else if (n->op == DP_ADD || n->op == DP_SUB) {
        dp__offer(t, n, &none, &none, &none); /* first: 1 + r/b is nicer than (b + r)/b */
        for (k = 0; k < a->count; k++)
            dp__offer(t, n, &a->option[k].power, &a->option[k].power, &a->option[k].power);
        for (k = 0; k < b->count; k++)
            dp__offer(t, n, &b->option[k].power, &b->option[k].power, &b->option[k].power);
    } else if (scales) {
        for (k = 0; k < a->count; k++) {
            p = dp__powers_sum(&none, up, &a->option[k].power);
            dp__offer(t, n, &p, &a->option[k].power, NULL);
        }
    }
    if (!n->count) dp__offer(t, n, &none, &none, dp__operator_arguments(n->op) == 2 ? &none : NULL);
}

/* Adds a node whose arguments are there (of a leaf: `left` is it); its place, or DP__NONE. */
static size_t dp__tree_put(dp__form_tree *t, size_t op, size_t left, size_t right) {
    dp__tree_node *n = &t->node[t->count];
    int power = op == DP_SQUARE || op == DP_CUBE || op == DP_SQRT || op == DP_INV;
    if (t->count == DP__TREE || left == DP__NONE || right == DP__NONE) return DP__NONE;
    if (power && t->node[left].op == DP__STEP_LEAF && !t->node[left].count) return left; /* 1^2 */
    memset(n, 0, sizeof *n);
    n->op = op;
    if (op == DP__STEP_LEAF) {
        const dp__leaf *leaf = &t->plan->leaf[left];
        size_t j;
        n->leaf = left;
        n->count = leaf->symbol != DP__NONE;
        n->option[0].cost = 1;
        for (j = 0; j < DP_UNITS; j++) n->option[0].power.of[j] = dp__ratio_value(leaf->power[j]);
    } else {
        n->left = left;
        n->right = right;
        dp__options(t, n);
        if (!n->count) return DP__NONE;
    }
    return t->count++;
}

/* Adds the node and all below it; its place, or DP__NONE. */
static size_t dp__tree_add(dp__form_tree *t, const dp__nodes *nodes, size_t node) {
    size_t op = nodes->op[node], left, right;
    if (op == DP__STEP_LEAF) return dp__tree_put(t, op, nodes->left[node], 0);
    left = dp__tree_add(t, nodes, nodes->left[node]);
    if (dp__operator_arguments(op) == 1) return dp__tree_put(t, op, left, left);
    right = dp__tree_add(t, nodes, nodes->right[node]);
    if (op != DP__STEP_NORM) return dp__tree_put(t, op, left, right);
    left = dp__tree_put(t, DP_SQUARE, left, left);
    right = dp__tree_put(t, DP_SQUARE, right, right);
    left = dp__tree_put(t, DP_ADD, left, right);
    return dp__tree_put(t, DP_SQRT, left, left);
}

/* Writes what multiplies a node by basis^q before it, and what divides after it. */
static void dp__write_before(dp__form_tree *t, const dp__powers *q) {
    size_t j;
    for (j = 0; j < t->plan->basis_count; j++)
        if (q->of[j] < -1e-9) dp__put(t, DP_DIV);
    for (j = 0; j < t->plan->basis_count; j++) {
        if (q->of[j] < 1e-9) continue;
        dp__put(t, DP_MUL);
        dp__power_tokens(t, t->plan->basis[j], q->of[j], 1);
    }
}

static void dp__write_after(dp__form_tree *t, const dp__powers *q) {
    size_t j;
    for (j = 0; j < t->plan->basis_count; j++)
        if (q->of[j] < -1e-9) dp__power_tokens(t, t->plan->basis[j], -q->of[j], 1);
}

static void dp__write_one(dp__form_tree *t, const dp__powers *p) {
    dp__powers q = *p;
    size_t j, first = t->plan->basis_count;
    for (j = t->plan->basis_count; j-- > 0;)
        if (q.of[j] > 1e-9) first = j;
    if (first < t->plan->basis_count) q.of[first] = 0.0;
    dp__write_before(t, &q);
    if (first < t->plan->basis_count)
        dp__power_tokens(t, t->plan->basis[first], p->of[first], 1);
    else
        dp__put(t, DP_OPERATORS + t->plan->one);
    dp__write_after(t, &q);
}

/* Writes the node times basis^p. */
static void dp__write(dp__form_tree *t, const dp__tree_node *n, const dp__powers *p) {
    const dp__option *o;
    dp__powers q;
    size_t k;
    if (t->full) return;
    if (!n->count) {
        dp__write_one(t, p);
        return;
    }
    if (dp__need(t, n, p, &k) >= DP__NEVER) {
        t->full = 1;
        return;
    }
    o = &n->option[k];
    q = dp__powers_sum(p, -1.0, &o->power);
    dp__write_before(t, &q);
    if (n->op == DP__STEP_LEAF) {
        dp__put(t, DP_OPERATORS + t->plan->leaf[n->leaf].symbol);
    } else {
        dp__put(t, n->op);
        dp__write(t, &t->node[n->left], &o->left);
        if (dp__operator_arguments(n->op) == 2) dp__write(t, &t->node[n->right], &o->right);
    }
    dp__write_after(t, &q);
}

/* ---- shorter by a token ---- */

static void dp__cut(dp_formula *f, size_t at) {
    memmove(f->token + at, f->token + at + 1, f->length - at - 1);
    f->length--;
}

/* Exchanges the arguments of the operator before `left`. */
static void dp__exchange(dp_formula *f, size_t left) {
    uint8_t old[DP_FORMULA_MAX];
    size_t middle = dp__tokens_end(f->token, left), end = dp__tokens_end(f->token, middle);
    memcpy(old, f->token, f->length);
    memcpy(f->token + left, old + middle, end - middle);
    memcpy(f->token + left + end - middle, old + left, middle - left);
}

/* x * 1, x * 1/y and the like, x + -y, -(x - y), 1/(x/y): 1 when it became shorter at `at`. */
static int dp__shorten_at(dp_formula *f, size_t at, size_t one) {
    size_t op = f->token[at], left = at + 1, right, inside = f->token[left];
    if (op >= DP_OPERATORS) return 0;
    if ((op == DP_NEG && inside == DP_SUB) || (op == DP_INV && inside == DP_DIV)) {
        dp__cut(f, at);
        dp__exchange(f, at + 1);
        return 1;
    }
    if (op == DP_DIV && inside == DP_OPERATORS + one) {
        f->token[at] = DP_INV;
        dp__cut(f, left);
        return 1;
    }
    if (op > DP_DIV) return 0;
    if ((op == DP_MUL && inside == DP_INV) || (op == DP_ADD && inside == DP_NEG)) {
        dp__exchange(f, left);
    }
    right = dp__tokens_end(f->token, left);
    if (op >= DP_MUL && f->token[right] == DP_OPERATORS + one) { /* x * 1, x/1 */
        dp__cut(f, right);
        dp__cut(f, at);
        return 1;
    }
    if (op == DP_MUL && inside == DP_OPERATORS + one) {
        dp__cut(f, left);
        dp__cut(f, at);
        return 1;
    }
    if (f->token[right] != (op == DP_MUL || op == DP_DIV ? DP_INV : DP_NEG)) return 0;
    dp__cut(f, right);
    f->token[at] = (uint8_t)(op == DP_MUL ? DP_DIV : op == DP_DIV ? DP_MUL
                           : op == DP_ADD ? DP_SUB : DP_ADD);
    return 1;
}

static void dp__shorten(dp_formula *f, const dp__plan *p) {
    size_t at = 0;
    while (at < f->length) {
        int inv = (p->v.operators & 1u << DP_INV) != 0;
        at = dp__shorten_at(f, at, inv ? p->one : DP__NONE - DP_OPERATORS) ? 0 : at + 1;
    }
}

static void dp__form_open(dp__form_tree *t, const dp__plan *p, dp_formula *out) {
    t->plan = p;
    t->count = 0;
    t->full = 0;
    t->out = out;
    memset(out, 0, sizeof *out);
}

/* The formula of y = +-A p f + C, f the node `root`. negative: the sign of what multiplies. 0 when
 * it does not fit. */
static int dp__form_finish(dp__form_tree *t, size_t root, int form, int negative) {
    const dp__plan *p = t->plan;
    dp__powers target = DP__ZERO;
    size_t j;
    if (root == DP__NONE) return 0;
    for (j = 0; j < p->basis_count; j++) target.of[j] = dp__ratio_value(p->target[j]);
    if (form & DP__FORM_C) {
        dp__put(t, negative ? DP_SUB : DP_ADD);
        if (negative) dp__put(t, DP_OPERATORS + p->offset);
    } else if (negative) {
        dp__put(t, DP_NEG);
    }
    if (form & DP__FORM_A && p->number != DP__NONE) {
        dp__put(t, DP_MUL);
        dp__put(t, DP_OPERATORS + p->number);
    }
    dp__write(t, &t->node[root], &target);
    if (form & DP__FORM_C && !negative) dp__put(t, DP_OPERATORS + p->offset);
    if (t->full) return 0;
    dp__shorten(t->out, p);
    dp_formula_tidy(&p->v, t->out);
    return 1;
}

static int dp__redimension(dp__form_tree *t, const dp__plan *p, const dp__nodes *nodes, size_t node,
                           int form, int negative, dp_formula *out) {
    dp__form_open(t, p, out);
    return dp__form_finish(t, dp__tree_add(t, nodes, node), form, negative);
}
