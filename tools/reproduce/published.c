/* What others found: Ibata et al. (2021), and AGAMA 1.0.159 (Vasiliev 2019) on samples of the same
 * recipes, whose potential it is told. */
#include "reproduce.h"

#include <string.h>

typedef struct published_cell {
    const char *test, *quantity;
    redo_column column;
    double value; /* the mean; 0: the text alone */
    const char *text;
    char mark;
} published_cell;

const char *const REDO_NOTES[] = {
    /* a */ "The paper's angles in these two tests are no better than the untrained toy's.",
    /* b */ "With S = 8194 and no angles (eq. 19); where angles are learned, too, 0.67 with S = "
            "8192 and 2.4 with S = 1024. The angles' 4.9 degrees go with the 0.67.",
    /* c */ "Against the labels of tori, which are noisy themselves: by 1.0 (Dehnen & Binney) "
            "and 2.7 km/s kpc (Piffl et al.) where the torus converged. The paper gives 44 for the "
            "fudge: a mean that is carried by tori that failed, whose labels mean nothing.",
    /* d */ "AGAMA 1.0.159 on other streams of the same recipe: 1579 and 1548 halo streams, 7523 "
            "disc orbits, 1024 and 2048 tori, against the same kind of truth. Like our fudge it is "
            "told the potential.",
    /* e */ "What the paper calls the Torus Machinery here is AGAMA's fudge, which has the paper's "
            "figures to the last digit.",
    /* f */ "Spread: mean over the 10000 points and the three actions of |J - mean J|; error: of "
            "|J - truth|. From scratch: trained on that orbit alone, so that a map which gives one "
            "J everywhere has no spread: look at the error.",
    /* g */ "A simulation of 10^6 particles in their own field; ours move in the smooth one.",
    /* h */ "From the actions and from the energy, which is the same for the stars of a stream: "
            "that needs no map.",
    /* i */ "By following orbits in the field of the streams' energies, some hundredths of a "
            "second each: of one star of a stream where there are many streams. The time is that of "
            "the fit and of these orbits.",
    /* j */ "Trained on longer orbits in the field of the streams' energies: shears for discs, "
            "Fourier for all others. The fastest way to many stars.",
    NULL};

static const published_cell PUBLISHED[] = {
    {"isochrone", "stream", REDO_PAPER, 3.0, NULL, 0},
    {"isochrone", "angle", REDO_PAPER, 1.4, NULL, 'a'},
    {"isochrone", "stream", REDO_AGAMA, 0.0, "exact", 0},
    {"isochrone", "angle", REDO_AGAMA, 0.0, "exact", 0},
    {"disc", "stream", REDO_PAPER, 0.088, NULL, 'b'},
    {"disc", "angle", REDO_PAPER, 4.9, NULL, 'a'},
    {"disc", "stream", REDO_AGAMA, 0.087, NULL, 'd'},
    {"disc", "star", REDO_AGAMA, 0.204, NULL, 'd'},
    {"disc", "angle", REDO_AGAMA, 0.78, NULL, 'd'},
    {"pjm14", "stream", REDO_PAPER, 6.3, NULL, 'c'},
    {"pjm14", "angle", REDO_PAPER, 4.2, NULL, 0},
    {"pjm14", "stream", REDO_AGAMA, 10.3, NULL, 'd'},
    {"pjm14", "star", REDO_AGAMA, 12.7, NULL, 'd'},
    {"pjm14", "angle", REDO_AGAMA, 3.1, NULL, 'd'},
    {"db98", "stream", REDO_PAPER, 8.0, NULL, 'c'},
    {"db98", "angle", REDO_PAPER, 7.4, NULL, 0},
    {"db98", "acceleration", REDO_PAPER, 2.6, NULL, 0},
    {"db98", "stream", REDO_AGAMA, 12.4, NULL, 'd'},
    {"db98", "star", REDO_AGAMA, 14.1, NULL, 'd'},
    {"db98", "angle", REDO_AGAMA, 3.8, NULL, 'd'},
    {"db98_128", "stream", REDO_PAPER, 11.2, NULL, 'c'},
    {"db98_128", "angle", REDO_PAPER, 8.0, NULL, 0},
    {"db98_16", "stream", REDO_PAPER, 18.1, NULL, 'c'},
    {"db98_16", "angle", REDO_PAPER, 9.1, NULL, 0},
    {"pjm14_torus", "stream", REDO_PAPER, 6.3, NULL, 'c'},
    {"pjm14_torus", "angle", REDO_PAPER, 4.2, NULL, 0},
    {"pjm14_torus", "stream", REDO_AGAMA, 7.4, NULL, 'd'},
    {"pjm14_torus", "star", REDO_AGAMA, 9.4, NULL, 'd'},
    {"pjm14_torus", "angle", REDO_AGAMA, 1.9, NULL, 'd'},
    {"db98_torus", "stream", REDO_PAPER, 8.0, NULL, 'c'},
    {"db98_torus", "angle", REDO_PAPER, 7.4, NULL, 0},
    {"db98_torus", "stream", REDO_AGAMA, 2.8, NULL, 'd'},
    {"db98_torus", "star", REDO_AGAMA, 3.2, NULL, 'd'},
    {"db98_torus", "angle", REDO_AGAMA, 1.2, NULL, 'd'},
    {"orbits", "thin_spread", REDO_PAPER, 0.034, NULL, 'f'},
    {"orbits", "thick_spread", REDO_PAPER, 0.11, NULL, 'f'},
    {"orbits", "halo_spread", REDO_PAPER, 0.84, NULL, 'f'},
    {"orbits", "stream_spread", REDO_PAPER, 0.61, NULL, 'f'},
    {"orbits", "thin_spread", REDO_AGAMA, 0.0229, NULL, 'e'},
    {"orbits", "thick_spread", REDO_AGAMA, 0.2289, NULL, 'e'},
    {"orbits", "halo_spread", REDO_AGAMA, 0.9412, NULL, 'e'},
    {"orbits", "stream_spread", REDO_AGAMA, 1.8227, NULL, 'e'},
    {"orbits", "thin_error", REDO_AGAMA, 0.0229, NULL, 0},
    {"orbits", "thick_error", REDO_AGAMA, 0.2289, NULL, 0},
    {"orbits", "halo_error", REDO_AGAMA, 0.9414, NULL, 0},
    {"orbits", "stream_error", REDO_AGAMA, 1.8180, NULL, 0},
    {"orbits_again", "thin_spread", REDO_PAPER, 0.012, NULL, 'f'},
    {"orbits_again", "thick_spread", REDO_PAPER, 0.064, NULL, 'f'},
    {"orbits_again", "halo_spread", REDO_PAPER, 0.47, NULL, 'f'},
    {"orbits_again", "stream_spread", REDO_PAPER, 0.14, NULL, 'f'},
    {"plummer", "j_phi", REDO_PAPER, 0.00055, NULL, 'g'},
    {"plummer", "j_z", REDO_PAPER, 0.00048, NULL, 'g'},
    {"plummer", "j_r", REDO_PAPER, 0.00032, NULL, 'g'},
    {"plummer", "j_phi", REDO_AGAMA, 0.0, "exact", 0},
    {"plummer", "j_z", REDO_AGAMA, 0.0, "exact", 0},
    {"plummer", "j_r", REDO_AGAMA, 0.0, "exact", 0},
    {"inverse", "position", REDO_PAPER, 0.24, NULL, 0},
    {"inverse", "velocity", REDO_PAPER, 4.4, NULL, 0},
};

void redo_published(redo_line *line) {
    size_t i;
    for (i = 0; i < sizeof PUBLISHED / sizeof *PUBLISHED; i++) {
        const published_cell *p = &PUBLISHED[i];
        redo_cell *cell = &line->cell[p->column];
        if (strcmp(p->test, line->test) != 0 || strcmp(p->quantity, line->quantity.name) != 0)
            continue;
        if (p->text) redo_cell_text(cell, p->text);
        else redo_cell_number(cell, p->value);
        cell->mark = p->mark;
    }
}
