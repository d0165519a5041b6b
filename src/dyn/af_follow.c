/* ---- dyn: an orbit followed with steps of its own choice ----------------------------------------
 *
 * The explicit Runge-Kutta method of order 8 of Dormand and Prince, with its two error estimates
 * (Hairer, Norsett & Wanner 1993, Solving Ordinary Differential Equations I, section II.10). Not
 * symplectic, but the steps are as long as the field allows: short where the orbit crosses a thin
 * disc or passes the centre, long everywhere else. */

#include <math.h>
#include <string.h>

enum { AF__FOLLOW_STAGES = 12 };

typedef struct af__follow {
    af_force force;
    double tolerance; /* of a step, relative */
    double length;    /* of the next step, kpc/(km/s) */
    double taken;     /* length of the last one */
    size_t tries;     /* steps so far, rejected ones too */
    double xv[6], a[3];         /* where the orbit is, and the acceleration there */
    double old_xv[6], old_a[3]; /* where the last step began */
    double v[AF__FOLLOW_STAGES][3], k[AF__FOLLOW_STAGES][3]; /* velocities, accelerations */
} af__follow;

/* Row i has the weights of stages 0 to i in the point of stage i + 1; the last row is the step. */
static const double af__follow_weights[AF__FOLLOW_STAGES][AF__FOLLOW_STAGES] = {
    {0.05260015195876773},
    {0.0197250569845379, 0.059175170953613701},
    {0.029587585476806851, 0.0, 0.088762756430420545},
    {0.24136513415926669, 0.0, -0.88454947932828609, 0.92483400326179199},
    {0.037037037037037035, 0.0, 0.0, 0.17082860872947386, 0.12546768756682242},
    {0.037109375, 0.0, 0.0, 0.17025221101954405, 0.060216538980455959, -0.017578125},
    {0.037092000118504789, 0.0, 0.0, 0.17038392571223998, 0.10726203044637328,
     -0.015319437748624402, 0.0082737891638140233},
    {0.62411095871607569, 0.0, 0.0, -3.3608926294469414, -0.86821934684172597,
     27.59209969944671, 20.154067550477894, -43.489884181069961},
    {0.47766253643826434, 0.0, 0.0, -2.4881146199716677, -0.59029082683684297,
     21.230051448181193, 15.279233632882423, -33.288210968984863, -0.020331201708508627},
    {-0.9371424300859873, 0.0, 0.0, 5.1863724288440638, 1.0914373489967295,
     -8.1497870107469268, -18.520065659996959, 22.739487099350505, 2.4936055526796523,
     -3.0467644718982196},
    {2.273310147516538, 0.0, 0.0, -10.534495466737249, -2.0008720582248625,
     -17.958931863118799, 27.94888452941996, -2.8589982771350235, -8.8728569335306293,
     12.360567175794303, 0.64339274601576357},
    {0.054293734116568765, 0.0, 0.0, 0.0, 0.0, 4.4503128927524092, 1.8915178993145003,
     -5.8012039600105849, 0.3111643669578199, -0.15216094966251609, 0.20136540080403034,
     0.044710615727772587},
};

/* Weights of the stages in the estimates of order 5 and 3. */
static const double af__follow_fifth[AF__FOLLOW_STAGES] = {
    0.01312004499419488, 0.0, 0.0, 0.0, 0.0, -1.2251564463762044, -0.4957589496572502,
    1.6643771824549864, -0.35032884874997366, 0.33417911871301748, 0.08192320648511571,
    -0.022355307863886294};
static const double af__follow_third[AF__FOLLOW_STAGES] = {
    -0.18980075407240762, 0.0, 0.0, 0.0, 0.0, 4.4503128927524092, 1.8915178993145003,
    -5.8012039600105849, -0.42268232132379191, -0.15216094966251609, 0.20136540080403034,
    0.022651792198360821};

/* out = sum of the first n stages of s (n,3) times their weights. */
static void af__follow_sum(const double *s, const double *weight, int n, double out[3]) {
    int i;
    out[0] = out[1] = out[2] = 0.0;
    for (i = 0; i < n; i++) {
        if (weight[i] == 0.0) continue;
        out[0] += weight[i] * s[3 * i + 0];
        out[1] += weight[i] * s[3 * i + 1];
        out[2] += weight[i] * s[3 * i + 2];
    }
}

/* The point after a step of h from xv, and the stages on the way. */
static void af__follow_stages(af__follow *f, double h, double end[6]) {
    double dx[3], dv[3];
    int stage, i;
    for (i = 0; i < 3; i++) {
        f->v[0][i] = f->xv[3 + i];
        f->k[0][i] = f->a[i];
    }
    for (stage = 1; stage <= AF__FOLLOW_STAGES; stage++) {
        af__follow_sum(f->v[0], af__follow_weights[stage - 1], stage, dx);
        af__follow_sum(f->k[0], af__follow_weights[stage - 1], stage, dv);
        for (i = 0; i < 3; i++) {
            end[i] = f->xv[i] + h * dx[i];
            end[3 + i] = f->xv[3 + i] + h * dv[i];
        }
        if (stage == AF__FOLLOW_STAGES) return;
        memcpy(f->v[stage], end + 3, sizeof f->v[stage]);
        f->force.acceleration(end, f->k[stage], f->force.user);
    }
}

/* The step's error over what is allowed: of x relative to |x|, of v relative to the larger of |v|
 * and the speed of a circle, sqrt(|x||a|), because v = 0 is nothing special. */
static double af__follow_error(const af__follow *f, double h) {
    double part[2] = {0.0, 0.0}, e[3];
    double x2 = af__dot3(f->xv, f->xv);
    double v2 = af__dot3(f->xv + 3, f->xv + 3) + sqrt(x2 * af__dot3(f->a, f->a));
    int order;
    for (order = 0; order < 2; order++) {
        const double *weight = order ? af__follow_third : af__follow_fifth;
        af__follow_sum(f->v[0], weight, AF__FOLLOW_STAGES, e);
        part[order] += af__dot3(e, e) / x2;
        af__follow_sum(f->k[0], weight, AF__FOLLOW_STAGES, e);
        part[order] += af__dot3(e, e) / v2;
    }
    if (part[0] == 0.0) return 0.0;
    return fabs(h) * part[0] / sqrt(part[0] + 0.01 * part[1]) / f->tolerance;
}

/* One step; 0 when the orbit leaves the finite numbers or steps become too short to count. */
static int af__follow_step(af__follow *f) {
    double end[6], error, change;
    for (;;) {
        double h = f->length;
        af__follow_stages(f, h, end);
        error = af__follow_error(f, h);
        f->tries++;
        change = error > 0.0 ? 0.9 * pow(error, -1.0 / 8.0) : 6.0;
        f->length = h * fmin(fmax(change, 1.0 / 3.0), error <= 1.0 ? 6.0 : 1.0);
        f->taken = h;
        if (error <= 1.0) break;
        if (!af__is_finite(error)) f->length = h / 3.0;
        if (!(fabs(f->length) > 1e-14 * h)) return 0;
    }
    memcpy(f->old_xv, f->xv, sizeof f->xv);
    memcpy(f->old_a, f->a, sizeof f->a);
    memcpy(f->xv, end, sizeof f->xv);
    f->force.acceleration(f->xv, f->a, f->force.user);
    return 1;
}

/* The point at a part 0 to 1 of the last step: x is the polynomial of degree 5 that has x, v and a
 * of both ends, v its derivative. */
static void af__follow_within(const af__follow *f, double part, double xv[6]) {
    double h = f->taken, s = part;
    int i;
    for (i = 0; i < 3; i++) {
        double v = h * f->old_xv[3 + i], a = h * h * f->old_a[i];
        double d = f->xv[i] - f->old_xv[i] - v - 0.5 * a, e = h * f->xv[3 + i] - v - a;
        double g = h * h * f->a[i] - a, third = 10.0 * d - 4.0 * e + 0.5 * g;
        double fourth = 7.0 * e - 15.0 * d - g, fifth = 6.0 * d - 3.0 * e + 0.5 * g;
        xv[i] = f->old_xv[i] + s * (v + s * (0.5 * a + s * (third + s * (fourth + s * fifth))));
        xv[3 + i] = (v + s * (a + s * (3.0 * third + s * (4.0 * fourth + s * 5.0 * fifth)))) / h;
    }
}

static void af__follow_begin(af__follow *f, af_force force, const double start[6], double length,
                             double tolerance) {
    f->force = force;
    f->tolerance = tolerance;
    f->length = length;
    f->taken = 0.0;
    f->tries = 0;
    memcpy(f->xv, start, sizeof f->xv);
    force.acceleration(f->xv, f->a, force.user);
}

/* Writes the points at 0, interval, 2 interval ... (count,6), with `tries` steps at most; 0 where
 * these do not suffice, or the orbit leaves the finite numbers. */
static int af__follow_points(af__follow *f, double interval, size_t count, size_t tries,
                             double *xv) {
    double now = 0.0; /* at f->xv */
    size_t k;
    memcpy(xv, f->xv, sizeof f->xv);
    for (k = 1; k < count; k++) {
        double time = interval * (double)k;
        while (now < time) {
            if (f->tries >= tries || !af__follow_step(f)) return 0;
            now += f->taken;
        }
        af__follow_within(f, 1.0 - (now - time) / f->taken, xv + 6 * k);
    }
    return 1;
}
