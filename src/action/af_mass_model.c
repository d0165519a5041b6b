/* ---- a mass model from the energies of streams ----------------------------------------------- */

/* The grid, in units of the median distance of the stars: what lies inside a galaxy of discs and
 * halo, at steps of 1.6 and 1.9. Finer grids change little: the ridge binds what they add. */
enum { AF__MM_LENGTHS = 12, AF__MM_HEIGHTS = 16, AF__MM_PARTS = 12 * 16, AF__MM_FOLDS = 4 };
static const double AF__MM_LENGTH[2] = {0.04, 6.0};   /* first after 0, last */
static const double AF__MM_HEIGHT[2] = {0.002, 20.0}; /* first, last */
static const double AF__MM_CORE = 0.06; /* first of ellipsoids: sharper ones make cusps in the
                                           centre, where few stars are, and chaos there */
enum { AF__MM_RIDGES = 11 }; /* 10^-1, 10^-1.5 ... 10^-6 */

/* Axis ratios y/x and z/x of the equipotentials of the ellipsoids, instead of the lengths. */
enum { AF__MM_RATIOS_Y = 3, AF__MM_RATIOS_Z = 4 }; /* their product is AF__MM_LENGTHS */
static const double AF__MM_RATIO[AF__MM_RATIOS_Z] = {0.85, 1.0, 1.18, 0.72};

struct af_mass_model {
    af_context *context;
    af_allocator allocator;
    int triaxial; /* ellipsoids instead of discs */
    double length[AF__MM_LENGTHS], height[AF__MM_HEIGHTS];
    double y2[AF__MM_LENGTHS], z2[AF__MM_LENGTHS]; /* triaxial: squares of 1/ratio */
    double gm[AF__MM_HEIGHTS][AF__MM_LENGTHS];     /* G M [kpc (km/s)^2] */
    double misfit, ridge;
};

AF_API void af_mass_model_destroy(af_mass_model *m) {
    if (m) m->allocator.release(m, sizeof *m, m->allocator.user);
}

static af_mass_model *af__mass_model_new(af_context *c) {
    af_mass_model *m =
        (af_mass_model *)c->allocator.allocate(sizeof(af_mass_model), c->allocator.user);
    if (!m) {
        af__fail_memory(c, "a mass model");
        return NULL;
    }
    memset(m, 0, sizeof *m);
    m->context = c;
    m->allocator = c->allocator;
    return m;
}

static void af__mass_model_ratios(af_mass_model *m) {
    int j;
    for (j = 0; j < AF__MM_LENGTHS; j++) {
        double p = AF__MM_RATIO[j / AF__MM_RATIOS_Z], q = AF__MM_RATIO[j % AF__MM_RATIOS_Z];
        m->y2[j] = 1.0 / (p * p);
        m->z2[j] = 1.0 / (q * q);
    }
}

/* ---- the field ---- */

/* Value and acceleration add up part by part; the trip counts are constants, so that compilers make
 * vectors of the loops. Discs at one height: h = a + sqrt(z^2 + b^2). */
static void af__mass_model_discs(const af_mass_model *m, int k, const double x[3], double sum[4]) {
    double cylinder2 = x[0] * x[0] + x[1] * x[1], pull = 0.0, lift = 0.0, value = 0.0;
    double root = sqrt(x[2] * x[2] + m->height[k] * m->height[k]);
    int j;
    for (j = 0; j < AF__MM_LENGTHS; j++) {
        double h = m->length[j] + root, d2 = cylinder2 + h * h;
        double phi = m->gm[k][j] / sqrt(d2), f = phi / d2;
        value += phi;
        pull += f;
        lift += f * h;
    }
    sum[0] -= pull * x[0];
    sum[1] -= pull * x[1];
    sum[2] -= lift * x[2] / root;
    sum[3] -= value;
}

/* Ellipsoids of one scale: d^2 = b^2 + x^2 + (y/p)^2 + (z/q)^2. */
static void af__mass_model_ellipsoids(const af_mass_model *m, int k, const double x[3],
                                      double sum[4]) {
    double first = x[0] * x[0] + m->height[k] * m->height[k], y2 = x[1] * x[1], z2 = x[2] * x[2];
    double pull = 0.0, pull_y = 0.0, pull_z = 0.0, value = 0.0;
    int j;
    for (j = 0; j < AF__MM_LENGTHS; j++) {
        double d2 = first + y2 * m->y2[j] + z2 * m->z2[j];
        double phi = m->gm[k][j] / sqrt(d2), f = phi / d2;
        value += phi;
        pull += f;
        pull_y += f * m->y2[j];
        pull_z += f * m->z2[j];
    }
    sum[0] -= pull * x[0];
    sum[1] -= pull_y * x[1];
    sum[2] -= pull_z * x[2];
    sum[3] -= value;
}

/* Acceleration, then Phi. */
static void af__mass_model_at(const af_mass_model *m, const double x[3], double sum[4]) {
    int k;
    sum[0] = sum[1] = sum[2] = sum[3] = 0.0;
    for (k = 0; k < AF__MM_HEIGHTS; k++)
        if (m->triaxial) af__mass_model_ellipsoids(m, k, x, sum);
        else af__mass_model_discs(m, k, x, sum);
}

AF_API double af_mass_model_value(const af_mass_model *m, const double x[3]) {
    double sum[4];
    af__mass_model_at(m, x, sum);
    return sum[3];
}

AF_API void af_mass_model_acceleration(const af_mass_model *m, const double x[3],
                                       double acceleration[3]) {
    double sum[4];
    af__mass_model_at(m, x, sum);
    memcpy(acceleration, sum, 3 * sizeof *sum);
}

AF_API int af_mass_model_is_axisymmetric(const af_mass_model *m) { return !m->triaxial; }

AF_API size_t af_mass_model_count(const af_mass_model *m) {
    return m->triaxial ? 0 : (size_t)AF__MM_PARTS;
}

AF_API af_potential af_mass_model_part(const af_mass_model *m, size_t i) {
    size_t j = i % AF__MM_LENGTHS, k = i / AF__MM_LENGTHS % AF__MM_HEIGHTS;
    return af_potential_miyamoto_nagai(m->gm[k][j] / AF_GRAVITY, m->length[j], m->height[k]);
}

/* Laplacian of the ellipsoids' potential, GM [(1 + p^-2 + q^-2)/d^3 - 3 (x^2 + y^2/p^4 +
 * z^2/q^4)/d^5]. */
static double af__mass_model_laplacian(const af_mass_model *m, const double x[3]) {
    double sum = 0.0;
    int j, k;
    for (k = 0; k < AF__MM_HEIGHTS; k++)
        for (j = 0; j < AF__MM_LENGTHS; j++) {
            double u = m->y2[j], w = m->z2[j], b = m->height[k];
            double y2 = x[1] * x[1] * u, z2 = x[2] * x[2] * w;
            double d2 = b * b + x[0] * x[0] + y2 + z2;
            double bend = 3.0 * (x[0] * x[0] + y2 * u + z2 * w) / d2;
            sum += m->gm[k][j] * (1.0 + u + w - bend) / (d2 * sqrt(d2));
        }
    return sum;
}

AF_API double af_mass_model_density(const af_mass_model *m, const double x[3]) {
    double sum = 0.0;
    size_t i;
    if (m->triaxial) return af__mass_model_laplacian(m, x) / (4.0 * AF__PI * AF_GRAVITY);
    for (i = 0; i < AF__MM_PARTS; i++) {
        af_potential part = af_mass_model_part(m, i);
        sum += af_potential_density(&part, 1, x);
    }
    return sum;
}

AF_API double af_mass_model_misfit(const af_mass_model *m) { return m->misfit; }

AF_API double af_mass_model_radius(const af_mass_model *m) {
    return m->height[AF__MM_HEIGHTS - 1] / AF__MM_HEIGHT[1];
}

static double af__mass_model_value_of(const double x[3], void *user) {
    return af_mass_model_value((const af_mass_model *)user, x);
}

static void af__mass_model_acceleration_of(const double x[3], double a[3], void *user) {
    af_mass_model_acceleration((const af_mass_model *)user, x, a);
}

AF_API af_field af_field_of_mass_model(const af_mass_model *m) {
    af_field field;
    field.value = af__mass_model_value_of;
    field.acceleration = af__mass_model_acceleration_of;
    field.user = (void *)(size_t)m;
    return field;
}

AF_API af_force af_force_of_mass_model(const af_mass_model *m) {
    af_field field = af_field_of_mass_model(m);
    return af_force_of_field(&field);
}

/* ---- files ---- */

#define AF__MM_FORMAT "actionfinder mass model 1"

/* Ellipsoids have the axis ratios of the library; the lengths are zeros then. */
static const char *const af__mass_model_parts[2] = {"discs", "ellipsoids"};

static const size_t af__mass_model_dims[2] = {AF__MM_HEIGHTS, AF__MM_LENGTHS};

AF_API af_status af_mass_model_save(const af_mass_model *m, const char *path) {
    const size_t *dims = af__mass_model_dims;
    af_tensors *set;
    af_status s = af_tensors_create(m->context, &set);
    if (s != AF_OK) return s;
    s = af_tensors_set_text(set, "format", AF__MM_FORMAT);
    if (s == AF_OK) s = af_tensors_set_number(set, "misfit", m->misfit);
    if (s == AF_OK) s = af_tensors_set_number(set, "ridge", m->ridge);
    if (s == AF_OK) s = af_tensors_set_text(set, "parts", af__mass_model_parts[m->triaxial]);
    if (s == AF_OK) s = af_tensors_add(set, "height_kpc", AF_DTYPE_F64, 1, dims, m->height);
    if (s == AF_OK) s = af_tensors_add(set, "length_kpc", AF_DTYPE_F64, 1, dims + 1, m->length);
    if (s == AF_OK) s = af_tensors_add(set, "gm_kpc_kms2", AF_DTYPE_F64, 2, dims, m->gm);
    if (s == AF_OK) s = af_tensors_write(set, path);
    af_tensors_destroy(set);
    return s;
}

/* What the fit makes: finite, the lengths from 0 upwards, the heights from above 0. */
static int af__mass_model_sane(const af_mass_model *m) {
    int i;
    if (!af__all_finite(m->gm[0], AF__MM_PARTS) || !af__all_finite(m->length, AF__MM_LENGTHS) ||
        !af__all_finite(m->height, AF__MM_HEIGHTS) || m->length[0] != 0.0)
        return 0;
    for (i = 1; i < AF__MM_LENGTHS; i++)
        if (m->triaxial ? m->length[i] != 0.0 : !(m->length[i] > m->length[i - 1])) return 0;
    for (i = 0; i < AF__MM_HEIGHTS; i++)
        if (!(m->height[i] > (i ? m->height[i - 1] : 0.0))) return 0;
    return af__is_finite(m->misfit) && m->misfit >= 0.0 && af__positive(m->ridge);
}

static af_status af__mass_model_take(af_mass_model *m, const af_tensors *from, const char *path) {
    const char *format = af_tensors_text(from, "format"), *parts = af_tensors_text(from, "parts");
    const size_t *dims = af__mass_model_dims;
    af_status s;
    if (!format || strcmp(format, AF__MM_FORMAT) != 0)
        return af__fail(m->context, AF_ERROR_FORMAT,
                        "'%s' is not a mass model (format '%.40s', expected '%s')", path,
                        format ? format : "none", AF__MM_FORMAT);
    m->triaxial = parts && strcmp(parts, af__mass_model_parts[1]) == 0;
    if (!m->triaxial && (!parts || strcmp(parts, af__mass_model_parts[0]) != 0))
        return af__fail(m->context, AF_ERROR_FORMAT,
                        "'%s': the parts of the mass model are '%.40s', not discs or ellipsoids",
                        path, parts ? parts : "none");
    af__mass_model_ratios(m);
    s = af_tensors_number(from, "misfit", &m->misfit);
    if (s == AF_OK) s = af_tensors_number(from, "ridge", &m->ridge);
    if (s == AF_OK) s = af_tensors_get(from, "height_kpc", 1, dims, m->height);
    if (s == AF_OK) s = af_tensors_get(from, "length_kpc", 1, dims + 1, m->length);
    if (s == AF_OK) s = af_tensors_get(from, "gm_kpc_kms2", 2, dims, m->gm[0]);
    if (s != AF_OK || af__mass_model_sane(m)) return s;
    return af__fail(m->context, AF_ERROR_FORMAT,
                    "'%s': the mass model's numbers make no sense: lengths, heights, misfit or "
                    "ridge out of range, or not finite",
                    path);
}

AF_API af_status af_mass_model_load(af_context *c, const char *path, af_mass_model **out) {
    af_tensors *set;
    af_mass_model *m;
    af_status s;
    *out = NULL;
    s = af_tensors_read(c, path, &set);
    if (s != AF_OK) return s;
    m = af__mass_model_new(c);
    s = m ? af__mass_model_take(m, set, path) : AF_ERROR_MEMORY;
    af_tensors_destroy(set);
    if (s == AF_OK) *out = m;
    else af_mass_model_destroy(m);
    return s;
}

/* ---- the equations ---- */

/* Everything the fit needs: rows of A c = t, centred over each stream. */
typedef struct af__energies {
    af__arena arena;
    size_t rows, streams;
    size_t *first; /* (streams + 1): rows of each stream */
    double *a;     /* (rows, parts): -1/d of the parts, scaled */
    double *t;     /* (rows): -v^2/2 */
    double *scale; /* (parts): rms of the columns */
    double *weight, *residual, *spread; /* (streams): squared residuals are means over the stars */
    double *normal, *right; /* (folds + 1, parts, parts), (folds + 1, parts); the last: all */
    double *matrix, *factor, *diagonal, *solution;
} af__energies;

static void af__mass_model_grid(af_mass_model *m, const af_orbits *o, double *sorted) {
    size_t s, i, n = 0, j;
    double unit, step, first;
    for (s = 0; s < o->streams; s++)
        for (i = 0; i < o->count[s]; i++)
            sorted[n++] = af__radius(af_orbits_xv(o, s) + 6 * i);
    qsort(sorted, n, sizeof *sorted, af__compare_doubles);
    unit = af__quantile(sorted, n, 0.5);
    af__mass_model_ratios(m);
    step = pow(AF__MM_LENGTH[1] / AF__MM_LENGTH[0], 1.0 / (AF__MM_LENGTHS - 2));
    for (j = 1; j < AF__MM_LENGTHS && !m->triaxial; j++)
        m->length[j] = unit * AF__MM_LENGTH[0] * pow(step, (double)j - 1.0);
    first = m->triaxial ? AF__MM_CORE : AF__MM_HEIGHT[0];
    step = pow(AF__MM_HEIGHT[1] / first, 1.0 / (AF__MM_HEIGHTS - 1));
    for (j = 0; j < AF__MM_HEIGHTS; j++) m->height[j] = unit * first * pow(step, (double)j);
}

static af_status af__energies_new(af_context *c, const af_orbits *o, af__energies *e) {
    size_t p = AF__MM_PARTS, f = AF__MM_FOLDS + 1, s;
    memset(e, 0, sizeof *e);
    e->arena.allocator = c->allocator;
    for (s = 0; s < o->streams; s++)
        if (o->count[s] > 1) {
            e->streams++;
            e->rows += o->count[s];
        }
    if (e->streams < 2 * AF__MM_FOLDS)
        return af__fail(c, AF_ERROR_DATA,
                        "mass model: %lu streams have two stars or more, at least %d are needed",
                        (unsigned long)e->streams, 2 * (int)AF__MM_FOLDS);
    e->first = AF__ARRAY(&e->arena, size_t, e->streams + 1);
    e->a = AF__ARRAY(&e->arena, double, e->rows * p);
    e->t = AF__ARRAY(&e->arena, double, e->rows);
    e->scale = AF__ARRAY(&e->arena, double, p);
    e->weight = AF__ARRAY(&e->arena, double, 3 * e->streams);
    e->normal = AF__ARRAY(&e->arena, double, f * p * p);
    e->right = AF__ARRAY(&e->arena, double, f * p);
    e->matrix = AF__ARRAY(&e->arena, double, 2 * p * p + 2 * p);
    if (!e->first || !e->a || !e->t || !e->scale || !e->weight || !e->normal || !e->right ||
        !e->matrix)
        return af__fail_memory(c, "the equations of a mass model");
    e->residual = e->weight + e->streams;
    e->spread = e->residual + e->streams;
    e->factor = e->matrix + p * p;
    e->diagonal = e->factor + p * p;
    e->solution = e->diagonal + p;
    return AF_OK;
}

/* A row before centring. */
static void af__energies_row(const af_mass_model *m, const double xv[6], double *a, double *t) {
    double cylinder2 = xv[0] * xv[0] + xv[1] * xv[1];
    int j, k;
    for (k = 0; k < AF__MM_HEIGHTS; k++) {
        double b2 = m->height[k] * m->height[k], root = sqrt(xv[2] * xv[2] + b2);
        for (j = 0; j < AF__MM_LENGTHS; j++) {
            double h = m->length[j] + root, d2 = cylinder2 + h * h;
            if (m->triaxial)
                d2 = b2 + xv[0] * xv[0] + xv[1] * xv[1] * m->y2[j] + xv[2] * xv[2] * m->z2[j];
            a[k * AF__MM_LENGTHS + j] = -1.0 / sqrt(d2);
        }
    }
    *t = -0.5 * (xv[3] * xv[3] + xv[4] * xv[4] + xv[5] * xv[5]);
}

/* Takes the mean over n values, `stride` apart, from them; the first before that, so that equal
 * values become exactly 0. */
static void af__centre(double *x, size_t n, size_t stride) {
    double mean = 0.0, first = x[0];
    size_t i;
    for (i = 0; i < n; i++) mean += (x[i * stride] - first) / (double)n;
    for (i = 0; i < n; i++) x[i * stride] = x[i * stride] - first - mean;
}

static void af__energies_fill(af__energies *e, const af_mass_model *m, const af_orbits *o) {
    size_t p = AF__MM_PARTS, s, i, j, row = 0, used = 0;
    memset(e->scale, 0, p * sizeof *e->scale);
    memset(e->spread, 0, e->streams * sizeof *e->spread);
    for (s = 0; s < o->streams; s++) {
        size_t n = o->count[s];
        if (n < 2) continue;
        e->first[used++] = row;
        for (i = 0; i < n; i++)
            af__energies_row(m, af_orbits_xv(o, s) + 6 * i, e->a + (row + i) * p, e->t + row + i);
        for (j = 0; j < p; j++) af__centre(e->a + row * p + j, n, p);
        af__centre(e->t + row, n, 1);
        row += n;
    }
    e->first[used] = row;
    for (i = 0; i < row * p; i++) e->scale[i % p] += e->a[i] * e->a[i] / (double)row;
    for (j = 0; j < p; j++) e->scale[j] = sqrt(e->scale[j]) + DBL_MIN;
    for (i = 0; i < row * p; i++) e->a[i] /= e->scale[i % p];
    for (s = 0; s < used; s++) {
        for (i = e->first[s]; i < e->first[s + 1]; i++) e->spread[s] += e->t[i] * e->t[i];
        e->spread[s] /= (double)(e->first[s + 1] - e->first[s]);
        e->weight[s] = 1.0;
    }
}

/* The lower triangles of A^T W A and A^T W t of each quarter of the streams, and of all. */
static void af__energies_normal(af__energies *e) {
    size_t p = AF__MM_PARTS, all = AF__MM_FOLDS, s, row, i, j;
    memset(e->normal, 0, (all + 1) * p * p * sizeof *e->normal);
    memset(e->right, 0, (all + 1) * p * sizeof *e->right);
    for (s = 0; s < e->streams; s++) {
        double *normal = e->normal + s % all * p * p, *right = e->right + s % all * p;
        for (row = e->first[s]; row < e->first[s + 1]; row++) {
            const double *a = e->a + row * p;
            for (i = 0; i < p; i++) {
                double w = e->weight[s] * a[i];
                for (j = 0; j <= i; j++) normal[i * p + j] += w * a[j];
                right[i] += w * e->t[row];
            }
        }
    }
    for (i = 0; i < all * p * p; i++) e->normal[all * p * p + i % (p * p)] += e->normal[i];
    for (i = 0; i < all * p; i++) e->right[all * p + i % p] += e->right[i];
}

/* Solves for the masses without the fold `out` (AF__MM_FOLDS: with all). 0 when the matrix is not
 * positive definite. */
static int af__energies_solve(af__energies *e, size_t out, double ridge) {
    size_t p = AF__MM_PARTS, all = AF__MM_FOLDS, i;
    const double *whole = e->normal + all * p * p, *part = e->normal + out * p * p;
    double trace = 0.0;
    for (i = 0; i < p * p; i++) e->matrix[i] = whole[i] - (out < all ? part[i] : 0.0);
    for (i = 0; i < p; i++) {
        e->solution[i] = e->right[all * p + i] - (out < all ? e->right[out * p + i] : 0.0);
        trace += e->matrix[i * p + i];
    }
    for (i = 0; i < p; i++) e->diagonal[i] = ridge * ridge * trace / (double)p;
    return af__cholesky_solve(1, p, e->matrix, e->diagonal, e->factor, e->solution, e->solution);
}

/* Mean squared residuals of the streams of a fold, or of all. */
static void af__energies_residuals(af__energies *e, size_t fold) {
    size_t p = AF__MM_PARTS, s, row, i;
    for (s = 0; s < e->streams; s++) {
        if (fold < AF__MM_FOLDS && s % AF__MM_FOLDS != fold) continue;
        e->residual[s] = 0.0;
        for (row = e->first[s]; row < e->first[s + 1]; row++) {
            double r = -e->t[row];
            for (i = 0; i < p; i++) r += e->a[row * p + i] * e->solution[i];
            e->residual[s] += r * r / (double)(e->first[s + 1] - e->first[s]);
        }
    }
}

/* The weighted mean squared residual of streams left out; HUGE_VAL when there is no solution. */
static double af__energies_left_out(af__energies *e, double ridge) {
    double sum = 0.0, weights = 0.0;
    size_t fold, s;
    for (fold = 0; fold < AF__MM_FOLDS; fold++) {
        if (!af__energies_solve(e, fold, ridge)) return HUGE_VAL;
        af__energies_residuals(e, fold);
    }
    for (s = 0; s < e->streams; s++) {
        sum += e->weight[s] * e->residual[s];
        weights += e->weight[s];
    }
    return sum / weights;
}

static double af__energies_ridge(af__energies *e) {
    double best = HUGE_VAL, chosen = 0.1;
    int k;
    for (k = 0; k < AF__MM_RIDGES; k++) {
        double ridge = pow(10.0, -1.0 - 0.5 * k), left = af__energies_left_out(e, ridge);
        if (left < best) {
            best = left;
            chosen = ridge;
        }
    }
    return chosen;
}

/* The median over the streams of sqrt(residual/of), of NULL meaning 1. */
static double af__energies_median(const af__energies *e, const double *of, double *sorted) {
    size_t s;
    for (s = 0; s < e->streams; s++) {
        double ratio = of ? (of[s] > 0.0 ? e->residual[s] / of[s] : 0.0) : e->residual[s];
        sorted[s] = sqrt(ratio);
    }
    qsort(sorted, e->streams, sizeof *sorted, af__compare_doubles);
    return af__quantile(sorted, e->streams, 0.5);
}

static void af__energies_reweigh(af__energies *e, double *sorted) {
    double scale = 5.0 * af__energies_median(e, NULL, sorted);
    size_t s;
    for (s = 0; s < e->streams; s++)
        e->weight[s] = scale > 0.0 ? 1.0 / (1.0 + e->residual[s] / (scale * scale)) : 1.0;
}

static af_status af__mass_model_solve(af_mass_model *m, af__energies *e,
                                      const af_mass_model_desc *d, double *sorted) {
    size_t round, rounds = d->rounds ? d->rounds : 3, i;
    for (round = 0; round < rounds; round++) {
        if (round > 0) af__energies_reweigh(e, sorted);
        af__energies_normal(e);
        m->ridge = d->ridge > 0.0 ? d->ridge : af__energies_ridge(e);
        if (round + 1 == rounds) {
            af__energies_left_out(e, m->ridge);
            m->misfit = af__energies_median(e, e->spread, sorted);
        }
        if (!af__energies_solve(e, AF__MM_FOLDS, m->ridge))
            return af__fail(m->context, AF_ERROR_DATA,
                            "mass model: the energies of the streams do not determine it with a "
                            "ridge of %g; %s",
                            m->ridge, d->ridge > 0.0 ? "leave the ridge to be chosen"
                                                     : "more streams on other orbits are needed");
        af__energies_residuals(e, AF__MM_FOLDS);
    }
    if (!af__all_finite(e->solution, AF__MM_PARTS) || !af__is_finite(m->misfit))
        return af__fail(m->context, AF_ERROR_NONFINITE,
                        "mass model: the energies of the streams overflow; are the velocities in "
                        "km/s?");
    for (i = 0; i < AF__MM_PARTS; i++)
        m->gm[i / AF__MM_LENGTHS][i % AF__MM_LENGTHS] = e->solution[i] / e->scale[i];
    return AF_OK;
}

/* With the parts that m->triaxial says. */
static af_status af__mass_model_fit_parts(af_mass_model *m, const af_orbits *o,
                                          const af_mass_model_desc *d, af__energies *e,
                                          double *sorted) {
    af__mass_model_grid(m, o, sorted);
    if (!(m->height[0] > 0.0))
        return af__fail(m->context, AF_ERROR_DATA,
                        "mass model: half of the stars or more are exactly in the centre");
    af__energies_fill(e, m, o);
    return af__mass_model_solve(m, e, d, sorted);
}

/* Errors of the velocities, too, make L_z vary: then both kinds of parts are tried. */
static af_status af__mass_model_fit(af_mass_model *m, const af_orbits *o,
                                    const af_mass_model_desc *d, af__energies *e) {
    af_mass_model discs;
    double *sorted;
    int both;
    af_status status = af__energies_new(m->context, o, e);
    if (status != AF_OK) return status;
    sorted = AF__ARRAY(&e->arena, double, o->streams * o->stars);
    if (!sorted) return af__fail_memory(m->context, "the equations of a mass model");
    both = d->axisymmetric == AF_SYMMETRY_AUTO && !af__lz_is_conserved(o, sorted);
    m->triaxial = d->axisymmetric == AF_SYMMETRY_NO || both;
    status = af__mass_model_fit_parts(m, o, d, e, sorted);
    if (status != AF_OK || !both) return status;
    discs = *m;
    discs.triaxial = 0;
    status = af__mass_model_fit_parts(&discs, o, d, e, sorted);
    if (status == AF_OK && discs.misfit <= m->misfit) *m = discs;
    return status;
}

AF_API af_status af_mass_model_fit(af_context *c, const af_orbits *orbits,
                                   const af_mass_model_desc *desc, af_mass_model **out) {
    af_mass_model_desc d = AF__ZERO;
    af__energies e;
    af_mass_model *m;
    af_status status;
    *out = NULL;
    if (desc) d = *desc;
    if (d.start_canary != 0 || d.end_canary != 0)
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "mass model: af_mass_model_desc was not initialised to zero");
    if (!af__within((int)d.axisymmetric, AF_SYMMETRY_NO))
        return af__fail(c, AF_ERROR_ARGUMENT, "mass model: there is no af_symmetry %d",
                        (int)d.axisymmetric);
    if (!(d.ridge >= 0.0) || !af__is_finite(d.ridge) || d.rounds > 1000)
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "mass model: the ridge %g must be 0 or positive and finite, the rounds %lu "
                        "at most 1000",
                        d.ridge, (unsigned long)d.rounds);
    m = af__mass_model_new(c);
    if (!m) return AF_ERROR_MEMORY;
    status = af__mass_model_fit(m, orbits, &d, &e);
    af__arena_free(&e.arena);
    if (status == AF_OK) *out = m;
    else af_mass_model_destroy(m);
    return status;
}

#undef AF__MM_FORMAT
