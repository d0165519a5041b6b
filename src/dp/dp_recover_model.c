/* ---- recovery: the potential as a function of its parameters ------------------------------------
 *
 * ln rho = c - p0 ln r - (p1 - p0) ln(1 + r/a) + sum_k w_k tanh((x - x_k)/h), x = asinh(r/a), with
 * r softened by a/10 in the first logarithm: a broken power law and a layer of tanh units whose
 * places are fixed. What is learned, (c, p0, p1, w), comes in linearly, so that Newton's method
 * goes straight to the best; inner weights that move make ln likelihood a maze of curved valleys.
 * With G = 1 a table of Phi and its slope is linear in the densities at two Gauss nodes a cell:
 *     M(r) = int_0^r 4 pi rho r^2 dr,  Phi = -M/r - int_r^top 4 pi rho r dr,  dPhi/dr = M/r^2. */

enum {
    DP__GAUSS = 2 * DP__CELLS,         /* 2 nodes a cell: relative error h^4/4320, below 1e-9 */
    DP__PLACES = DP__GAUSS + DP__POINTS,
    DP__TABLE = 2 * DP__POINTS,        /* Phi, h dPhi/dx of each point, ... */
    DP__HALO = DP__TABLE + DP__POINTS, /* ... then ln rho of all */
    DP__BROKEN = 3,                    /* c, p0, p1 */
    DP__UNITS_MAX = 128
};

/* How far the broken power law goes from where it begins: slopes are those of galaxies, c is
 * free. */
static const double dp__broken_start[DP__BROKEN] = {0.0, 1.0, 3.5};
static const double dp__broken_prior[DP__BROKEN] = {100.0, 1.0, 1.0};

/* Units lie this many spreads about the middle, stars within 2; over one spread they bend ln rho by
 * about 1.2, over the stars' radii by a few. */
#define DP__UNITS_REACH 3.0
#define DP__UNITS_BEND 1.2

typedef struct dp__halo {
    dp__radial table;
    size_t count;     /* of parameters */
    double *p;        /* (count): c, p0, p1, then w */
    double *design;   /* (DP__PLACES,count): derivatives of ln rho at Gauss nodes, then points */
    double *rho;      /* (DP__GAUSS,count): density, by the parameters */
    double *sums;     /* (2,count) */
    double *out;      /* (DP__HALO) */
    double *rows;     /* (DP__HALO,count): its derivatives */
} dp__halo;

/* Radii of the places: Gauss nodes, then points of the table. */
static double dp__place_r(const dp__radial *t, size_t i) {
    double x = (double)(i - DP__GAUSS) * t->h;
    if (i < (size_t)DP__GAUSS)
        x = ((double)(i / 2) + 0.5 + (i % 2 ? 0.5 : -0.5) / sqrt(3.0)) * t->h;
    return t->a * sinh(x);
}

/* The table to (DP__TABLE,m) of m densities rho (DP__GAUSS,m); sums (2,m). */
static void dp__halo_integrate(const dp__radial *t, size_t m, const double *rho, double *sums,
                               double *to) {
    double *mass = sums, *outside = sums + m;
    size_t k, i, q;
    memset(sums, 0, 2 * m * sizeof *sums);
    for (k = DP__POINTS; k-- > 0;) { /* from the top inwards */
        for (q = 0; q < m; q++) to[2 * k * m + q] = -outside[q];
        for (i = k ? 2 * (k - 1) : 0; i < 2 * k; i++) {
            double r = dp__place_r(t, i), w = 0.5 * t->h * sqrt(r * r + t->a * t->a);
            for (q = 0; q < m; q++) outside[q] += 4.0 * DP__PI * r * w * rho[i * m + q];
        }
    }
    for (k = 0; k < (size_t)DP__POINTS; k++) {
        double r_k = t->cell[k][2], over = k ? 1.0 / r_k : 0.0;
        for (q = 0; q < m; q++) {
            to[2 * k * m + q] -= mass[q] * over;
            to[(2 * k + 1) * m + q] = mass[q] * over * over * t->cell[k][3];
        }
        for (i = 2 * k; i < 2 * k + 2 && i < (size_t)DP__GAUSS; i++) {
            double r = dp__place_r(t, i), w = 0.5 * t->h * sqrt(r * r + t->a * t->a);
            for (q = 0; q < m; q++) mass[q] += 4.0 * DP__PI * r * r * w * rho[i * m + q];
        }
    }
}

/* Units see (x - middle)/spread. The table's radii are there already. */
static af_status dp__halo_open(af_context *c, dp__arena *arena, size_t units, double middle,
                               double spread, dp__halo *h) {
    size_t i, k, n = DP__BROKEN + units;
    double step = units > 1 ? 2.0 * DP__UNITS_REACH / (double)(units - 1) : 1.0;
    h->count = n;
    h->p = DP__ARRAY(arena, double, n);
    h->design = DP__ARRAY(arena, double, n * DP__PLACES);
    h->rho = DP__ARRAY(arena, double, n * DP__GAUSS);
    h->sums = DP__ARRAY(arena, double, 2 * n);
    h->out = DP__ARRAY(arena, double, DP__HALO);
    h->rows = DP__ARRAY(arena, double, n * DP__HALO);
    if (!h->p || !h->design || !h->rho || !h->sums || !h->out || !h->rows)
        return dp__fail_memory(c, "a potential");
    memcpy(h->p, dp__broken_start, sizeof dp__broken_start);
    for (i = 0; i < (size_t)DP__PLACES; i++) {
        double r = dp__place_r(&h->table, i), *row = h->design + i * n, a = h->table.a;
        double x = (dp__radial_x(&h->table, r) - middle) / spread;
        row[0] = 1.0;
        row[2] = -log(1.0 + r / a);
        row[1] = -0.5 * log(r * r / (a * a) + 0.01) - row[2];
        for (k = 0; k < units; k++)
            row[DP__BROKEN + k] = tanh((x + DP__UNITS_REACH) / step - (double)k);
    }
    return AF_OK;
}

/* The table at the parameters; 0 when it is not finite. */
static int dp__halo_update(dp__halo *h) {
    size_t i, k, n = h->count;
    for (i = 0; i < (size_t)DP__PLACES; i++) {
        double sum = 0.0;
        for (k = 0; k < n; k++) sum += h->design[i * n + k] * h->p[k];
        if (i < (size_t)DP__GAUSS) h->rho[i] = exp(sum);
        else h->out[DP__TABLE + i - DP__GAUSS] = sum;
    }
    dp__halo_integrate(&h->table, 1, h->rho, h->sums, h->out);
    for (k = 0; k < (size_t)DP__POINTS; k++) {
        h->table.cell[k][0] = h->out[2 * k];
        h->table.cell[k][1] = h->out[2 * k + 1];
        if (!dp__is_finite(h->out[2 * k] + h->out[2 * k + 1] + h->out[DP__TABLE + k])) return 0;
    }
    return 1;
}

/* Its derivatives at the parameters. */
static void dp__halo_derive(dp__halo *h) {
    size_t i, k, n = h->count;
    for (i = 0; i < (size_t)DP__GAUSS; i++) {
        double sum = 0.0;
        for (k = 0; k < n; k++) sum += h->design[i * n + k] * h->p[k];
        for (k = 0; k < n; k++) h->rho[i * n + k] = exp(sum) * h->design[i * n + k];
    }
    dp__halo_integrate(&h->table, n, h->rho, h->sums, h->rows);
    memcpy(h->rows + DP__TABLE * n, h->design + DP__GAUSS * n, DP__POINTS * n * sizeof(double));
}

/* -ln prior; gradient and precision (count) get what belongs to it, unless NULL. */
static double dp__halo_prior(const dp__halo *h, double *gradient, double *precision) {
    size_t i, units = h->count - DP__BROKEN;
    double bend = DP__UNITS_BEND * 0.5 * sqrt(2.0 * DP__UNITS_REACH / (double)units), sum = 0.0;
    for (i = 0; i < h->count; i++) { /* a unit's step is twice its weight: hence 0.5 */
        double mean = i < (size_t)DP__BROKEN ? dp__broken_start[i] : 0.0;
        double sd = i < (size_t)DP__BROKEN ? dp__broken_prior[i] : bend;
        sum += 0.5 * (h->p[i] - mean) * (h->p[i] - mean) / (sd * sd);
        if (gradient) gradient[i] = (h->p[i] - mean) / (sd * sd);
        if (precision) precision[i] = 1.0 / (sd * sd);
    }
    return sum;
}
