/* ---- ActionFinder: many single stars, solved ------------------------------------------------ */

/* ---- stars in and out ---- */

static const double af__idle_star[6] = {8.0, 0.0, 1.0, 20.0, 180.0, 30.0};

/* Stars [first, first + count) of the request through the toy's program, or the whole map's. */
static void af__fast_load(af__fast *s, const af__request *r, size_t first, size_t count,
                          const af__tool *tool) {
    size_t i, k, n = s->lanes;
    const void *in[4];
    void *out[5];
    for (i = 0; i < n; i++) {
        const double *xv = i < count ? r->xv + 6 * (first + i) : af__idle_star;
        for (k = 0; k < 6; k++) s->xv[k * n + i] = xv[k];
    }
    in[0] = af_params_data(s->finder->g.params);
    in[1] = &s->mass_g;
    in[2] = &s->scale;
    in[3] = s->xv;
    out[0] = s->good;
    out[1] = s->j;
    out[2] = s->theta;
    out[3] = s->table[0];
    out[4] = s->table[1];
    af_run(tool->f, tool->work, in, out);
    s->first = first;
    s->ready = count;
    s->next = 0;
}

/* Lane i of j and theta (3,1,L), either NULL, for a star of the request. False when they are not
 * finite: the star is left. */
static int af__fast_give(const af__fast *s, af__request *r, size_t star, const double *j,
                         const double *theta, size_t i) {
    size_t k, n = s->lanes;
    double sum = 0.0;
    for (k = 0; k < 3; k++) sum += (j ? j[k * n + i] : 0.0) + (theta ? theta[k * n + i] : 0.0);
    if (!af__is_finite(sum)) return 0;
    for (k = 0; k < 3; k++) {
        if (j && r->j) r->j[3 * star + k] = j[k * n + i] * s->finder->g.action_scale;
        if (theta && r->theta) r->theta[3 * star + k] = theta[k * n + i];
    }
    if (r->flags) r->flags[star] = 0;
    return 1;
}

static void af__fast_leave(af__fast *s, size_t star) { s->left[s->left_count++] = star; }

static int af__fast_good(const af__fast *s, const af__request *r, size_t i) {
    return s->good[i] > 0.5 && (!r->count || r->count[s->first + i] > 0);
}

/* ---- J' ---- */

/* Broyden's correction of the inverse: the last step moved the lack by `change`. */
static void af__lane_learn(af__lane *lane, const double step[3], const double change[3]) {
    double miss[3], left[3], length = 0.0, *h = lane->inverse;
    size_t i, k;
    for (i = 0; i < 3; i++) {
        double moved = h[3 * i] * change[0] + h[3 * i + 1] * change[1] + h[3 * i + 2] * change[2];
        miss[i] = step[i] - moved;
        length += step[i] * moved;
        left[i] = step[0] * h[i] + step[1] * h[3 + i] + step[2] * h[6 + i];
    }
    if (!(fabs(length) > 0.0)) return;
    for (i = 0; i < 3; i++)
        for (k = 0; k < 3; k++) h[3 * i + k] += miss[i] * left[k] / length;
}

/* The next J', no farther than half of the orbit's actions, from what is lacking at this one. False
 * when it is not finite. */
static int af__lane_step(af__lane *lane, const double lack[3], int learn) {
    double step[3], change[3], size = 0.0, length = 1e-12;
    const double *h = lane->inverse;
    size_t k;
    for (k = 0; k < 3; k++) {
        step[k] = lane->jp[k] - lane->before[k];
        change[k] = lane->lack[k] - lack[k];
        lane->before[k] = lane->jp[k];
        lane->lack[k] = lack[k];
        size += 0.5 * fabs(lane->jp[k]);
    }
    if (learn && lane->steps > 0) af__lane_learn(lane, step, change);
    lane->steps++;
    for (k = 0; k < 3; k++) {
        step[k] = h[3 * k] * lack[0] + h[3 * k + 1] * lack[1] + h[3 * k + 2] * lack[2];
        length += fabs(step[k]);
    }
    if (!af__is_finite(length)) return 0;
    for (k = 0; k < 3; k++) {
        double jp = lane->jp[k] + (size < length ? step[k] * (size / length) : step[k]);
        lane->jp[k] = k > 0 && jp < 0.0 ? 0.0 : jp; /* J_z and J_r are not negative */
    }
    return 1;
}

/* A step of lane b of (3,1,L) arrays; 1 when J' has settled, -1 when it is given up, else 0. Where
 * the last step gained so much that the next one will do, that is not waited for. */
static int af__lane_advance(af__lane *lane, const double *values, size_t n, size_t b) {
    double lack[3], residual = 0.0, before = lane->residual;
    int noise = before < AF__ROUGH_NOISE && lane->rough;
    size_t k;
    for (k = 0; k < 3; k++) {
        lack[k] = values[k * n + b];
        residual += fabs(lack[k]);
    }
    lane->residual = residual;
    lane->rough = 0;
    if (!af__lane_step(lane, lack, !noise) || lane->steps >= AF__FAST_STEPS) return -1;
    if (residual < AF__SOLVE_TOLERANCE) return 1;
    return !noise && residual < AF__FORESEEN &&
           residual * (residual / before) < 0.1 * AF__SOLVE_TOLERANCE;
}

/* The value program, in single or double precision. */
static void af__fast_values(const af__fast *s, const af__tool *tool, const void *params,
                            const void *cosine, const void *sine, const void *j, const void *jp,
                            void *lack) {
    const void *in[5];
    void *out[1];
    size_t n = 1;
    in[0] = params;
    in[n++] = cosine;
    if (s->two_tables) in[n++] = sine;
    in[n++] = j;
    in[n++] = jp;
    out[0] = lack;
    af_run(tool->f, tool->work, in, out);
}

static void af__to_float(float *to, const double *from, size_t n) {
    size_t i;
    for (i = 0; i < n; i++) to[i] = (float)from[i];
}

/* One step of the new stars in single precision. Returns how many are still far from their J'. */
static size_t af__rough_step(af__fast *s) {
    const af__rough *r = &s->rough;
    size_t i, k, n = s->lanes, far = 0;
    for (k = 0; k < 3; k++)
        for (i = 0; i < n; i++) r->jp[k * n + i] = (float)s->fresh[i].jp[k];
    af__fast_values(s, &s->single, r->params, r->table[0], r->table[1], r->j, r->jp, r->lack);
    for (i = 0; i < s->ready; i++) {
        af__lane *lane = &s->fresh[i];
        double lack[3], residual = 0.0;
        if (s->good[i] < 0.5 || lane->residual < AF__ROUGH_ENOUGH) continue;
        for (k = 0; k < 3; k++) {
            lack[k] = (double)r->lack[k * n + i];
            residual += fabs(lack[k]);
        }
        lane->rough = af__lane_step(lane, lack, lane->residual > AF__ROUGH_NOISE);
        lane->residual = lane->rough ? residual : 0.0; /* 0: given up */
        far += lane->rough && residual > AF__ROUGH_FAR;
    }
    return far;
}

static void af__lane_begin_at(const af__fast *s, const af__request *r, size_t i) {
    af__lane *lane = &s->fresh[i];
    size_t k, star = s->first + i;
    int guessed = r->guess && af__all_finite(r->guess + 3 * star, 3);
    memset(lane, 0, sizeof *lane);
    lane->star = star;
    lane->residual = INFINITY;
    for (k = 0; k < 3; k++) {
        lane->inverse[4 * k] = 1.0;
        lane->jp[k] = guessed ? r->guess[3 * star + k] : s->j[k * s->lanes + i];
    }
}

/* New stars, brought near their J'. */
static void af__fast_begin(af__fast *s, const af__request *r, size_t first, size_t count) {
    size_t i, n = s->lanes, step;
    af__fast_load(s, r, first, count, &s->toy);
    for (i = 0; i < count; i++) af__lane_begin_at(s, r, i);
    af__to_float(s->rough.table[0], s->table[0], n * s->row);
    if (s->two_tables) af__to_float(s->rough.table[1], s->table[1], n * s->row);
    af__to_float(s->rough.j, s->j, 3 * n);
    for (step = 0; step < AF__ROUGH_STEPS; step++)
        if (af__rough_step(s) <= count / 4) break;
    for (i = 0; i < count; i++)
        if (s->fresh[i].residual == 0.0) af__lane_begin_at(s, r, i);
}

static void af__fast_map(af__fast *s, af__request *r) {
    const void *in[4];
    void *out[2];
    size_t i, k, n = s->lanes;
    if (s->settled == 0) return;
    in[0] = af_params_data(s->finder->g.params);
    in[1] = s->map_theta;
    in[2] = s->map_j;
    in[3] = s->map_jp;
    out[0] = s->action;
    out[1] = s->angle;
    af_run(s->map.f, s->map.work, in, out);
    for (i = 0; i < s->settled; i++) {
        double residual = 0.0;
        for (k = 0; k < 3 && !s->finder->g.point; k++)
            residual += fabs(s->action[k * n + i] - s->map_jp[k * n + i]);
        if (!(residual < AF__SOLVE_TOLERANCE) ||
            !af__fast_give(s, r, s->map_star[i], s->action, s->angle, i))
            af__fast_leave(s, s->map_star[i]);
    }
    s->settled = 0;
}

/* A lane that has its J'. Without angles and a point transformation J'' is J'. */
static void af__fast_settle(af__fast *s, af__request *r, size_t b) {
    const af__lane *lane = &s->lane[b];
    size_t k, n = s->lanes, a = s->settled;
    for (k = 0; k < 3; k++) {
        if (r->guess) r->guess[3 * lane->star + k] = lane->jp[k];
        s->map_j[k * n + a] = s->own_j[k * n + b];
        s->map_jp[k * n + a] = lane->jp[k];
        s->map_theta[k * n + a] = s->own_theta[k * n + b];
    }
    if (!r->theta && !s->finder->g.point) {
        if (!af__fast_give(s, r, lane->star, s->map_jp, NULL, a)) af__fast_leave(s, lane->star);
        return;
    }
    s->map_star[a] = lane->star;
    if (++s->settled == n) af__fast_map(s, r);
}

/* The next good star into lane b; false when there is none. */
static int af__fast_fill(af__fast *s, const af__request *r, size_t end, size_t b) {
    size_t i, k, n = s->lanes;
    for (;;) {
        if (s->next == s->ready) {
            size_t from = s->first + s->ready;
            if (from == end || s->left_count >= AF__FAST_LEFT / 2) return 0;
            af__fast_begin(s, r, from, end - from < n ? end - from : n);
        }
        i = s->next++;
        if (af__fast_good(s, r, i)) break;
        af__fast_leave(s, s->first + i);
    }
    s->lane[b] = s->fresh[i];
    for (k = 0; k < 3; k++) {
        s->own_j[k * n + b] = s->j[k * n + i];
        s->own_theta[k * n + b] = s->theta[k * n + i];
    }
    for (k = 0; k < (s->two_tables ? 2u : 1u); k++)
        memcpy(s->own_table[k] + b * s->row, s->table[k] + i * s->row, s->row * sizeof(double));
    return 1;
}

/* One value of the network for all lanes. */
static void af__fast_step(af__fast *s, af__request *r) {
    size_t b, k, n = s->lanes;
    for (b = 0; b < n; b++)
        for (k = 0; k < 3 && s->lane[b].star != SIZE_MAX; k++)
            s->own_jp[k * n + b] = s->lane[b].jp[k];
    af__fast_values(s, &s->value, af_params_data(s->finder->g.params), s->own_table[0],
                    s->own_table[1], s->own_j, s->own_jp, s->lack);
    for (b = 0; b < n; b++) {
        int done;
        if (s->lane[b].star == SIZE_MAX) continue;
        done = af__lane_advance(&s->lane[b], s->lack, n, b);
        if (done > 0) af__fast_settle(s, r, b);
        else if (done < 0) af__fast_leave(s, s->lane[b].star);
        if (done) s->lane[b].star = SIZE_MAX;
    }
}

/* Returns where it stopped. */
static size_t af__fast_solve(af__fast *s, af__request *r, size_t first, size_t end) {
    size_t b, busy, n = s->lanes;
    af__to_float(s->rough.params, af_params_data(s->finder->g.params),
                 af_params_size(s->finder->g.params));
    s->first = first;
    s->ready = s->next = s->settled = 0;
    for (b = 0; b < n; b++) s->lane[b].star = SIZE_MAX;
    for (;;) {
        for (b = 0, busy = 0; b < n; b++)
            busy += s->lane[b].star != SIZE_MAX || af__fast_fill(s, r, end, b);
        if (busy == 0) break;
        af__fast_step(s, r);
    }
    af__fast_map(s, r);
    return s->first + s->ready;
}

/* A map of shears. Returns where it stopped. */
static size_t af__fast_shear(af__fast *s, af__request *r, size_t first, size_t end) {
    size_t i, n = s->lanes;
    for (; first < end && s->left_count < AF__FAST_LEFT / 2; first += s->ready) {
        af__fast_load(s, r, first, end - first < n ? end - first : n,
                      r->theta ? &s->whole : &s->toy);
        for (i = 0; i < s->ready; i++)
            if (!af__fast_good(s, r, i) ||
                !af__fast_give(s, r, first + i, s->j, r->theta ? s->theta : NULL, i))
                af__fast_leave(s, first + i);
    }
    return first;
}

/* Stars of the request from `first` on. Returns where it stopped: at the end, or when many are
 * left, which are in s->left. */
static size_t af__fast_run(af__fast *s, const af_isochrone *toy, af__request *r, size_t first) {
    s->mass_g = AF_GRAVITY * toy->mass;
    s->scale = toy->scale;
    s->left_count = 0;
    return s->solves ? af__fast_solve(s, r, first, r->streams)
                     : af__fast_shear(s, r, first, r->streams);
}
