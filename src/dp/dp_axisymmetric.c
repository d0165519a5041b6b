/* ---- axisymmetric recovery: the model of a fit --------------------------------------------------
 *
 * Parameters are ln of the parts' numbers, less where they begin. */

typedef struct dp__knob {
    size_t part;
    unsigned which; /* 0 the mass or speed, 1 length, 2 height */
} dp__knob;

/* Of ln of a number about its start: twentyfold at one standard deviation, which holds what the
 * stars say nothing about. */
#define DP__KNOB_SD 3.0
/* Steps of differences by ln of a length: relative errors of 1e-9 from the third derivative. */
#define DP__KNOB_STEP 1e-4

struct dp_axisymmetric {
    af_context *c;
    dp__arena arena;
    dp_recover_desc desc;   /* with the defaults filled in */
    dp_recover_report report;
    size_t parts, count;    /* count: of parameters */
    af_potential *start, *part; /* (parts) */
    af_potential *first;    /* (parts): where the fit began, when all stars were bound */
    af_potential *moved;    /* (count,2): its part with a parameter by a step down and up */
    dp__knob *knob;         /* (count) */
    double *p, *covariance; /* (count), (count,count) */
    double *align;          /* (count + 2): means over the stars of Phi by p, of Phi, and of the
                               first Phi */
    double *errors;         /* (parts,3) */
};

typedef struct dp__disc {
    dp__recovery fit;
    dp_axisymmetric *r;
    double *eta;        /* (n,6) about the centre */
    double *delta;      /* (n) focal distances */
    double *actions;    /* (n,3) J_r, J_z, L_z in the last potential */
    double scale[3], middle; /* of the actions, of L_z */
} dp__disc;

static double *dp__knob_number(af_potential *part, unsigned which) {
    if (which == 0 && part->kind == AF_POTENTIAL_LOGARITHMIC) return &part->speed;
    return which == 0 ? &part->mass : which == 1 ? &part->length : &part->height;
}

/* Parts at the parameters p, and those beside them; 0 when one is not finite. */
static int dp__axisymmetric_set(dp_axisymmetric *r, const double *p) {
    size_t k;
    memcpy(r->part, r->start, r->parts * sizeof *r->part);
    for (k = 0; k < r->count; k++) {
        double *x = dp__knob_number(r->part + r->knob[k].part, r->knob[k].which);
        *x *= exp(p[k]);
        if (!(*x > 0.0) || !dp__is_finite(*x)) return 0;
    }
    for (k = 0; k < 2 * r->count; k++) {
        const dp__knob *knob = r->knob + k / 2;
        r->moved[k] = r->part[knob->part];
        *dp__knob_number(r->moved + k, knob->which) *= exp(k % 2 ? DP__KNOB_STEP : -DP__KNOB_STEP);
    }
    return 1;
}

/* Phi, -dPhi/dR, -dPhi/dz and density of parts at R and z, the first `n` of the four. */
static void dp__parts_at(const af_potential *part, size_t count, const double *place, size_t n,
                         double out[4]) {
    double x[3] = {0.0, 0.0, 0.0}, a[3];
    x[0] = place[0];
    x[2] = place[1];
    out[0] = af_potential_value(part, count, x);
    if (n == 1) return;
    af_potential_acceleration(part, count, x, a);
    out[1] = a[0];
    out[2] = a[2];
    out[3] = af_potential_density(part, count, x);
}

/* The derivatives of those by parameter k. */
static void dp__knob_at(const dp_axisymmetric *r, size_t k, const double *place, size_t n,
                        double out[4]) {
    const af_potential *part = r->part + r->knob[k].part;
    double low[4], scale = 0.5 / DP__KNOB_STEP;
    size_t i;
    if (r->knob[k].which == 0) { /* in proportion to the mass, or the speed squared */
        dp__parts_at(part, 1, place, n, out);
        for (i = 0; i < n && part->kind == AF_POTENTIAL_LOGARITHMIC; i++) out[i] *= 2.0;
        return;
    }
    dp__parts_at(r->moved + 2 * k, 1, place, n, low);
    dp__parts_at(r->moved + 2 * k + 1, 1, place, n, out);
    for (i = 0; i < n; i++) out[i] = scale * (out[i] - low[i]);
}

/* ---- the density of actions ---- */

/* Actions J_r, J_z, L_z to places in the unit cube: J/(J + s), and (1 + t/sqrt(1 + t^2))/2 with t =
 * (L_z - middle)/s; du/dJ (3). Returns ln of the product of the latter. */
static double dp__disc_place(const dp__disc *f, const double j[3], double u[3], double slope[3]) {
    double t = (j[2] - f->middle) / f->scale[2], root = sqrt(1.0 + t * t);
    size_t k;
    for (k = 0; k < 2; k++) {
        double sum = j[k] + f->scale[k];
        u[k] = j[k] / sum;
        slope[k] = f->scale[k] / (sum * sum);
    }
    u[2] = 0.5 + 0.5 * t / root;
    slope[2] = 0.5 / (f->scale[2] * root * root * root);
    return log(slope[0] * slope[1] * slope[2]);
}

/* Scales are medians, that of L_z the median distance from its median. */
static af_status dp__disc_places(void *user) {
    dp__disc *f = (dp__disc *)user;
    size_t n = f->fit.n, i, k;
    double *x = DP__ARRAY(&f->fit.arena, double, 3 * n), u[3], slope[3];
    if (!x) return dp__fail_memory(f->fit.c, "the first density of actions");
    for (k = 0; k < 4; k++) { /* the fourth: distances from the middle */
        for (i = 0; i < n; i++) {
            double j = f->actions[3 * dp__recover_star(&f->fit, i) + (k < 3 ? k : 2)];
            x[i] = k < 3 ? j : fabs(j - f->middle);
        }
        if (k == 2) f->middle = dp__median(x, n);
        else f->scale[k < 3 ? k : 2] = dp__median(x, n);
    }
    for (k = 0; k < 3; k++)
        if (!(f->scale[k] > 0.0)) f->scale[k] = 1.0;
    for (i = 0; i < n; i++) {
        dp__disc_place(f, f->actions + 3 * dp__recover_star(&f->fit, i), u, slope);
        for (k = 0; k < 3; k++) x[k * n + i] = u[k];
    }
    for (k = 0; k < 3; k++) {
        qsort(x + k * n, n, sizeof *x, dp__ascending);
        dp__axis_open(f->fit.density.field.axis + k, f->fit.density.field.bins, n, x + k * n);
    }
    return AF_OK;
}

/* ---- the model ---- */

static int dp__disc_update(void *user) {
    dp_axisymmetric *r = ((dp__disc *)user)->r;
    return dp__axisymmetric_set(r, r->p);
}

static double dp__disc_prior(void *user, double *gradient, double *precision) {
    const dp_axisymmetric *r = ((dp__disc *)user)->r;
    double weight = 1.0 / (DP__KNOB_SD * DP__KNOB_SD), sum = 0.0;
    size_t k;
    for (k = 0; k < r->count; k++) {
        sum += 0.5 * weight * r->p[k] * r->p[k];
        if (gradient) gradient[k] = weight * r->p[k];
        if (precision) precision[k] = weight;
    }
    return sum;
}

static void dp__disc_heavier(void *user) {
    dp_axisymmetric *r = ((dp__disc *)user)->r;
    size_t k;
    for (k = 0; k < r->count; k++)
        if (r->knob[k].which == 0) r->p[k] += 0.02;
}

/* Focal distances in the potential as it is, of a part of the stars. */
static void dp__disc_focus(size_t part, void *user) {
    dp__disc *f = (dp__disc *)user;
    af_potential_sum sum = DP__ZERO;
    af_fudge fudge = DP__ZERO;
    size_t i, end;
    sum.parts = f->r->part;
    sum.count = f->r->parts;
    fudge.field = af_field_of_potential(&sum);
    dp__part_of(f->fit.n, part, DP__PARTS, &i, &end);
    for (; i < end; i++) {
        size_t star = dp__recover_star(&f->fit, i);
        double delta = af_fudge_delta(&fudge, f->eta + 6 * star);
        if (delta >= 0.0) f->delta[star] = delta; /* not of stars that are not bound yet */
    }
}

static void dp__disc_renew(void *user) {
    dp__disc *f = (dp__disc *)user;
    af_parallel(f->fit.c, DP__PARTS, dp__disc_focus, f);
}

/* ln p and scores: d ln p/dp = sum_m d ln p/dJ weight_m dPhi/dp(place_m). */
static int dp__disc_star(void *user, size_t i, dp__harvest *to, dp__sight *s) {
    dp__disc *f = (dp__disc *)user;
    const dp__family *e = &f->fit.density.field;
    af_potential_sum sum = DP__ZERO;
    af_fudge fudge = DP__ZERO;
    af_fudge_response answer;
    double j[3], *own = f->actions + 3 * i, u[3], slope[3], out[4], ln_slopes;
    dp__point at;
    size_t k, m;
    sum.parts = f->r->part;
    sum.count = f->r->parts;
    fudge.field = af_field_of_potential(&sum);
    fudge.focus = AF_FOCUS_GIVEN;
    fudge.delta = f->delta[i];
    if (af_fudge_respond(&fudge, f->eta + 6 * i, j, &answer) & AF_ORBIT_FAILED) return 0;
    own[0] = fmax(j[2], 0.0);
    own[1] = fmax(j[1], 0.0);
    own[2] = j[0];
    ln_slopes = dp__disc_place(f, own, u, slope);
    at = dp__family_at(e, u);
    s->stream = 0;
    s->ln_p = at.value - e->ln_z + ln_slopes;
    s->terms = dp__family_terms(e, at.along, s->at, s->value);
    for (k = 0; k < 2; k++) /* of ln slope: -2/(J + s) */
        slope[k] = at.slope[k] * slope[k] - 2.0 / (own[k] + f->scale[k]);
    memset(to->score, 0, f->r->count * sizeof(double));
    for (m = 0; m < answer.count; m++) {
        double w = slope[0] * answer.weight[m][1] + slope[1] * answer.weight[m][0];
        for (k = 0; k < f->r->count; k++) {
            dp__knob_at(f->r, k, answer.place[m], 1, out);
            to->score[k] += w * out[0];
        }
    }
    return 1;
}
