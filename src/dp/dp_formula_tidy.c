/* ---- formulas as people write them --------------------------------------------------------------
 *
 * Bottom up. Terms of a sum and factors of a product are taken apart through all + - * / that they
 * are joined by, put in order and joined again: numbers, constants, variables, their powers, the
 * rest. */

typedef struct dp__piece {
    uint8_t token[DP_FORMULA_MAX];
    size_t length;
    int turned; /* is subtracted; is below the line */
    int rank;
} dp__piece;

/* Behind the expression that begins at `at`. */
static size_t dp__tokens_end(const uint8_t *token, size_t at) {
    size_t open = 1;
    while (open) {
        size_t t = token[at++];
        open += t <= DP_POW ? 1u : 0u;
        open -= t >= DP_OPERATORS ? 1u : 0u;
    }
    return at;
}

static void dp__piece_put(dp__piece *p, size_t token) { p->token[p->length++] = (uint8_t)token; }

static void dp__piece_add(dp__piece *p, const uint8_t *token, size_t length) {
    memcpy(p->token + p->length, token, length);
    p->length += length;
}

enum { DP__RANK_NUMBER = 0, DP__RANK_CONSTANT, DP__RANK_FIXED, DP__RANK_VARIABLE, DP__RANK_POWER,
       DP__RANK_PRODUCT, DP__RANK_REST };

/* FIXED: an expression of constants. */
static int dp__piece_rank(const dp_vocabulary *v, const dp__piece *p) {
    size_t op = p->token[0], i;
    int variable = 0;
    for (i = 0; i < p->length; i++)
        variable |= p->token[i] >= DP_OPERATORS &&
                    v->symbols[p->token[i] - DP_OPERATORS].kind == DP_VARIABLE;
    if (op >= DP_OPERATORS) {
        if (variable) return DP__RANK_VARIABLE;
        return v->symbols[op - DP_OPERATORS].kind == DP_FIXED ? DP__RANK_NUMBER : DP__RANK_CONSTANT;
    }
    if (!variable) return DP__RANK_FIXED;
    if ((op == DP_SQUARE || op == DP_CUBE) && p->length == 2) return DP__RANK_POWER;
    return op == DP_MUL || op == DP_DIV ? DP__RANK_PRODUCT : DP__RANK_REST;
}

/* Pieces of a sum, or of a product: appended to list; the signs that products have are counted in
 * *minus. */
static size_t dp__pieces(const uint8_t *token, int product, int turned, dp__piece *list,
                         size_t count, int *minus) {
    size_t op = token[0], end;
    size_t join = product ? DP_MUL : DP_ADD, away = product ? DP_DIV : DP_SUB;
    if (op == join || op == away) {
        end = dp__tokens_end(token, 1);
        count = dp__pieces(token + 1, product, turned, list, count, minus);
        return dp__pieces(token + end, product, turned ^ (op == away), list, count, minus);
    }
    if (op == (product ? (size_t)DP_INV : (size_t)DP_NEG))
        return dp__pieces(token + 1, product, !turned, list, count, minus);
    if (op == DP_NEG) {
        *minus ^= 1;
        return dp__pieces(token + 1, product, turned, list, count, minus);
    }
    list[count].length = 0;
    dp__piece_add(&list[count], token, dp__tokens_end(token, 0));
    list[count].turned = turned;
    return count + 1;
}

/* By rank, symbols by their numbers; others as they come. What is turned goes behind. */
static int dp__piece_before(const dp__piece *a, const dp__piece *b, int product) {
    if (product && a->turned != b->turned) return a->turned < b->turned;
    if (a->rank != b->rank) return a->rank < b->rank;
    return a->length == 1 && b->length == 1 && a->token[0] < b->token[0];
}

static void dp__pieces_sort(const dp_vocabulary *v, dp__piece *list, size_t count, int product) {
    size_t i, k;
    for (i = 0; i < count; i++) list[i].rank = dp__piece_rank(v, &list[i]);
    for (i = 1; i < count; i++) {
        dp__piece p = list[i];
        for (k = i; k > 0 && dp__piece_before(&p, &list[k - 1], product); k--)
            list[k] = list[k - 1];
        list[k] = p;
    }
    for (i = 0; i < count && list[i].turned; i++) {} /* a sum begins with a + where it has one */
    for (; !product && i > 0 && i < count; i--) {
        dp__piece p = list[i];
        list[i] = list[i - 1];
        list[i - 1] = p;
    }
}

/* Operator and all pieces [0,count), from left to right, into out. */
static void dp__pieces_join(const dp__piece *list, size_t count, int product, dp__piece *out) {
    size_t k;
    for (k = count; k-- > 1;)
        dp__piece_put(out, product ? DP_MUL : list[k].turned ? DP_SUB : DP_ADD);
    for (k = 0; k < count; k++) dp__piece_add(out, list[k].token, list[k].length);
}

static void dp__tidy_sum(const dp_vocabulary *v, dp__piece *p) {
    dp__piece list[DP_FORMULA_MAX];
    int minus = 0;
    size_t k, count = dp__pieces(p->token, 0, 0, list, 0, &minus);
    dp__pieces_sort(v, list, count, 0);
    p->length = 0;
    if (list[0].turned) { /* all are */
        dp__piece_put(p, DP_NEG);
        for (k = 0; k < count; k++) list[k].turned = 0;
    }
    dp__pieces_join(list, count, 0, p);
}

static int dp__piece_is_one(const dp_vocabulary *v, const dp__piece *p) {
    size_t symbol = p->token[0];
    if (symbol < (size_t)DP_OPERATORS) return 0;
    symbol -= (size_t)DP_OPERATORS;
    return v->symbols[symbol].kind == DP_FIXED && v->symbols[symbol].value == 1.0;
}

/* 1 x is x; 1/x stays where there is no operator for it. */
static void dp__tidy_product(const dp_vocabulary *v, dp__piece *p) {
    dp__piece list[DP_FORMULA_MAX];
    int minus = 0, inverse = (dp_vocabulary_operators(v) >> DP_INV & 1u) != 0;
    size_t above = 0, count = dp__pieces(p->token, 1, 0, list, 0, &minus), left = 0, k;
    for (k = 0; k < count; k++) {
        if (dp__piece_is_one(v, &list[k])) list[k].turned = 0;
        above += !list[k].turned;
    }
    dp__pieces_sort(v, list, count, 1);
    for (k = 0; k < count; k++) {
        int more = count - k + left > 1 && (above > 1 || inverse);
        if (more && dp__piece_is_one(v, &list[k])) above--;
        else list[left++] = list[k];
    }
    p->length = 0;
    if (minus) dp__piece_put(p, DP_NEG);
    if (!above) dp__piece_put(p, DP_INV);
    else if (above < left) dp__piece_put(p, DP_DIV);
    dp__pieces_join(list, above, 1, p);
    dp__pieces_join(list + above, left - above, 1, p);
}

/* The expression at token, tidied, into out. */
static size_t dp__tidy(const dp_vocabulary *v, const uint8_t *token, dp__piece *out) {
    dp__piece child;
    size_t op = token[0], used = 1, k, arity = dp_operator_arity(op);
    out->length = 0;
    dp__piece_put(out, op);
    for (k = 0; k < arity; k++) {
        used += dp__tidy(v, token + used, &child);
        dp__piece_add(out, child.token, child.length);
    }
    if (op == DP_SQUARE && out->token[1] == DP_SQRT) {
        child = *out;
        out->length = 0;
        dp__piece_add(out, child.token + 2, child.length - 2);
    }
    if (op == DP_ADD || op == DP_SUB ||
        (op == DP_NEG && (out->token[1] == DP_ADD || out->token[1] == DP_SUB)))
        dp__tidy_sum(v, out);
    else if (op == DP_MUL || op == DP_DIV || op == DP_INV || op == DP_NEG)
        dp__tidy_product(v, out);
    return used;
}

AF_API void dp_formula_tidy(const dp_vocabulary *v, dp_formula *f) {
    dp__piece all;
    size_t i, open = 1;
    for (i = 0; i < f->length && i < DP_FORMULA_MAX && open; i++) {
        size_t t = f->token[i];
        if (t >= DP_OPERATORS + v->symbol_count) return;
        open = open + (t < DP_OPERATORS ? dp_operator_arity(t) : 0) - 1;
    }
    if (open || i != f->length) return;
    dp__tidy(v, f->token, &all);
    memcpy(f->token, all.token, all.length);
    f->length = all.length;
}
