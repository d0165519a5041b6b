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

#endif /* DEEPPOTENTIAL_H */

#if defined(DEEPPOTENTIAL_IMPLEMENTATION) && !defined(DEEPPOTENTIAL_IMPLEMENTATION_DONE)
#define DEEPPOTENTIAL_IMPLEMENTATION_DONE

AF_API const char *dp_version(void) { return DP_VERSION; }

#endif /* DEEPPOTENTIAL_IMPLEMENTATION */
