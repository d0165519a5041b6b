/* The rows, how long their fits take, and what the paper and the plan say of them. */
#include "published.h"
#include "reproduce_dp.h"

#include <string.h>

const double DPR_OBSERVER[3] = {1.0, 0.0, 0.0};

/* Seconds of the clock on all cores, well within the times of the plan: ten minutes for Plummer's
 * sphere, thirty for a disc. */
const dpr_setting DPR_SETTINGS[DPR_ROWS] = {
    {"plummer", "Plummer sphere", "3.1", 1 << 17, 1 << 16, 120.0, 60.0, 60.0},
    {"disc", "Miyamoto-Nagai disc", "3.2", 1 << 19, 1 << 17, 420.0, 0.0, 112.0},
    {"selection", "the disc, stars within 1 of (1, 0, 0)", "4.2", 1 << 19, 1 << 17, 420.0, 0.0,
     112.0},
    {"errors", "the disc, measured from (1, 0, 0)", "4.1", 1 << 19, 1 << 17, 420.0, 0.0, 112.0},
    {"nonstationary", "the disc after 8 dynamical times", "4.3", 1 << 19, 1 << 17, 420.0, 140.0,
     112.0},
    {"bar", "a turning bar", "2.3", 1 << 19, 1 << 17, 400.0, 0.0, 160.0},
    {"thinned", "the sphere of stars, thinned with distance", "5", 1 << 19, 1 << 17, 250.0, 0.0,
     100.0},
    {"conditional", "the same, by p(v|x) alone", "5", 1 << 19, 1 << 17, 250.0, 0.0, 100.0},
};

dpr_row *dpr_row_of(dpr *r, const char *name) {
    size_t i;
    for (i = 0; i < (size_t)DPR_ROWS; i++)
        if (strcmp(DPR_SETTINGS[i].name, name) == 0) return &r->row[i];
    return NULL;
}

/* Green, Ting & Kamdar (2023), all with 2^19 stars; theirs are words for whole maps more than
 * medians. */
const dpr_published DPR_PUBLISHED[] = {
    {"plummer", "gradient_x", "< 10", "2.5"},
    {"plummer", "gradient_v", "< 10", "4"},
    {"plummer", "likelihood_flow", "", "0.015"},
    {"plummer", "potential", "accurate", "0.3"},
    {"plummer", "force", "", "2 / 6"},
    {"plummer", "density", "accurate", "4"},
    {"plummer", "df_cost", "hours on an A100", "300 s"},
    {"plummer", "potential_cost", "< 1 h on an A100", "600 s in all"},
    {"disc", "potential", "0.1", "0.1"},
    {"disc", "force", "few", "2"},
    {"disc", "plane", "10", "8"},
    {"disc", "fitted", "0.996 / 0.104", "0.5 %, 2 % off"},
    {"disc", "df_cost", "hours to 2 days", "1800 s in all"},
    {"disc", "potential_cost", "< 1 h on an A100", ""},
    {"selection", "potential", "0.1", "0.1"},
    {"selection", "force", "< 10", "2"},
    {"selection", "plane", "10", "8"},
    {"selection", "fitted", "< 1 % off", ""},
    {"errors", "potential", "", "0.1"},
    {"errors", "force", "10", "10"},
    {"errors", "plane", "10", "10"},
    {"errors", "fitted", "< 1 % off", ""},
    {"nonstationary", "potential", "1", "1"},
    {"nonstationary", "force", "10", "10"},
    {"nonstationary", "plane", "20", "20"},
    {"nonstationary", "fitted", "1.013 / 0.112", ""},
    {"bar", "omega_error", "", "1"},
    {NULL, NULL, NULL, NULL},
};
