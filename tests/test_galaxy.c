/* Multipole expansions against closed forms, and galaxies of discs and spheroids against Bessel
 * functions, Hankel transforms, homoeoids, Poisson's equation and another program. */
#include "actionfinder.in.h"
#include "af_test.h"
#include "af_heap.h"

static heap memory;
static af_context *context;

static void begin(void) {
    if (heap_open(&memory, 0, 0, &context) != AF_OK) abort();
}

static void end(void) {
    CHECK_TEXT(af_error(context), "");
    CHECK(af_error_status(context) == AF_OK);
    af_context_destroy(context);
    CHECK(memory.live == 0);
}

/* The call fails with the status and a sentence that holds the words; clears the error. */
#define FAILS(call, status, words)                   \
    do {                                             \
        CHECK((call) == (status));                   \
        CHECK(af_error_status(context) == (status)); \
        CHECK_TEXT(af_error(context), words);        \
        af_error_clear(context);                     \
    } while (0)

/* A point at a distance, the i-th direction. */
static void place(uint64_t i, double r, double x[3]) {
    double z = 2.0 * af_random_uniform(5, 1, 2 * i) - 1.0;
    double phi = 2.0 * AF__PI * af_random_uniform(5, 1, 2 * i + 1);
    x[0] = r * sqrt(1.0 - z * z) * cos(phi);
    x[1] = r * sqrt(1.0 - z * z) * sin(phi);
    x[2] = r * z;
}

static double distance(const double p[3], const double q[3]) {
    double d[3];
    int i;
    for (i = 0; i < 3; i++) d[i] = p[i] - q[i];
    return norm3(d);
}

/* ---- multipoles ---- */

/* The density of a potential, for af_multipole_desc. */
static double density_of(double radius, double z, void *user) {
    const af_potential_sum *sum = (const af_potential_sum *)user;
    double x[3] = {0.0, 0.0, 0.0};
    x[0] = radius;
    x[2] = z;
    return af_potential_density(sum->parts, sum->count, x);
}

static af_multipole *multipole_of(const af_potential *part, double smallest, double largest,
                                  size_t degree, size_t knots) {
    af_multipole_desc desc = AF__ZERO;
    af_multipole *m = NULL;
    af_potential_sum sum;
    sum.parts = part;
    sum.count = 1;
    desc.density = density_of;
    desc.user = &sum;
    desc.smallest = smallest;
    desc.largest = largest;
    desc.degree = degree;
    desc.spherical = degree == 0;
    desc.knots = knots;
    if (af_multipole_create(context, &desc, &m) != AF_OK) abort();
    return m;
}

/* The largest relative errors of value, acceleration and density at radii between two. */
static void compare(const af_multipole *m, const af_potential *part, double low, double high,
                    double error[3]) {
    uint64_t i;
    error[0] = error[1] = error[2] = 0.0;
    for (i = 0; i < 300; i++) {
        double x[3], a[3], b[3];
        place(i, low * pow(high / low, ((double)i + 0.5) / 300.0), x);
        af_multipole_acceleration(m, x, a);
        af_potential_acceleration(part, 1, x, b);
        error[0] = fmax(error[0], fabs(af_multipole_value(m, x) /
                                       af_potential_value(part, 1, x) - 1.0));
        error[1] = fmax(error[1], distance(a, b) / norm3(b));
        error[2] = fmax(error[2], fabs(af_multipole_density(m, x) /
                                       af_potential_density(part, 1, x) - 1.0));
    }
}

/* The quintic's error falls as the step to the sixth power, its derivatives' to the fifth and
 * fourth; far outside the mass is the whole mass. */
TEST(multipole_plummer) {
    af_potential plummer = af_potential_plummer(5e10, 2.0);
    double e[2][3], centre[3] = {0.0, 0.0, 0.0}, a[3] = {1.0, 1.0, 1.0}, u;
    int i;
    begin();
    for (i = 0; i < 2; i++) {
        af_multipole *m = multipole_of(&plummer, 1e-4, 1e5, 0, i ? 361 : 181);
        compare(m, &plummer, 0.05, 50.0, e[i]);
        u = 3.0 / sqrt(13.0); /* mass inside r = 3: M (r^2/(r^2+b^2))^(3/2) */
        CHECK_CLOSE(af_multipole_mass(m, 3.0) / 5e10, u * u * u, 1e-6);
        CHECK_CLOSE(af_multipole_mass(m, 1e8) / 5e10, 1.0, 1e-8);
        CHECK(af_multipole_mass(m, 0.0) == 0.0);
        CHECK_CLOSE(af_multipole_value(m, centre), -AF_GRAVITY * 5e10 / 2.0, 1e-8);
        af_multipole_acceleration(m, centre, a);
        CHECK(a[0] == 0.0 && a[1] == 0.0 && a[2] == 0.0);
        af_multipole_destroy(m);
    }
    CHECK(e[0][0] < 1e-9 && e[0][1] < 1e-7 && e[0][2] < 1e-4);
    CHECK(log2(e[0][0] / e[1][0]) > 5.5);
    CHECK(log2(e[0][1] / e[1][1]) > 4.5);
    CHECK(log2(e[0][2] / e[1][2]) > 3.5);
    end();
}

/* A grid that ends inside the halo: rho goes on as a power of r, near r^-1 inside and near r^-3
 * outside, where the potential has a logarithm. The inner power is that at the grid's end, 1.3e-4
 * off the limit. */
TEST(multipole_beyond_the_grid) {
    af_potential nfw = af_potential_nfw(5.4e11, 15.6);
    af_multipole *m;
    double e[3];
    begin();
    m = multipole_of(&nfw, 1e-3, 1e7, 4, 0);
    compare(m, &nfw, 1e-3, 1e7, e);
    CHECK(e[0] < 1e-4 && e[1] < 1e-4 && e[2] < 1e-6);
    compare(m, &nfw, 1e-6, 1e-3, e);
    CHECK(e[0] < 1e-6 && e[1] < 2e-3 && e[2] < 2e-3);
    compare(m, &nfw, 1e7, 1e10, e);
    CHECK(e[0] < 2e-3 && e[1] < 2e-3 && e[2] < 5e-3);
    CHECK_CLOSE(af_multipole_mass(m, 1e9) / (5.4e11 * (log1p(1e9 / 15.6) - 1.0)), 1.0, 5e-4);
    af_multipole_destroy(m);
    end();
}

/* The potential of Kuzmin and Kutuzov (Dejonghe & de Zeeuw 1988, ApJ 333, 90): Phi = -GM/sqrt(Q),
 * Q = a^2 + c^2 + r^2 + 2 S, S^2 = a^2 c^2 + c^2 R^2 + a^2 z^2; flattened at all radii. */
enum { KUZMIN_A2 = 4, KUZMIN_C2 = 1 };

static double kuzmin(const double x[3], double a[3]) {
    double r2 = x[0] * x[0] + x[1] * x[1], a2 = KUZMIN_A2, c2 = KUZMIN_C2;
    double s = sqrt(a2 * c2 + c2 * r2 + a2 * x[2] * x[2]);
    double q = a2 + c2 + r2 + x[2] * x[2] + 2.0 * s, pull = AF_GRAVITY * 1e11 / (q * sqrt(q));
    a[0] = -pull * x[0] * (1.0 + c2 / s);
    a[1] = -pull * x[1] * (1.0 + c2 / s);
    a[2] = -pull * x[2] * (1.0 + a2 / s);
    return -AF_GRAVITY * 1e11 / sqrt(q);
}

/* Its Laplacian: 1/2 Q^-3/2 (Laplacian Q) - 3/4 Q^-5/2 |grad Q|^2. */
static double kuzmin_density(double radius, double z, void *user) {
    double a2 = KUZMIN_A2, c2 = KUZMIN_C2, s = sqrt(a2 * c2 + c2 * radius * radius + a2 * z * z);
    double q = a2 + c2 + radius * radius + z * z + 2.0 * s;
    double by_radius = 2.0 * radius * (1.0 + c2 / s), by_z = 2.0 * z * (1.0 + a2 / s);
    double bend = (2.0 * c2 + a2) / s -
                  (c2 * c2 * radius * radius + a2 * a2 * z * z) / (s * s * s);
    double square = by_radius * by_radius + by_z * by_z;
    (void)user;
    return 1e11 / (4.0 * AF__PI) / (q * sqrt(q)) * (3.0 + bend - 0.75 * square / q);
}

/* Each eight degrees more give a factor, until the grid is what is left. */
TEST(multipole_flattened) {
    af_multipole_desc desc = AF__ZERO;
    double old = 1.0;
    begin();
    desc.density = kuzmin_density;
    desc.smallest = 1e-3;
    desc.largest = 1e4;
    desc.knots = 281;
    for (desc.degree = 8; desc.degree <= 32; desc.degree += 8) {
        af_multipole *m;
        double error = 0.0, error_of_value = 0.0;
        uint64_t i;
        CHECK(af_multipole_create(context, &desc, &m) == AF_OK);
        for (i = 0; i < 300; i++) {
            double x[3], a[3], b[3], phi;
            place(i, 0.01 * pow(10.0, (double)i / 45.0), x);
            af_multipole_acceleration(m, x, a);
            phi = kuzmin(x, b);
            error = fmax(error, distance(a, b) / norm3(b));
            error_of_value = fmax(error_of_value, fabs(af_multipole_value(m, x) / phi - 1.0));
        }
        CHECK(error < 0.2 * old);
        old = error;
        if (desc.degree == 32) CHECK(error < 2e-8 && error_of_value < 2e-8);
        af_multipole_destroy(m);
    }
    end();
}

/* rho = r^-2.5 (1 + c P_2) with c = -3 is negative on the axis: Phi = own r^-0.5 for both terms. */
static double two_terms(double radius, double z, void *user) {
    double r2 = radius * radius + z * z, c2 = z * z / r2;
    (void)user;
    return 1e8 * pow(r2, -1.25) * (1.0 - 3.0 * (1.5 * c2 - 0.5));
}

/* Powers of r all the way, exact at every radius; and l = 2 with the right factor. */
TEST(multipole_power_law) {
    af_multipole_desc desc = AF__ZERO;
    af_multipole *m;
    uint64_t i;
    begin();
    desc.density = two_terms;
    desc.smallest = 0.1;
    desc.largest = 10.0;
    desc.degree = 2;
    desc.knots = 40;
    CHECK(af_multipole_create(context, &desc, &m) == AF_OK);
    for (i = 0; i < 100; i++) {
        double x[3], r = pow(10.0, (double)i / 20.0 - 2.5), scale, p2, source = 4.0 * AF__PI * 1e8;
        place(i, r, x);
        p2 = 1.5 * x[2] * x[2] / (r * r) - 0.5;
        /* p (p+1) - l (l+1) at p = -1/2 is -1/4 and -25/4 */
        scale = AF_GRAVITY * source / sqrt(r);
        CHECK_CLOSE(af_multipole_value(m, x) / (scale * (-4.0 + 3.0 * p2 * 4.0 / 25.0)), 1.0, 1e-7);
        CHECK_CLOSE(af_multipole_density(m, x) / two_terms(hypot(x[0], x[1]), x[2], NULL), 1.0,
                    1e-3);
    }
    af_multipole_destroy(m);
    end();
}

/* ---- identities of any field ---- */

/* Derivatives of Phi (row 3) and of the acceleration's components (rows 0 to 2) along an axis:
 * central differences of h and h/2, extrapolated. */
static void differences(const af_field *f, const double x[3], int axis, double h, double d[4]) {
    double rough[2][4];
    int i, k;
    for (k = 0; k < 2; k++, h *= 0.5) {
        double p[3], up[4], down[4];
        memcpy(p, x, sizeof p);
        p[axis] = x[axis] + h;
        f->acceleration(p, up, f->user);
        up[3] = f->value(p, f->user);
        p[axis] = x[axis] - h;
        f->acceleration(p, down, f->user);
        down[3] = f->value(p, f->user);
        for (i = 0; i < 4; i++) rough[k][i] = (up[i] - down[i]) / (2.0 * h);
    }
    for (i = 0; i < 4; i++) d[i] = rough[1][i] + (rough[1][i] - rough[0][i]) / 3.0;
}

/* a = -grad Phi and symmetric da_i/dx_j; returns -div a/(4 pi G). */
static double check_gradient(const af_field *f, const double x[3], double h, double tolerance) {
    double a[3], d[3][4], size = 0.0;
    int i, k;
    f->acceleration(x, a, f->user);
    for (i = 0; i < 3; i++) differences(f, x, i, h, d[i]);
    for (i = 0; i < 3; i++)
        for (k = 0; k < 3; k++) size = fmax(size, fabs(d[i][k]));
    for (i = 0; i < 3; i++) {
        double rounding = 1e-14 * fabs(f->value(x, f->user)) / h;
        CHECK(fabs(d[i][3] + a[i]) < tolerance * norm3(a) + rounding);
        for (k = 0; k < i; k++) CHECK(fabs(d[i][k] - d[k][i]) < 100.0 * tolerance * size);
    }
    return -(d[0][0] + d[1][1] + d[2][2]) / (4.0 * AF__PI * AF_GRAVITY);
}

/* Inside, between and beyond the knots of a coarse grid: the acceleration is the gradient of the
 * interpolated potential itself, and the density its Laplacian. */
TEST(multipole_gradient_and_laplacian) {
    af_potential disc = af_potential_miyamoto_nagai(6.8e10, 3.0, 1.0);
    af_multipole *m;
    af_field field;
    uint64_t i;
    begin();
    m = multipole_of(&disc, 0.1, 30.0, 16, 12);
    field = af_field_of_multipole(m);
    for (i = 0; i < 200; i++) {
        double x[3], r = pow(10.0, -2.0 + 4.0 * (double)i / 200.0), rho, scale;
        place(i, r, x);
        scale = fabs(af_multipole_density(m, x)) + 1e-3 * af_multipole_mass(m, r) / (r * r * r);
        rho = check_gradient(&field, x, 1e-3 * r, 1e-8);
        CHECK(fabs(rho - af_multipole_density(m, x)) < 1e-5 * scale);
    }
    af_multipole_destroy(m);
    end();
}

/* Constant inside, r^-5 outside, times 1 - 3 P_2. */
static double with_logarithms(double radius, double z, void *user) {
    double r2 = radius * radius + z * z;
    (void)user;
    return 1e8 * pow(1.0 + r2, -2.5) * (2.5 - 4.5 * z * z / r2);
}

/* Where the power of the density's part is that of the free one, Phi_2 has r^2 ln r inside and
 * r^-3 ln r outside. Beyond the grid the density is that of the formula, and the field matches. */
TEST(multipole_logarithms) {
    af_multipole_desc desc = AF__ZERO;
    af_multipole *m;
    af_field field;
    int i;
    begin();
    desc.density = with_logarithms;
    desc.smallest = 1e-3;
    desc.largest = 1e3;
    desc.degree = 4;
    CHECK(af_multipole_create(context, &desc, &m) == AF_OK);
    field = af_field_of_multipole(m);
    for (i = 0; i <= 100; i++) {
        double x[3], r = pow(10.0, 0.1 * i - 5.0), mean, rho;
        place((uint64_t)i, r, x);
        mean = 1e8 * pow(1.0 + r * r, -2.5);
        rho = with_logarithms(hypot(x[0], x[1]), x[2], NULL);
        CHECK(fabs(af_multipole_density(m, x) - rho) < 2e-3 * mean);
        if (r < 30.0) /* beyond, rounding beats the little density */
            CHECK(fabs(check_gradient(&field, x, 0.01 * r, 1e-6) - rho) < 2e-3 * mean);
    }
    af_multipole_destroy(m);
    end();
}

/* ---- galaxies ---- */

static af_galaxy *galaxy_of(const af_galaxy_desc *desc) {
    af_galaxy *g = NULL;
    if (af_galaxy_create(context, desc, &g) != AF_OK) abort();
    return g;
}

static af_galaxy *model(int piffl, size_t degree) {
    af_galaxy_desc desc = AF__ZERO;
    if (piffl) af_galaxy_desc_piffl_2014(&desc);
    else af_galaxy_desc_dehnen_binney_1(&desc);
    desc.degree = degree;
    return galaxy_of(&desc);
}

/* I_0, I_1, K_0, K_1 by the trapezoidal rule, which converges exponentially here: I_n = 1/pi int
 * exp(y cos t) cos(n t) dt over (0,pi), K_n = int exp(-y cosh t) cosh(n t) dt over (0,oo). */
static void bessel(double y, double i[2], double k[2]) {
    int n, j;
    for (n = 0; n < 2; n++) {
        i[n] = k[n] = 0.0;
        for (j = 0; j < 400; j++) {
            double t = (j + 0.5) * AF__PI / 400.0, s = (j + 0.5) * 0.025;
            i[n] += exp(y * cos(t)) * cos(n * t) / 400.0;
            k[n] += exp(-y * cosh(s)) * cosh(n * s) * 0.025;
        }
    }
}

/* The exponential sheet (Freeman 1970; Binney & Tremaine eqs. 2.164, 2.165): with y = R/(2 length),
 * Phi = -pi G Sigma_0 R (I_0 K_1 - I_1 K_0), v_c^2 = 4 pi G Sigma_0 length y^2 (I_0 K_0 - I_1 K_1);
 * just above it the vertical acceleration is -2 pi G Sigma. */
TEST(freeman_disc) {
    af_disc disc = AF__ZERO;
    af_galaxy_desc desc = AF__ZERO;
    af_galaxy *g;
    double radius;
    begin();
    disc.surface_density = 7e8;
    disc.length = 2.5;
    desc.discs = &disc;
    desc.disc_count = 1;
    desc.degree = 126;
    g = galaxy_of(&desc);
    for (radius = 0.2; radius < 30.0; radius *= 1.3) {
        double i[2], k[2], y = radius / 5.0, v2, v = af_galaxy_circular_speed(g, radius), phi;
        double x[3] = {0.0, 0.0, 0.0}, a[3], unit = AF__PI * AF_GRAVITY * 7e8;
        x[1] = radius;
        bessel(y, i, k);
        v2 = 4.0 * unit * 2.5 * y * y * (i[0] * k[0] - i[1] * k[1]);
        CHECK_CLOSE(v * v / v2, 1.0, 2e-4);
        phi = -unit * radius * (i[0] * k[1] - i[1] * k[0]);
        CHECK_CLOSE(af_galaxy_value(g, x) / phi, 1.0, 2e-5);
        af_galaxy_acceleration(g, x, a);
        CHECK(a[2] == 0.0 && a[0] == 0.0);
        x[2] = 1e-9;
        af_galaxy_acceleration(g, x, a);
        CHECK_CLOSE(a[2] / (-2.0 * unit * exp(-radius / 2.5)), 1.0, 1e-6);
        CHECK(af_galaxy_density(g, x) == 0.0);
    }
    af_galaxy_destroy(g);
    end();
}

/* J_0 and J_1 of up to about 100: 1/pi int cos(n t - x sin t) dt over (0,pi). */
static double bessel_j(int n, double x) {
    double sum = 0.0;
    int j;
    for (j = 0; j < 128; j++) {
        double t = (j + 0.5) * AF__PI / 128.0;
        sum += cos(n * t - x * sin(t));
    }
    return sum / 128.0;
}

/* The acceleration of a doubly exponential disc: Phi = -2 pi G int J_0(kR) S(k) V(k,z) dk, S =
 * Sigma_0 L^2 (1 + k^2 L^2)^(-3/2), V = (exp(-kz) - k h exp(-z/h))/(1 - k^2 h^2) (Kuijken & Gilmore
 * 1989, MNRAS 239, 571). Simpson with k = s^2; S V falls as k^-5 in the end. */
static void thick_disc(const af_disc *d, double radius, double z, double a[2]) {
    const int n = 4000;
    const double top = sqrt(40.0 / z), h = d->height, length = d->length;
    int i;
    a[0] = a[1] = 0.0;
    for (i = 0; i <= n; i++) {
        double s = top * i / n, k = s * s, u = k * h, w = i % 2 ? 4.0 : i % n ? 2.0 : 1.0;
        double spectrum = d->surface_density * length * length *
                          pow(1.0 + k * k * length * length, -1.5);
        double near_one = fabs(u - 1.0) < 1e-7 ? u + 1e-7 : u; /* the limit is finite */
        double by_z = k * (exp(-z / h) - exp(-k * z)) / (1.0 - near_one * near_one);
        double v = (exp(-k * z) - u * exp(-z / h)) / (1.0 - near_one * near_one);
        w *= 2.0 * s * spectrum * top / (3.0 * n) * 2.0 * AF__PI * AF_GRAVITY;
        a[0] -= w * k * bessel_j(1, k * radius) * v;
        a[1] += w * bessel_j(0, k * radius) * by_z;
    }
}

/* One disc of usual thickness, far and near. */
TEST(thick_exponential_disc) {
    static const double at[6][2] = {{8.0, 0.5}, {5.0, 1.0}, {2.0, 0.4}, {0.5, 0.5}, {15.0, 2.0},
                                    {4.0, 8.0}};
    af_disc disc = AF__ZERO;
    af_galaxy_desc desc = AF__ZERO;
    af_galaxy *g;
    int i;
    begin();
    disc.surface_density = 5e8;
    disc.length = 2.5;
    disc.height = 0.5;
    desc.discs = &disc;
    desc.disc_count = 1;
    g = galaxy_of(&desc);
    for (i = 0; i < 6; i++) {
        double x[3] = {0.0, 0.0, 0.0}, a[3], b[2], size;
        x[1] = at[i][0];
        x[2] = -at[i][1];
        thick_disc(&disc, at[i][0], at[i][1], b);
        af_galaxy_acceleration(g, x, a);
        size = hypot(b[0], b[1]);
        CHECK(a[0] == 0.0);
        CHECK_CLOSE(a[1] / size, b[0] / size, 2e-5);
        CHECK_CLOSE(-a[2] / size, b[1] / size, 2e-5);
    }
    af_galaxy_destroy(g);
    end();
}

/* The acceleration of a spheroid rho(m^2): a_i = -2 pi G q x_i int rho(m^2(t)) / ((a_i^2 + t)
 * (1 + t) sqrt(q^2 + t)) dt over (0,oo), a = (1,1,q), m^2(t) = R^2/(1+t) + z^2/(q^2+t) (Binney &
 * Tremaine section 2.5). The midpoint rule in ln t. */
static void homoeoids(const af_spheroid *s, double radius, double z, double a[2]) {
    double q2 = s->flattening * s->flattening, unit = 2.0 * AF__PI * AF_GRAVITY * s->flattening;
    int i;
    a[0] = a[1] = 0.0;
    for (i = 0; i < 1000; i++) {
        double t = exp(-40.0 + 0.08 * (i + 0.5));
        double m = sqrt(radius * radius / (1.0 + t) + z * z / (q2 + t)), u = m / s->scale;
        double cut = s->cutoff > 0.0 ? exp(-(m / s->cutoff) * (m / s->cutoff)) : 1.0;
        double rho = s->density * pow(u, -s->inner) * pow(1.0 + u, s->inner - s->outer) * cut;
        double f = 0.08 * t * unit * rho / ((1.0 + t) * sqrt(q2 + t));
        a[0] -= f * radius / (1.0 + t);
        a[1] -= f * z / (q2 + t);
    }
}

/* Cusp and core, flat and long, with a cutoff and without. */
TEST(spheroids) {
    static const af_spheroid kinds[4] = {{1e9, 1.0, 1.8, 1.8, 0.6, 1.9},
                                         {7e8, 3.8, -2.0, 2.96, 0.8, 1000.0},
                                         {1e8, 10.0, 1.0, 4.0, 1.3, 0.0},
                                         {1e9, 2.0, 0.0, 3.0, 0.5, 0.0}};
    int kind, i;
    begin();
    for (kind = 0; kind < 4; kind++) {
        af_galaxy_desc desc = AF__ZERO;
        af_galaxy *g;
        desc.spheroids = &kinds[kind];
        desc.spheroid_count = 1;
        g = galaxy_of(&desc);
        for (i = 0; i < 30; i++) {
            double x[3], a[3], b[2], size, radius, error;
            place((uint64_t)i, 0.03 * kinds[kind].scale * pow(10.0, 0.15 * i), x);
            radius = hypot(x[0], x[1]);
            homoeoids(&kinds[kind], radius, x[2], b);
            af_galaxy_acceleration(g, x, a);
            size = hypot(b[0], b[1]);
            error = hypot((a[0] * x[0] + a[1] * x[1]) / radius - b[0], a[2] - b[1]) / size;
            CHECK(error < 1e-6);
        }
        af_galaxy_destroy(g);
    }
    end();
}

/* The two models at (R,z): accelerations by Hankel transforms and homoeoids, computed to 1e-7. The
 * discs 0.04 kpc thin are what limits the expansion. */
TEST(models_against_quadrature) {
    static const double at[6][2] = {{8.0, 0.1}, {8.122, 0.5}, {5.5, 0.55}, {2.0, 0.3}, {12.0, 3.0},
                                    {30.0, 20.0}};
    static const double truth[2][6][2] = {
        {{-6150.798847, -692.1300633}, {-5897.553076, -1359.024012}, {-8401.160849, -3654.762879},
         {-16144.76208, -13544.78287}, {-3464.849139, -1204.020275}, {-898.2710813, -688.649895}},
        {{-7193.003508, -735.4969557}, {-6970.227189, -1501.773678}, {-9432.135932, -3254.049412},
         {-18575.87148, -8943.352608}, {-4318.531883, -1413.049647}, {-1159.685823, -781.2198004}}};
    static const double tolerance[4] = {2e-3, 3e-4, 6e-5, 1e-5}; /* of degrees 16, 32, 64, 126 */
    static const size_t degree[4] = {16, 32, 0, 126};
    int kind, i, k;
    begin();
    for (kind = 0; kind < 2; kind++)
        for (k = 0; k < 4; k++) {
            af_galaxy *g = model(kind, degree[k]);
            for (i = 0; i < 6; i++) {
                const double *b = truth[kind][i];
                double x[3], a[3], radius = at[i][0];
                x[0] = -0.6 * radius;
                x[1] = 0.8 * radius;
                x[2] = at[i][1];
                af_galaxy_acceleration(g, x, a);
                CHECK(hypot((a[0] * x[0] + a[1] * x[1]) / radius - b[0], a[2] - b[1]) <
                      tolerance[k] * hypot(b[0], b[1]));
            }
            af_galaxy_destroy(g);
        }
    end();
}

/* Accelerations in the same models by AGAMA (Vasiliev 2019, MNRAS 482, 1525) with its own
 * settings, whose errors against quadrature are 1e-4 to 5e-4. */
TEST(models_against_another_program) {
    static const double x[2][3][3] = {
        {{-14.162704533588, 1.5730679493334, 2.0101991062945},
         {-9.5049942517624, -11.04287304975, -2.4813320642118},
         {-2.4890088761599, -9.6254227684035, -0.28550930829043}},
        {{6.988312007509, 0.53513958201886, -9.8329905497439},
         {-7.2296467722722, 9.7260050023293, 3.558362537011},
         {2.777834414187, 3.054202728251, -5.7077834083587}}};
    static const double truth[2][3][3] = {{{3080.96606, -342.206482, -620.222473},
                                           {1947.31335, 2262.38257, 691.32666},
                                           {1203.96106, 4655.92285, 596.027771}},
                                          {{-2398.64136, -183.67926, 3621.80322},
                                           {2476.50684, -3331.63135, -1523.42493},
                                           {-2508.31885, -2757.8728, 6009.74902}}};
    int kind, i;
    begin();
    for (kind = 0; kind < 2; kind++) {
        af_galaxy *g = model(kind, 0);
        for (i = 0; i < 3; i++) {
            double a[3];
            af_galaxy_acceleration(g, x[kind][i], a);
            CHECK(distance(a, truth[kind][i]) < 6e-4 * norm3(a));
        }
        CHECK_CLOSE(af_galaxy_circular_speed(g, 8.122), kind ? 240.2 : 221.9, 3e-4);
        af_galaxy_destroy(g);
    }
    end();
}

/* The Laplacian of the potential by differences is the density of the formulae, as far as the
 * expansion resolves thin discs; the acceleration is the gradient of the potential exactly. */
TEST(models_obey_poisson) {
    int kind, i;
    begin();
    for (kind = 0; kind < 2; kind++) {
        af_galaxy *g = model(kind, 0);
        af_field field = af_field_of_galaxy(g);
        for (i = 0; i < 200; i++) {
            double x[3], rho, r, h;
            place((uint64_t)i, 0.3 * pow(10.0, 0.01 * i), x);
            r = norm3(x);
            if (i % 2) x[2] *= 0.05; /* many in the disc */
            h = 0.1 * fmin(fabs(x[2]), 0.1 * r);
            rho = check_gradient(&field, x, h, 2e-6) / af_galaxy_density(g, x);
            CHECK_CLOSE(rho, 1.0, 3e-3);
        }
        af_galaxy_destroy(g);
    }
    end();
}

/* All kinds of discs; below the plane as above; and a galaxy is the sum of its parts. */
TEST(discs_obey_poisson) {
    static const af_disc discs[3] = {{5e8, 2.5, 0.4, 0.0, AF_PROFILE_SECH2},
                                     {1e8, 7.0, 0.3, 4.0, AF_PROFILE_SECH2},
                                     {2e8, 3.0, 0.5, 12.0, AF_PROFILE_EXPONENTIAL}};
    af_galaxy_desc desc = AF__ZERO;
    af_galaxy *g, *one[3];
    af_field field;
    int i, k;
    begin();
    desc.discs = discs;
    desc.disc_count = 3;
    g = galaxy_of(&desc);
    field = af_field_of_galaxy(g);
    desc.disc_count = 1;
    for (k = 0; k < 3; k++, desc.discs++) one[k] = galaxy_of(&desc);
    for (i = 0; i < 100; i++) {
        double x[3], a[3], b[3], sum[3] = {0.0, 0.0, 0.0}, rho, phi = 0.0, r;
        place((uint64_t)i, 1.0 + 0.1 * i, x);
        x[2] *= 0.1;
        r = norm3(x);
        rho = check_gradient(&field, x, 0.1 * fmin(fabs(x[2]), 0.1 * r), 2e-6);
        CHECK_CLOSE(rho / af_galaxy_density(g, x), 1.0, 2e-3);
        af_galaxy_acceleration(g, x, a);
        for (k = 0; k < 3; k++) {
            af_galaxy_acceleration(one[k], x, b);
            sum[0] += b[0];
            sum[1] += b[1];
            sum[2] += b[2];
            phi += af_galaxy_value(one[k], x);
        }
        CHECK(distance(a, sum) < 1e-6 * norm3(a)); /* their grids differ */
        CHECK_CLOSE(phi / af_galaxy_value(g, x), 1.0, 1e-7);
        x[2] = -x[2];
        af_galaxy_acceleration(g, x, b);
        CHECK(a[0] == b[0] && a[1] == b[1] && a[2] == -b[2]);
    }
    for (k = 0; k < 3; k++) af_galaxy_destroy(one[k]);
    af_galaxy_destroy(g);
    end();
}

/* The mass of a disc is what is felt from afar; the centre is finite; nothing is NaN on the axis,
 * in the plane, or at either end. */
TEST(limits_of_space) {
    static const double far_away[3] = {3e7, -4e7, 1e7};
    double x[3] = {0.0, 0.0, 0.0}, a[3], mass, r = norm3(far_away);
    af_disc disc = AF__ZERO;
    af_galaxy_desc desc = AF__ZERO;
    af_galaxy *g;
    int kind, i;
    begin();
    disc.surface_density = 5e8;
    disc.length = 2.5;
    disc.height = 0.3;
    disc.profile = AF_PROFILE_SECH2;
    desc.discs = &disc;
    desc.disc_count = 1;
    g = galaxy_of(&desc);
    mass = 2.0 * AF__PI * 5e8 * 2.5 * 2.5;
    CHECK_CLOSE(af_galaxy_value(g, far_away) / (-AF_GRAVITY * mass / r), 1.0, 1e-8);
    af_galaxy_acceleration(g, far_away, a);
    for (i = 0; i < 3; i++)
        CHECK_CLOSE(a[i] / (-AF_GRAVITY * mass / (r * r * r) * far_away[i]), 1.0, 1e-8);
    af_galaxy_destroy(g);
    for (kind = 0; kind < 2; kind++) {
        long calls;
        g = model(kind, 16);
        calls = memory.calls;
        for (i = -300; i < 300; i++) {
            int axis = i & 2;
            x[0] = x[1] = x[2] = 0.0;
            if (i > -300) x[axis] = pow(10.0, i / 10.0);
            af_galaxy_acceleration(g, x, a);
            CHECK(all_finite(a, 3) && a[axis] <= 0.0);
            CHECK(a[(axis + 1) % 3] == 0.0 && a[(axis + 2) % 3] == 0.0);
            CHECK(af_galaxy_value(g, x) < 0.0 && af_galaxy_value(g, x) > -2e6);
            CHECK(af_galaxy_density(g, x) >= 0.0);
        }
        CHECK(memory.calls == calls);
        x[0] = NAN;
        af_galaxy_acceleration(g, x, a);
        CHECK(!(a[0] == a[0]) && !(af_galaxy_value(g, x) < 1.0));
        af_galaxy_destroy(g);
    }
    end();
}

/* Energy and L_z along orbits: thin disc, thick disc, halo, and the stream GD-1 of Sanders & Binney
 * (2016, MNRAS 457, 2107), over 2 Gyr in steps of 0.1 Myr. The third derivatives of
 * exponential discs jump in the plane, which the halo orbit crosses at 100 km/s: hence 5e-7. The
 * mean J_z and J_r of the Staeckel fudge along the first orbit are those known for it. */
TEST(orbits_in_a_galaxy) {
    static const double start[4][6] = {{8.29, 0.1, 0.1, 30.22, 211.1, 19.22},
                                       {8.29, 0.1, 0.1, 50.22, 187.1, 54.22},
                                       {8.29, 0.1, 0.1, 100.22, 109.1, 101.22},
                                       {26.0, 0.1, 0.1, 0.1, 141.8, 83.1}};
    static double row[401][6];
    double mean[3] = {0.0, 0.0, 0.0};
    af_fudge fudge = AF__ZERO;
    af_galaxy *g;
    int i, k;
    begin();
    g = model(1, 0);
    fudge.field = af_field_of_galaxy(g);
    for (k = 0; k < 4; k++) {
        double energy = 0.0, spread = 0.0, turn = 0.0;
        CHECK(af_orbit_integrate(AF_INTEGRATOR_YOSHIDA6, af_force_of_galaxy(g), start[k], 0.005, 50,
                                 401, row[0]) == AF_OK);
        for (i = 0; i <= 400; i++) {
            const double *xv = row[i];
            double e = 0.5 * dot3(xv + 3, xv + 3) + af_galaxy_value(g, xv), j[3];
            double lz = (xv[0] * xv[4] - xv[1] * xv[3]) /
                        (start[k][0] * start[k][4] - start[k][1] * start[k][3]);
            if (i == 0) energy = e;
            spread = fmax(spread, fabs(e / energy - 1.0));
            turn = fmax(turn, fabs(lz - 1.0));
            if (k || i % 4) continue;
            CHECK(af_fudge_actions(&fudge, xv, j, NULL, NULL) == 0);
            mean[1] += j[1] / 101.0;
            mean[2] += j[2] / 101.0;
        }
        CHECK(spread < 5e-7 && turn < 1e-12);
    }
    CHECK_CLOSE(mean[1], 2.9154, 0.01);
    CHECK_CLOSE(mean[2], 29.3713, 0.01);
    af_galaxy_destroy(g);
    end();
}

/* ---- failures ---- */

static double steep(double radius, double z, void *user) {
    return pow(radius * radius + z * z, -0.5 * *(double *)user);
}

TEST(multipole_refuses) {
    af_multipole_desc desc = AF__ZERO, good;
    af_multipole *m = (af_multipole *)&desc;
    double power = 1.0;
    begin();
    FAILS(af_multipole_create(context, &desc, &m), AF_ERROR_ARGUMENT, "there is no density");
    CHECK(!m);
    desc.density = steep;
    desc.user = &power;
    FAILS(af_multipole_create(context, &desc, &m), AF_ERROR_ARGUMENT, "smallest = 0");
    desc.smallest = 1.0;
    desc.largest = 1.0;
    FAILS(af_multipole_create(context, &desc, &m), AF_ERROR_ARGUMENT, "must be between");
    desc.largest = 100.0;
    good = desc;
    desc.degree = 7;
    FAILS(af_multipole_create(context, &desc, &m), AF_ERROR_ARGUMENT, "degree = 7 must be even");
    desc.degree = 128;
    FAILS(af_multipole_create(context, &desc, &m), AF_ERROR_ARGUMENT, "at most 126");
    desc = good;
    desc.knots = 1;
    FAILS(af_multipole_create(context, &desc, &m), AF_ERROR_ARGUMENT, "knots = 1");
    desc = good;
    desc.end_canary = 1;
    FAILS(af_multipole_create(context, &desc, &m), AF_ERROR_ARGUMENT, "not initialised");
    desc = good;
    FAILS(af_multipole_create(context, &desc, &m), AF_ERROR_DATA,
          "density goes as r^-1, which has no finite potential");
    power = 3.5;
    FAILS(af_multipole_create(context, &desc, &m), AF_ERROR_DATA, "no finite mass in the centre");
    power = NAN;
    FAILS(af_multipole_create(context, &desc, &m), AF_ERROR_NONFINITE, "the density at R = ");
    power = -1e4;
    desc.largest = 1.01;
    FAILS(af_multipole_create(context, &desc, &m), AF_ERROR_DATA, "no finite potential");
    CHECK(!m);
    power = 2.5;
    CHECK(af_multipole_create(context, &desc, &m) == AF_OK);
    af_multipole_destroy(m);
    af_multipole_destroy(NULL);
    end();
}

static void refuse_parts(const af_disc *disc, const af_spheroid *spheroid, const char *words) {
    af_galaxy_desc desc = AF__ZERO;
    af_galaxy *g;
    desc.discs = disc;
    desc.disc_count = disc != NULL;
    desc.spheroids = spheroid;
    desc.spheroid_count = spheroid != NULL;
    FAILS(af_galaxy_create(context, &desc, &g), AF_ERROR_ARGUMENT, words);
    CHECK(!g);
}

TEST(galaxy_refuses) {
    af_disc discs[5] = {{NAN, 1.0, 0.1, 0.0, AF_PROFILE_SECH2},
                        {1e8, 0.0, 0.1, 0.0, AF_PROFILE_SECH2},
                        {1e8, 1.0, -0.1, 0.0, AF_PROFILE_SECH2},
                        {1e8, 1.0, 0.1, -1.0, AF_PROFILE_SECH2},
                        {1e8, 1.0, 0.1, 0.0, AF_PROFILE_SECH2}};
    static const af_spheroid spheroids[5] = {{1e8, INFINITY, 1.0, 3.0, 1.0, 0.0},
                                             {1e8, -1.0, 1.0, 3.0, 1.0, 0.0},
                                             {1e8, 1.0, 3.0, 4.0, 1.0, 0.0},
                                             {1e8, 1.0, 1.0, 3.0, -1.0, 0.0},
                                             {1e8, 1.0, 1.0, 2.0, 1.0, 0.0}};
    static const char *disc_words[5] = {"disc 0 of 1: a number is not finite",
                                        "its length must be positive", "may not be negative",
                                        "may not be negative", "its profile is unknown"};
    static const char *spheroid_words[5] = {"spheroid 0 of 1: a number is not finite",
                                            "its scale must be positive", "inner must be below 3",
                                            "may not be negative", "outer must be above 2"};
    af_galaxy_desc desc = AF__ZERO;
    af_galaxy *g;
    int i, unknown = 2;
    begin();
    memcpy(&discs[4].profile, &unknown, sizeof unknown); /* enums are ints here */
    for (i = 0; i < 5; i++) {
        refuse_parts(&discs[i], NULL, disc_words[i]);
        refuse_parts(NULL, &spheroids[i], spheroid_words[i]);
    }
    refuse_parts(NULL, NULL, "there are no discs and no spheroids");
    af_galaxy_desc_piffl_2014(&desc);
    desc.degree = 3;
    FAILS(af_galaxy_create(context, &desc, &g), AF_ERROR_ARGUMENT, "degree = 3 must be even");
    desc.start_canary = 1;
    FAILS(af_galaxy_create(context, &desc, &g), AF_ERROR_ARGUMENT, "not initialised");
    CHECK(!g);
    af_galaxy_destroy(NULL);
    end();
}

/* Memory ends at the k-th call, for every k. */
TEST(memory_ends) {
    af_galaxy_desc desc = AF__ZERO;
    af_galaxy *g = NULL;
    af_status status = AF_ERROR_MEMORY;
    long k, live;
    begin();
    live = memory.live;
    af_galaxy_desc_piffl_2014(&desc);
    desc.degree = 4;
    desc.knots = 200;
    for (k = 1; k < 100 && status != AF_OK; k++) {
        memory.fail_at = memory.calls + k;
        status = af_galaxy_create(context, &desc, &g);
        if (status == AF_OK) break;
        CHECK(status == AF_ERROR_MEMORY && !g && memory.live == live);
        CHECK_TEXT(af_error(context), "out of memory");
        af_error_clear(context);
    }
    CHECK(status == AF_OK && k > 4);
    af_galaxy_destroy(g);
    end();
}

int main(void) {
    RUN(multipole_plummer);
    RUN(multipole_beyond_the_grid);
    RUN(multipole_flattened);
    RUN(multipole_power_law);
    RUN(multipole_gradient_and_laplacian);
    RUN(multipole_logarithms);
    RUN(freeman_disc);
    RUN(thick_exponential_disc);
    RUN(spheroids);
    RUN(models_against_quadrature);
    RUN(models_against_another_program);
    RUN(models_obey_poisson);
    RUN(discs_obey_poisson);
    RUN(limits_of_space);
    RUN(orbits_in_a_galaxy);
    RUN(multipole_refuses);
    RUN(galaxy_refuses);
    RUN(memory_ends);
    return test_report();
}
