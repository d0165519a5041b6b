/* actionfinder.h - the manual goes here */
#ifndef ACTIONFINDER_H
#define ACTIONFINDER_H

#include "base/af_base.h"
#include "base/af_rng.h"

#endif /* ACTIONFINDER_H */

#if defined(ACTIONFINDER_IMPLEMENTATION) && !defined(ACTIONFINDER_IMPLEMENTATION_DONE)
#define ACTIONFINDER_IMPLEMENTATION_DONE

#include "base/af_base.c"
#include "base/af_stb.c"
#include "base/af_arena.c"
#include "base/af_rng.c"
#include "base/af_par.c"

#endif /* ACTIONFINDER_IMPLEMENTATION */
