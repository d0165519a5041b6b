/* ---- matching: a continuous flow trained by conditional flow matching --------------------------
 *
 * Lipman et al. (2023, arXiv:2210.02747): with x0 a unit normal, x1 a star and t uniform, the mean
 * of |v(t, x_t) - (x1 - x0)|^2, x_t = (1 - t) x0 + t x1, is smallest for the velocity field that
 * carries the normal to the distribution of the stars. No integration in training. */

static void dp__matching_defaults(dp_df_desc *d, const char **text) {
    if (d->width == 0) d->width = 256;
    if (d->depth == 0) d->depth = 4;
    d->transforms = 1;
    if (d->activation == AF_RELU)
        *text = "matching needs an activation whose second derivatives do not vanish";
}

/* Times (b,1), one in each of b equal parts of (0,1): rows come in random order. */
static af_expr dp__matching_times(dp_df *df, size_t b, af_expr seed, uint64_t stream) {
    dp__arena arena = dp__arena_open(df->c);
    double *part = DP__ARRAY(&arena, double, b);
    size_t dims[2], i;
    af_expr t = DP__ZERO;
    dims[0] = b;
    dims[1] = 1;
    for (i = 0; part && i < b; i++) part[i] = (double)i;
    if (part) t = af_constant_array(df->c, 2, dims, part);
    else dp__fail_memory(df->c, "the times of flow matching");
    dp__arena_free(&arena);
    t = af_add(df->c, t, af_random(df->c, 2, dims, seed, stream));
    return af_scale(df->c, t, 1.0 / (double)b);
}

static af_expr dp__matching_loss(void *user, af_expr rows, af_expr seed) {
    dp_df *df = (dp_df *)user;
    af_context *c = df->c;
    size_t dims[AF_RANK_MAX];
    af_expr x0, x1, t, v, miss;
    af_shape(c, rows, dims);
    x0 = dp__normals(c, dims[0], seed, 0);
    x1 = af_slice(c, rows, 1, 0, 6);
    t = dp__matching_times(df, dims[0], seed, 2);
    v = af_sub(c, x1, x0);
    miss = af_sub(c, dp__field(df, 0, t, af_add(c, x0, af_mul(c, t, v))), v);
    miss = af_sum_axis(c, af_square(c, miss), 1);
    return af_mean(c, af_mul(c, af_slice(c, rows, 1, 6, 1), miss));
}

static const dp__engine dp__matching_engine = {
    "matching", dp__matching_defaults, dp__cnf_declare, dp__cnf_close, 64, 2048, 2e-3, 0.999,
    dp__matching_loss, NULL, NULL, dp__cnf_evaluate, dp__cnf_draw, NULL, NULL};
