/* Where mock orbits begin: potentials, kinds of orbits, random numbers. */
#ifndef AF_MOCK_START_H
#define AF_MOCK_START_H

#include <stddef.h>

#include "actionfinder.h"

typedef enum mock_potential {
    MOCK_DISC_HALO = 0,
    MOCK_ISOCHRONE,
    MOCK_DB98,
    MOCK_PJM14,
    MOCK_PLUMMER,
    MOCK_TRIAXIAL,
    MOCK_POTENTIALS
} mock_potential;

typedef enum mock_kind {
    MOCK_HALO = 0,
    MOCK_DISC,
    MOCK_COLD_DISC,
    MOCK_SNAPSHOT,
    MOCK_KINDS
} mock_kind;

/* The galaxy: a Milky-Way-like sum with v_c(8 kpc) = 229 km/s; a mass model of discs and spheroids;
 * or one of the potentials with few numbers. Documented in the command's help. */
typedef struct mock_galaxy {
    mock_potential potential;
    af_potential parts[4];
    af_potential_sum sum;
    af_isochrone isochrone; /* mass 0: not one */
    af_galaxy *model;       /* NULL: the sum instead */
    af_field field;         /* of the one or the other */
} mock_galaxy;

/* g must stay where it is. Returns an exit code; to be released by af_galaxy_destroy(g->model). */
int mock_galaxy_make(af_context *c, mock_galaxy *g, mock_potential potential);

/* The numbers of one stream come one after the other from its own sequence. */
typedef struct mock_dice {
    uint64_t seed, stream, index;
} mock_dice;

double mock_uniform(mock_dice *d);

/* A point of an orbit of that kind, and its radial period [Gyr] for MOCK_COLD_DISC, otherwise 0. */
void mock_start(const mock_galaxy *g, mock_kind kind, mock_dice *d, double xv[6], double *period);

#endif
