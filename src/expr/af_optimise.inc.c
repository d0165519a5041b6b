/* ---- kernels: optimisers ---- */

#if AF__BITS == 64
/* Elements [begin, end) of a step of Adam or RAdam, see af_adam.c. */
static void AF__N(adam)(const af__adam_step *s, size_t begin, size_t end) {
    size_t i;
    for (i = begin; i < end; i += AF__LANES) {
        size_t left = end - i;
        AF__V x = AF__N(get)(s->x + i, left), g = AF__N(get)(s->gradient + i, left) * s->scale;
        AF__V first = AF__N(get)(s->first + i, left), second = AF__N(get)(s->second + i, left);
        first = first + (g - first) * (1.0 - s->beta1);
        second = second + (g * g - second) * (1.0 - s->beta2);
        AF__N(set)(s->first + i, left, first);
        AF__N(set)(s->second + i, left, second);
        x = x - x * s->decay;
        g = first * s->length;
        if (s->rectified > 0.0)
            g = g * s->rectified / (AF__N(vsqrt)(second / s->correction) + s->epsilon);
        AF__N(set)(s->x + i, left, x - g);
    }
}

static double AF__N(square_sum)(const double *x, size_t n) {
    AF__V sum[4];
    double part[AF__LANES], total = 0.0;
    size_t i, k;
    for (k = 0; k < 4; k++) sum[k] = AF__N(splat)(0.0);
    for (i = 0; i + 4 * AF__LANES <= n; i += 4 * AF__LANES)
        for (k = 0; k < 4; k++) {
            AF__V v = AF__N(load)(x + i + k * AF__LANES);
            sum[k] = AF__N(fma)(v, v, sum[k]);
        }
    AF__N(put)(part, (sum[0] + sum[1]) + (sum[2] + sum[3]));
    for (k = 0; k < AF__LANES; k++) total += part[k];
    for (; i < n; i++) total += x[i] * x[i];
    return total;
}
#endif
