/* cc -O2 -fopenmp -I. examples/milky_way.c -o milky_way -lm
 *
 * Real data: six-dimensional tracks of stellar streams, and globular clusters, as observed:
 *
 *     ./milky_way stream_tracks_6d.csv globular_clusters_6d.csv
 *
 * Columns: ra_deg, dec_deg, distance_kpc, pm_ra_cosdec_mas_yr, pm_dec_mas_yr, radial_velocity_km_s,
 * or others that af_observed_read knows; and `track`, `stream` or `name`: rows that follow each
 * other with the same text are a track. Writes milky_way.csv and milky_way.svg.
 *
 * First way: each track is taken for one orbit, and a finder fitted to the others is tried on it.
 * What is wrong with that: stars of a stream have left their cluster with a range of energies, so
 * that a stream is near an orbit, not on it (Sanders & Binney 2013, MNRAS 433, 1813); a track is a
 * smooth curve through noisy stars, whose ends swing; distances are good to some 10 %, and many a
 * velocity is interpolated between few; the Magellanic Clouds and the bar pull; and a stream sees
 * little of its orbit. Second way: train on mock orbits in a model galaxy that start near the
 * observed objects, and apply that to the data. The Staeckel fudge in that galaxy is told the
 * potential; in another galaxy it shows how much the potential matters. */

#define ACTIONFINDER_IMPLEMENTATION
#include "actionfinder.h"

#include "figure.h"

enum { POINTS = 8, OBJECTS = 800, MOCKS = 1024, HELD = 128, ROWS = 65536, LABEL = 48 };

static const double STEADY = 0.1; /* tracks whose L_z wanders less are trained on */

/* The untrained toys stand before what starts from them. */
typedef enum method { TOY, TRACKS, MOCK_TOY, MOCK, PIFFL, DEHNEN, METHODS } method;

static const char *const method_name[METHODS] = {"toy", "tracks", "toy2", "mocks", "Piffl", "D&B"};

enum { SINGLE = -1, HELD_BACK = -2 }; /* groups: one point each; mock orbits */

/* A track of POINTS points, or a single object. */
typedef struct object {
    char name[LABEL];
    int group;     /* the tracks of one stream, from 0; or: */
    double wander; /* the rms of L_z over |L_z| + J_z: what no axisymmetric galaxy allows */
    size_t count;
    double xv[POINTS][6], j[METHODS][POINTS][3];
} object;

static object objects[OBJECTS];
static double rows[ROWS][6], sky[ROWS][6], mocks[MOCKS][POINTS][6];
static size_t object_count, left_out[3];
static int groups;

/* ---- reading ---- */

/* The text in a column of a line, "" if there is none. */
static void field(const char *line, int column, char text[LABEL]) {
    for (; column > 0 && line; column--) line = (line = strchr(line, ',')) ? line + 1 : NULL;
    snprintf(text, LABEL, "%.*s", line ? (int)strcspn(line, ",\r\n") : 0, line ? line : "");
}

static int column_of(const char *header, const char *name) {
    char text[LABEL];
    int i;
    for (i = 0; i < 64; i++) {
        field(header, i, text);
        if (strcmp(text, name) == 0) return i;
    }
    return -1;
}

/* Rows [first, last) become an object, unless they are a track that cannot be one: catalogues that
 * want six numbers give 1 kpc or 0 km/s where nothing was measured, and the ends of polynomials fly
 * away. Tracks of one stream, parts like Jhelum-a and Jhelum-b too, are a group. */
static void take(const char *name, size_t first, size_t last) {
    object *o = &objects[object_count];
    size_t i, n = last - first, length = strcspn(name, "-."), unknown[3] = {0, 0, 0};
    for (i = first; i < last; i++) {
        unknown[0] += sky[i][2] == 1.0;
        unknown[1] += fabs(sky[i][5]) < 1e-6;
        unknown[2] += sky[i][2] < 0.5 || hypot(rows[i][3], hypot(rows[i][4], rows[i][5])) > 550.0;
    }
    if ((n > 1 && n < POINTS) || object_count == OBJECTS - HELD) return;
    for (i = 0; i < 3 && n > 1; i++)
        if (unknown[i] > (i == 1)) { /* a velocity may pass through 0 */
            left_out[i]++;
            return;
        }
    snprintf(o->name, LABEL, "%s", name);
    o->count = n > 1 ? POINTS : 1;
    for (i = 0; i < o->count; i++)
        memcpy(o->xv[i], rows[first + (n > 1 ? i * (n - 1) / (POINTS - 1) : 0)], sizeof o->xv[i]);
    for (i = 0; i < object_count; i++)
        if (objects[i].group >= 0 && strncmp(objects[i].name, name, length + 1) == 0) break;
    o->group = n == 1 ? SINGLE : i < object_count ? objects[i].group : groups++;
    object_count++;
}

/* Goes through the file once more for its texts. */
static int take_all(FILE *file) {
    char line[1024], name[LABEL], last[LABEL] = "";
    int column = -2;
    size_t row = 0, first = 0;
    while (fgets(line, sizeof line, file) && row < ROWS) {
        if (line[0] == '#' || line[strspn(line, " \t\r\n")] == '\0') continue;
        if (column == -2) {
            if ((column = column_of(line, "track")) < 0 && (column = column_of(line, "stream")) < 0)
                column = column_of(line, "name");
            if (column < 0) return 0;
            continue;
        }
        field(line, column, name);
        memmove(name, name + (strncmp(name, "st.", 3) == 0 ? 3 : 0), LABEL - 3);
        if (row > first && strcmp(name, last) != 0) {
            take(last, first, row);
            first = row;
        }
        memcpy(last, name, LABEL);
        row++;
    }
    if (row > first) take(last, first, row);
    return 1;
}

/* Left-handed coordinates, so that the disc turns counter-clockwise and has J_phi > 0. */
static int read_file(af_context *c, const char *path) {
    af_observed_desc desc;
    af_observed *o = NULL;
    size_t s, i, row;
    FILE *file;
    int fine;
    memset(&desc, 0, sizeof desc);
    desc.sun.hand = AF_HAND_LEFT;
    if (af_observed_read(c, path, &desc, &o) != AF_OK) return 0;
    for (s = 0; s < af_observed_streams(o); s++)
        for (i = 0; i < af_observed_count(o, s); i++) {
            if ((row = af_observed_row(o, s, i)) >= ROWS) continue;
            af_observed_sky(o, s, i, sky[row]);
            af_xv_from_icrs(af_observed_sun(o), sky[row], rows[row]);
        }
    af_observed_destroy(o);
    file = fopen(path, "r");
    fine = file && take_all(file);
    if (file) fclose(file);
    if (!fine) fprintf(stderr, "'%s' has no column track, stream or name\n", path);
    return fine;
}

/* ---- actions by each method ---- */

/* The rms deviation from the mean: of J_z and J_r, or of J_phi alone. */
static double spread(const object *o, method m, int phi) {
    double n = (double)o->count, mean, sum = 0.0;
    size_t i;
    int k, to = phi ? 1 : 3;
    for (k = phi ? 0 : 1; k < to; k++) {
        for (mean = 0.0, i = 0; i < o->count; i++) mean += o->j[m][i][k] / n;
        for (i = 0; i < o->count; i++) sum += pow(o->j[m][i][k] - mean, 2.0) / n;
    }
    return sqrt(phi ? sum : 0.5 * sum);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of those that are finite. */
static double median(double *v, size_t count) {
    size_t i, n = 0;
    for (i = 0; i < count; i++)
        if (isfinite(v[i])) v[n++] = v[i];
    qsort(v, n, sizeof *v, by_value);
    return n ? 0.5 * (v[n / 2] + v[(n - 1) / 2]) : NAN;
}

/* Orbits in a galaxy, each from near an observed point, at random times of about three turns. The
 * last of them are objects of their own. */
static void make_mocks(const af_galaxy *galaxy) {
    af_force force = af_force_of_galaxy(galaxy);
    uint64_t n;
    size_t m = 0, i, k, real = object_count;
    for (n = 0; m < MOCKS; n++) {
        const object *o = &objects[(size_t)(af_random_uniform(1, 0, n) * (double)real)];
        const double *from = o->xv[(size_t)(af_random_uniform(1, 1, n) * (double)o->count)];
        double xv[2][6], r, v, gyr;
        for (k = 0; k < 6; k++)
            xv[1][k] = from[k] + (k < 3 ? 0.1 * from[k] : 30.0) * af_random_normal(1, 2 + k, n);
        r = hypot(xv[1][0], hypot(xv[1][1], xv[1][2]));
        v = hypot(xv[1][3], hypot(xv[1][4], xv[1][5]));
        if (!(r < 60.0) || 0.5 * v * v + af_galaxy_value(galaxy, xv[1]) > -3e4) continue;
        for (i = 0; i < POINTS; i++) { /* a turn: 2 pi r over about the circular speed */
            gyr = 6.0 * 6.3 * r / 220.0 / POINTS * af_random_uniform(2, m, i);
            if (af_orbit_integrate(AF_INTEGRATOR_LEAPFROG, force, xv[1], gyr, 500, 2, xv[0])) break;
            memcpy(mocks[m][i], xv[1], sizeof xv[1]);
        }
        if (i < POINTS || m++ < MOCKS - HELD) continue;
        objects[object_count].group = HELD_BACK;
        objects[object_count].count = POINTS;
        memcpy(objects[object_count++].xv, mocks[m - 1], sizeof mocks[0]);
    }
}

/* Each star on its own, in the model and, as method m - 1, in its toy. What did not settle is no
 * answer. */
static void evaluate(af_evaluator *one, const af_isochrone *toy, object *o, method m) {
    unsigned flags[POINTS];
    size_t i;
    af_evaluate(one, o->count, o->xv[0], NULL, o->j[m][0], NULL, flags);
    af_isochrone_actions_of(toy, o->count, o->xv[0], o->j[m - 1][0], NULL, NULL, NULL);
    for (i = 0; i < o->count; i++)
        if (flags[i] & AF_STAR_UNCONVERGED) o->j[m][i][1] = o->j[m][i][2] = NAN;
}

/* The galaxy is taken to be axisymmetric, whatever the noise of L_z says. A few tracks bind a few
 * coefficients, and softly: their noise is not to be learned; none is held back from so few. The
 * mocks, from bulge to outer halo, are the better for a toy between that of the tracks and the one
 * that would be chosen for them. */
static void choose(method m, size_t streams, af_finder_desc *model, af_fit_desc *fit) {
    memset(model, 0, sizeof *model);
    memset(fit, 0, sizeof *fit);
    model->axisymmetric = AF_SYMMETRY_YES;
    if (m == MOCK) {
        model->toy.mass = 9e11; /* Msun */
        model->toy.scale = 7.0; /* kpc */
        return;
    }
    model->harmonics_r = model->harmonics_z = 2;
    model->net.width = 16;
    model->net.depth = 1;
    model->softening = 100.0;
    model->coefficient_penalty = 100.0;
    fit->train = streams;
    fit->epochs = 1500;
}

/* Trains, and evaluates the objects that have not been trained on. */
static void fit_and_evaluate(af_context *c, const double *stars, size_t streams, method m,
                             int group) {
    af_finder_desc model;
    af_fit_desc fit;
    af_orbits *orbits = NULL;
    af_finder *finder = NULL;
    af_evaluator *one = NULL;
    size_t i;
    choose(m, streams, &model, &fit);
    if (af_orbits_create(c, streams, POINTS, stars, NULL, &orbits) == AF_OK &&
        af_finder_create(c, orbits, &model, &finder) == AF_OK &&
        af_finder_fit(finder, orbits, &fit) == AF_OK &&
        af_evaluator_create(finder, 1, POINTS, 1, &one) == AF_OK) {
        af_isochrone toy = af_finder_toy(finder);
        for (i = 0; i < object_count; i++)
            if (m == MOCK || objects[i].group == group || (group < 0 && objects[i].group < 0))
                evaluate(one, &toy, &objects[i], m);
        if (group < 0)
            printf("%-4s of %3d %s: %.3g Msun, b = %.2f kpc\n", method_name[m - 1], (int)streams,
                   method_name[m], toy.mass, toy.scale);
    }
    af_evaluator_destroy(one);
    af_finder_destroy(finder);
    af_orbits_destroy(orbits);
}

/* A model of the tracks of all groups but one, for that one; one of all tracks for the rest. */
static void by_tracks(af_context *c) {
    static double stars[OBJECTS][POINTS][6];
    size_t i, n;
    int group;
    for (group = -1; group < groups && af_error_status(c) == AF_OK; group++) {
        for (i = n = 0; i < object_count; i++)
            if (objects[i].group >= 0 && objects[i].group != group && objects[i].wander < STEADY)
                memcpy(stars[n++], objects[i].xv, sizeof stars[0]);
        fit_and_evaluate(c, stars[0][0], n, TRACKS, group);
    }
}

static void by_fudge(const af_galaxy *galaxy, method m) {
    af_fudge fudge;
    size_t i;
    memset(&fudge, 0, sizeof fudge);
    fudge.field = af_field_of_galaxy(galaxy);
    for (i = 0; i < object_count; i++) {
        object *o = &objects[i];
        af_fudge_actions_of(&fudge, o->count, o->xv[0], o->j[m][0], NULL, NULL, NULL);
        o->wander = spread(o, m, 1) / (fabs(o->j[m][o->count / 2][0]) + o->j[m][o->count / 2][1]);
    }
}

static void compute(af_context *c) {
    af_galaxy_desc desc[2];
    af_galaxy *galaxy[2] = {NULL, NULL};
    int i;
    memset(desc, 0, sizeof desc);
    af_galaxy_desc_piffl_2014(&desc[0]);
    af_galaxy_desc_dehnen_binney_1(&desc[1]);
    if (af_galaxy_create(c, &desc[0], &galaxy[0]) == AF_OK &&
        af_galaxy_create(c, &desc[1], &galaxy[1]) == AF_OK) {
        make_mocks(galaxy[0]);
        by_fudge(galaxy[1], DEHNEN);
        by_fudge(galaxy[0], PIFFL);
        by_tracks(c);
        if (af_error_status(c) == AF_OK)
            fit_and_evaluate(c, mocks[0][0], MOCKS - HELD, MOCK, -1);
    }
    for (i = 0; i < 2; i++) af_galaxy_destroy(galaxy[i]);
}

/* ---- what comes out ---- */

/* Some well-known objects are printed, and get their names in the picture. */
static int is_known(const object *o) {
    static const char known[] = " NGC104 NGC1851 NGC2808 NGC3201 NGC5139 NGC5466 NGC5904 NGC6341"
                                " NGC6397 NGC6656 NGC7078 NGC7089 Pal12 Pal5 ";
    const char *at = strstr(known, o->name);
    return at && at[-1] == ' ' && at[strlen(o->name)] == ' ';
}

static void print_methods(const char *before, int width) {
    int m;
    printf("%s", before);
    for (m = 0; m < METHODS; m++) printf("%*s", width, method_name[m]);
}

/* Tracks with their spread by each method, and the medians: 0 of tracks with a steady L_z; 1 of
 * others, whose distances or velocities are wrong, so that a small spread says nothing; 2 of
 * mocks. */
static void print_spreads(const char *title, int kind) {
    double v[METHODS][OBJECTS];
    size_t i, n = 0;
    int m;
    for (i = 0; i < object_count; i++) {
        const object *o = &objects[i];
        if ((o->group == HELD_BACK ? 2 : o->group < 0 ? -1 : o->wander >= STEADY) != kind) continue;
        if (kind < 2) printf("\n%-27s %5.1f", o->name, 100.0 * o->wander);
        for (m = 0; m < METHODS; m++) {
            v[m][n] = spread(o, (method)m, 0);
            if (kind < 2) printf("%9.1f", v[m][n]);
        }
        n++;
    }
    printf("\n%-33s", title);
    for (m = 0; m < METHODS; m++) printf("%9.1f", v[m][0] = median(v[m], n));
    printf("\n");
    if (kind == 0 && v[TRACKS][0] > 0.9 * v[TOY][0])
        printf("Training on these tracks does not help: they are too few, and not orbits enough.\n"
               "Train on mock orbits in a model galaxy, and apply that: column mocks.\n");
}

/* The actions of single objects; and for all of them the distance of (J_z, J_r) from that of the
 * fudge in the galaxy of Piffl et al., over |J_phi| + J_z + J_r. */
static void print_singles(void) {
    double v[METHODS][OBJECTS];
    size_t i, n = 0;
    int m, some[METHODS] = {0};
    print_methods("\nJ_z / J_r [km/s kpc]\nobject     J_phi", 12);
    for (i = 0; i < object_count; i++) {
        const object *o = &objects[i];
        const double *p = o->j[PIFFL][0];
        if (o->group != SINGLE) continue;
        if (is_known(o)) printf("\n%-8s %7.0f", o->name, p[0]);
        for (m = 0; m < METHODS; m++) {
            const double *j = o->j[m][0];
            v[m][n] = hypot(j[1] - p[1], j[2] - p[2]) / (fabs(p[0]) + p[1] + p[2]);
            some[m] += isfinite(v[m][n]) != 0;
            if (is_known(o)) printf("%6.0f /%4.0f", j[1], j[2]);
        }
        n++;
    }
    printf("\nof %-13d", (int)n);
    for (m = 0; m < METHODS; m++) printf("%12d", some[m]);
    printf("\nfrom Piffl [%%]  ");
    for (m = 0; m < METHODS; m++) printf("%12.1f", 100.0 * median(v[m], n));
    printf("\n");
}

/* A line for each point and method. */
static int write_table(const char *path) {
    FILE *file = fopen(path, "w");
    size_t i, k;
    int m;
    if (!file) return 0;
    fprintf(file, "name,point,wander,method,J_phi,J_z,J_r\n");
    for (i = 0; i < object_count; i++)
        for (m = 0; m < METHODS && objects[i].group != HELD_BACK; m++)
            for (k = 0; k < objects[i].count; k++) {
                const double *j = objects[i].j[m][k];
                fprintf(file, "%s,%d,%.4f,%s,%.2f,%.2f,%.2f\n", objects[i].name, (int)k,
                        objects[i].wander, method_name[m], j[0], j[1], j[2]);
            }
    return fclose(file) == 0;
}

/* Single objects, or the points of tracks with a steady L_z; names give way downwards. */
static void dots(figure_panel *p, int group, figure_style style) {
    static double at[OBJECTS][2];
    static size_t names;
    size_t i, k;
    for (i = 0; i < object_count; i++) {
        const object *o = &objects[i];
        if ((o->group < 0 ? o->group : 0) != group || o->wander >= STEADY) continue;
        for (k = 0; k < o->count; k++)
            figure_points(p, 1, &o->j[MOCK][k][0], &o->j[MOCK][k][2], style);
        if ((group < 0 && !is_known(o)) || !(o->j[MOCK][0][2] > p->y.low)) continue;
        at[names][0] = figure_x(p, o->j[MOCK][0][0]) + 5.0;
        at[names][1] = figure_y(p, o->j[MOCK][0][2]) + 3.0;
        for (k = 0; k < names; k++)
            if (fabs(at[k][0] - at[names][0]) < 90.0 && fabs(at[k][1] - at[names][1]) < 9.9) {
                at[names][1] = at[k][1] + 10.0;
                k = (size_t)-1; /* looks at all of them again */
            }
        figure_text(p->to, at[names][0], at[names][1], "start", 9, o->name);
        names++;
    }
}

static int draw(const char *path) {
    figure_style single = figure_pen("#8a8a8a", 4.5), track = figure_pen("#c0392b", 4.5);
    figure f;
    figure_panel p;
    if (!figure_begin(&f, path, 900, 720)) return 0;
    p = figure_panel_begin(&f, 80.0, 40.0, 790.0, 620.0, "Actions by the model that mocks trained",
                           figure_axis_of("J_&#966; [km/s kpc]", -4000.0, 4000.0, FIGURE_LINEAR),
                           figure_axis_of("J_r [km/s kpc]", 2.0, 9000.0, FIGURE_LOGARITHMIC));
    dots(&p, SINGLE, single);
    dots(&p, 0, track);
    figure_legend(&p, "globular clusters and other single objects", single, 1, 0);
    figure_legend(&p, "tracks of streams", track, 1, 0);
    return figure_end(&f);
}

int main(int argc, char **argv) {
    af_context *c = NULL;
    int i, fine = argc > 1 && af_context_create(NULL, &c) == AF_OK;
    if (argc < 2) fprintf(stderr, "usage: milky_way FILE [FILE...], see examples/milky_way.c\n");
    for (i = 1; i < argc && fine; i++) fine = read_file(c, argv[i]);
    if (fine) {
        printf("%d objects; tracks left out: %d without distance, %d without velocity, %d wild\n",
               (int)object_count, (int)left_out[0], (int)left_out[1], (int)left_out[2]);
        if (groups < 2) fprintf(stderr, "tracks of two streams are needed, there are %d\n", groups);
        fine = groups >= 2;
    }
    if (fine) compute(c);
    if (c && af_error_status(c) != AF_OK) fprintf(stderr, "%s\n", af_error(c));
    fine = fine && af_error_status(c) == AF_OK;
    if (fine) {
        print_methods("\nspread of J_z and J_r [km/s kpc]\ntrack            wander of L_z [%]", 9);
        print_spreads("median of these, nearly orbits", 0);
        print_spreads("median of what is no orbit", 1);
        print_spreads("median of mocks not trained on", 2);
        print_singles();
        fine = write_table("milky_way.csv") && draw("milky_way.svg");
        if (!fine) fprintf(stderr, "cannot write milky_way.csv and milky_way.svg\n");
    }
    af_context_destroy(c);
    return !fine;
}
