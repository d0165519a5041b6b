/* deeppotential.h - Deep Potential: potentials from snapshots of stars
 *
 * WHAT IS NOT THERE YET
 *
 *     Nothing of Deep Potential is there yet: no normalising flows for the distribution function,
 *     no fit of the potential, no search for formulas. This header only fixes the place, the prefix
 *     (dp_, DP_) and the build; the method is that of Green & Ting (2020, arXiv:2011.04673) and
 *     Green, Ting & Kamdar (2023, ApJ 942, 26).
 *
 * BUILD
 *
 *     Beside actionfinder.h, which it includes and whose public interface it will use. In one C or
 *     C++ file:
 *
 *         #define ACTIONFINDER_IMPLEMENTATION
 *         #define DEEPPOTENTIAL_IMPLEMENTATION
 *         #include "deeppotential.h"
 *
 *     The two implementations may also stand in different files. AF_STATIC and AF_API act on both.
 *
 * LICENCE: MIT, see the file LICENSE. */
#ifndef DEEPPOTENTIAL_H
#define DEEPPOTENTIAL_H

#ifndef ACTIONFINDER_H
#  include "actionfinder.h"
#endif

/* Both headers have one version and are released together. */
#define DP_VERSION AF_VERSION

/* The version of the implementation, to compare with DP_VERSION of the header. */
AF_API const char *dp_version(void);

#include "dp/dp_sample.h"
#include "dp/dp_mock.h"
#include "dp/dp_train.h"
#include "dp/dp_df.h"
#include "dp/dp_ensemble.h"
#include "dp/dp_potential.h"
#include "dp/dp_local.h"
#include "dp/dp_products.h"

#endif /* DEEPPOTENTIAL_H */

#if defined(DEEPPOTENTIAL_IMPLEMENTATION) && !defined(DEEPPOTENTIAL_IMPLEMENTATION_DONE)
#define DEEPPOTENTIAL_IMPLEMENTATION_DONE

#include "dp/dp_base.c"
/* stars */
#include "dp/dp_sample.c"
#include "dp/dp_mock.c"
/* fits */
#include "dp/dp_rows.c"
#include "dp/dp_train.c"
/* distribution functions: what all share, the kinds, the interface */
#include "dp/dp_df.c"
#include "dp/dp_spline.c"
#include "dp/dp_cnf.c"
#include "dp/dp_matching.c"
#include "dp/dp_ffjord.c"
#include "dp/dp_score.c"
#include "dp/dp_df_api.c"
#include "dp/dp_ensemble.c"
/* potentials: expressions, fit, interface; without a model; what they give */
#include "dp/dp_potential.c"
#include "dp/dp_potential_fit.c"
#include "dp/dp_potential_api.c"
#include "dp/dp_force.c"
#include "dp/dp_local.c"
#include "dp/dp_products.c"

#endif /* DEEPPOTENTIAL_IMPLEMENTATION */
