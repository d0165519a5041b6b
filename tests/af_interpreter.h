/* The naive interpreter of the expression graph: node after node, element after element. It needs
 * the graph itself and is compiled with the library (library.c); af_private.h declares it. */
#ifndef AF_INTERPRETER_H
#define AF_INTERPRETER_H

#include "af_heap.h"

static void reference_unravel(const af__node *n, size_t linear, size_t *at) {
    size_t i;
    for (i = n->rank; i-- > 0;) {
        at[i] = linear % n->dim[i];
        linear /= n->dim[i];
    }
}

static size_t reference_ravel(const af__node *n, const size_t *at) {
    size_t i, linear = 0;
    for (i = 0; i < n->rank; i++) linear = linear * n->dim[i] + at[i];
    return linear;
}

long double reference_softplus(long double x) {
    return (x > 0 ? x : 0) + log1pl(expl(-fabsl(x)));
}

long double reference_unary(af_op op, long double x) {
    switch (op) {
    case AF_OP_NEG: return -x;
    case AF_OP_EXP: return expl(x);
    case AF_OP_EXPM1: return expm1l(x);
    case AF_OP_LOG: return logl(x);
    case AF_OP_LOG1P: return log1pl(x);
    case AF_OP_SQRT: return sqrtl(x);
    case AF_OP_RECIPROCAL: return 1 / x;
    case AF_OP_SIN: return sinl(x);
    case AF_OP_COS: return cosl(x);
    case AF_OP_TANH: return tanhl(x);
    case AF_OP_SECH2: return 1 / (coshl(x) * coshl(x));
    case AF_OP_SIGMOID: return x < 0 ? expl(x) / (1 + expl(x)) : 1 / (1 + expl(-x));
    case AF_OP_SOFTPLUS: return reference_softplus(x);
    case AF_OP_ATAN: return atanl(x);
    case AF_OP_ABS: return fabsl(x);
    case AF_OP_SIGN: return x > 0 ? 1 : x < 0 ? -1 : x;
    case AF_OP_FLOOR: return floorl(x);
    default: return NAN;
    }
}

static double reference_elementwise(const af__node *n, const double *const *a, size_t i) {
    long double x = a[0][i], y = a[1] ? a[1][i] : 0, z = a[2] ? a[2][i] : 0;
    switch (n->op) {
    case AF_OP_ADD: return (double)(x + y);
    case AF_OP_SUB: return (double)(x - y);
    case AF_OP_MUL: return (double)(x * y);
    case AF_OP_ATAN2: return (double)atan2l(x, y);
    case AF_OP_LESS: return x < y ? 1 : 0;
    case AF_OP_WHERE: return (double)(x != 0 ? y : z);
    case AF_OP_RANDOM: return af_random_uniform((uint64_t)x, n->number, i);
    default: return (double)reference_unary(n->op, x);
    }
}

/* The element of the argument that element i of a view shows; SIZE_MAX: the zeros of a pad. */
static size_t reference_source(const af__node *n, const af__node *from, size_t i) {
    size_t k, at[AF_RANK_MAX], src[AF_RANK_MAX];
    if (n->op == AF_OP_RESHAPE || n->op == AF_OP_STOP) return i;
    reference_unravel(n, i, at);
    for (k = 0; k < n->rank; k++) src[k] = at[k];
    for (k = 0; k < n->rank; k++) {
        if (n->op == AF_OP_PERMUTE) src[(n->number >> (4 * k)) & 15u] = at[k];
        if (n->op == AF_OP_BROADCAST && from->dim[k] == 1) src[k] = 0;
    }
    if (n->op == AF_OP_SLICE) src[n->axis] += (size_t)n->number;
    if (n->op == AF_OP_PAD) {
        if (at[n->axis] < n->number || at[n->axis] - n->number >= from->dim[n->axis])
            return SIZE_MAX;
        src[n->axis] -= (size_t)n->number;
    }
    return reference_ravel(from, src);
}

static void reference_sum(const af__node *n, const af__node *from, const double *x,
                                 double *y) {
    size_t i, k, at[AF_RANK_MAX], size = af__node_size(n);
    long double *total = (long double *)calloc(size, sizeof *total);
    if (!total) exit(2);
    for (i = 0; i < af__node_size(from); i++) {
        reference_unravel(from, i, at);
        for (k = 0; k < from->rank; k++)
            if (n->number >> k & 1u) at[k] = 0;
        total[reference_ravel(n, at)] += x[i];
    }
    for (i = 0; i < size; i++) y[i] = (double)total[i];
    free(total);
}

static void reference_concat(const af__node *n, const af__node *left, const af__node *right,
                                    const double *a, const double *b, double *y) {
    size_t i, at[AF_RANK_MAX];
    for (i = 0; i < af__node_size(n); i++) {
        reference_unravel(n, i, at);
        if (at[n->axis] < left->dim[n->axis]) {
            y[i] = a[reference_ravel(left, at)];
        } else {
            at[n->axis] -= left->dim[n->axis];
            y[i] = b[reference_ravel(right, at)];
        }
    }
}

/* An index outside the rows counts as row 0. */
static void reference_rows(const af__node *n, const af__node *from, const double *x,
                                  const double *index, size_t count, double *y) {
    size_t i, j, rows = n->op == AF_OP_GATHER ? from->dim[0] : n->dim[0];
    size_t length = af__node_size(from) / from->dim[0];
    for (i = 0; i < af__node_size(n); i++) y[i] = 0;
    for (i = 0; i < count; i++) {
        size_t row = index[i] >= 0 && index[i] < (double)rows ? (size_t)index[i] : 0;
        for (j = 0; j < length; j++) {
            if (n->op == AF_OP_GATHER) y[i * length + j] = x[row * length + j];
            else y[row * length + j] += x[i * length + j];
        }
    }
}

static void reference_matmul(const af__node *n, size_t depth, const double *a,
                                    const double *b, double *y) {
    size_t rows = n->dim[n->rank - 2], columns = n->dim[n->rank - 1];
    size_t s, i, j, k, batch = af__node_size(n) / (rows * columns);
    for (s = 0; s < batch; s++)
        for (i = 0; i < rows; i++)
            for (j = 0; j < columns; j++) {
                long double total = 0;
                for (k = 0; k < depth; k++)
                    total += (long double)a[(s * rows + i) * depth + k] *
                             b[(s * depth + k) * columns + j];
                y[(s * rows + i) * columns + j] = (double)total;
            }
}

static void reference_node(const af_context *c, size_t id, double **v) {
    const af__node *n = &c->graph->node[id], *x = &c->graph->node[n->arg[0]];
    const double *a[3];
    size_t i, size = af__node_size(n);
    double *y = v[id] = test_array(size);
    for (i = 0; i < 3; i++) a[i] = n->arg[i] ? v[n->arg[i]] : NULL;
    switch (n->op) {
    case AF_OP_INPUT: memset(y, 0, size * sizeof *y); break; /* not one of the given inputs */
    case AF_OP_CONSTANT:
        for (i = 0; i < size; i++) y[i] = n->value;
        break;
    case AF_OP_TENSOR: memcpy(y, n->data, size * sizeof *y); break;
    case AF_OP_SUM: reference_sum(n, x, a[0], y); break;
    case AF_OP_CONCAT: reference_concat(n, x, &c->graph->node[n->arg[1]], a[0], a[1], y); break;
    case AF_OP_GATHER:
    case AF_OP_SCATTER:
        reference_rows(n, x, a[0], a[1], c->graph->node[n->arg[1]].dim[0], y);
        break;
    case AF_OP_MATMUL: reference_matmul(n, x->dim[x->rank - 1], a[0], a[1], y); break;
    default:
        for (i = 0; i < size; i++) {
            if (af__ops[n->op].kind == AF__ELEMENTWISE) {
                y[i] = reference_elementwise(n, a, i);
            } else {
                size_t from = reference_source(n, x, i);
                y[i] = from == SIZE_MAX ? 0.0 : a[0][from];
            }
        }
    }
}

void reference_compute(af_context *c, size_t inputs, const af_expr *in, const double *const *data,
                       size_t outputs, const af_expr *out, double **results) {
    size_t i, k, last = af__last_id(outputs, out), leaf = af__last_id(inputs, in);
    size_t top = (last > leaf ? last : leaf) + 1;
    double **v = (double **)calloc(top, sizeof *v);
    uint32_t *needed = (uint32_t *)calloc(top, sizeof *needed);
    if (!v || !needed) exit(2);
    af__mark_needed(c, outputs, out, last, needed);
    for (i = 0; i < inputs; i++) {
        v[in[i].id] = test_array(af_size(c, in[i]));
        memcpy(v[in[i].id], data[i], af_size(c, in[i]) * sizeof(double));
    }
    for (i = 1; i <= last; i++)
        if (needed[i] && !v[i]) reference_node(c, i, v);
    for (i = 0; i < outputs; i++) {
        results[i] = test_array(af_size(c, out[i]));
        for (k = 0; k < af_size(c, out[i]); k++) results[i][k] = v[out[i].id][k];
    }
    for (i = 0; i < top; i++) free(v[i]);
    free(v);
    free(needed);
}

void reference_print(const af_context *c, af_expr x) {
    printf("%s %s", af__ops[af__at(c, x)->op].text, af__show(c, x).text);
}

#endif
