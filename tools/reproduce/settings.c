/* The tests, and how models are fitted in them: everything that one may want to change. */
#include "reproduce.h"

#include <string.h>

const redo_test REDO_TESTS[] = {
    {"isochrone", "isochrone, toy 20 % too heavy and too wide", "6.1", "isochrone_halo", 1024, 0.0,
     0, 1, REDO_FOURIER},
    {"disc", "disc orbits, Piffl et al., truth known to 0.1", "6.3", "pjm14_disk", 2048, 0.1, 0, 0,
     REDO_SHEARS},
    {"pjm14", "halo orbits, Piffl et al., truth known to 1", "6.3", "pjm14_halo", 1024, 1.0, 1, 0,
     REDO_FOURIER},
    {"db98", "halo orbits, Dehnen & Binney, truth known to 1", "6.2", "db98_halo", 1024, 1.0,
     1, 0, REDO_FOURIER},
    {"db98_128", "halo orbits, Dehnen & Binney, truth known to 1", "6.2", "db98_halo", 128, 1.0, 0,
     0, REDO_FOURIER},
    {"db98_16", "halo orbits, Dehnen & Binney, truth known to 1", "6.2", "db98_halo", 16, 1.0, 0, 0,
     REDO_FOURIER},
    {"pjm14_torus", "tori, Piffl et al.", "6.3", "pjm14_torus", 1024, 0.0, 0, 0,
     REDO_FOURIER},
    {"db98_torus", "tori, Dehnen & Binney", "6.2", "db98_torus", 1024, 0.0, 0, 0,
     REDO_FOURIER},
};
const size_t REDO_TEST_COUNT = sizeof REDO_TESTS / sizeof *REDO_TESTS;

const redo_test *redo_test_of(const char *name) {
    size_t i;
    for (i = 0; i < REDO_TEST_COUNT; i++)
        if (strcmp(REDO_TESTS[i].name, name) == 0) return &REDO_TESTS[i];
    return NULL;
}

/* Zero: the library's default. The first line that fits a test and a kind holds. */
typedef struct settings_fit {
    const char *test; /* NULL: any */
    redo_kind kind;
    size_t epochs, again; /* passes over the streams (shears: steps); the same going on from a model
                             of other orbits */
    size_t layers, width, angle_harmonics; /* of shears */
    double toy_mass, toy_scale;            /* held fixed */
} settings_fit;

static const settings_fit FIT[] = {
    /* 1.2 times 3.334e11 Msun and 5 kpc */
    {"isochrone", REDO_FOURIER, 0, 0, 0, 0, 0, 4.0008e11, 6.0},
    {"isochrone", REDO_SHEARS, 0, 0, 0, 0, 0, 4.0008e11, 6.0},
    /* one orbit has one J: there is little to learn, and little to forget */
    {"orbits", REDO_FOURIER, 300, 0, 0, 0, 0, 0.0, 0.0},
    {"orbits", REDO_SHEARS, 60, 0, 0, 0, 0, 0.0, 0.0},
    {"orbits_again", REDO_FOURIER, 0, 150, 0, 0, 0, 0.0, 0.0},
    {"orbits_again", REDO_SHEARS, 0, 30, 0, 0, 0, 0.0, 0.0},
    {"isochrone", REDO_LONGER, 400, 0, 0, 0, 0, 4.0008e11, 6.0},
    {"disc", REDO_LONGER, 40, 0, 8, 8, 0, 0.0, 0.0},
    {NULL, REDO_LONGER, 400, 0, 0, 0, 0, 0.0, 0.0},
    {NULL, REDO_FOURIER, 0, 0, 0, 0, 0, 0.0, 0.0},
    {NULL, REDO_SHEARS, 0, 0, 0, 0, 0, 0.0, 0.0},
};

void redo_settings(const redo *r, const char *test, redo_kind kind, int again, af_finder_desc *fd,
                   af_fit_desc *td) {
    const settings_fit *s = FIT;
    while (s->kind != kind || (s->test && strcmp(s->test, test) != 0)) s++;
    memset(fd, 0, sizeof *fd);
    memset(td, 0, sizeof *td);
    if (kind == REDO_LONGER) kind = redo_test_of(test)->longer; /* what is trained */
    fd->generator = kind == REDO_SHEARS ? AF_GENERATOR_SHEARS : AF_GENERATOR_FOURIER;
    fd->layers = s->layers;
    fd->width = s->width;
    fd->angle_harmonics = s->angle_harmonics;
    fd->toy.mass = s->toy_mass;
    fd->toy.scale = s->toy_scale;
    td->epochs = again ? s->again : s->epochs;
    if (r->quick) td->epochs = kind == REDO_SHEARS ? 3 : 16;
}

void redo_settings_accel(const redo *r, const char *test, af_accel_desc *ad,
                         af_accel_fit_desc *fd) {
    (void)test;
    memset(ad, 0, sizeof *ad);
    memset(fd, 0, sizeof *fd);
    if (r->quick) fd->steps = 20;
}

void redo_settings_extend(const redo *r, const redo_test *test, af_extend_desc *d) {
    memset(d, 0, sizeof *d);
    d->streams = test->longer == REDO_SHEARS ? 2048 : 4096;
    if (r->quick) d->streams = 128;
    d->misfit = 0.1; /* tori are not quite orbits */
}
