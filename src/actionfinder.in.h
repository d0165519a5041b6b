/* actionfinder.h - the manual goes here */
#ifndef ACTIONFINDER_H
#define ACTIONFINDER_H

#include "base/af_base.h"
#include "base/af_rng.h"
#include "expr/af_expr.h"
#include "expr/af_diff.h"
#include "expr/af_func.h"
#include "learn/af_tensors.h"
#include "learn/af_npy.h"
#include "learn/af_table.h"
#include "learn/af_param.h"
#include "learn/af_net.h"
#include "learn/af_adam.h"
#include "learn/af_train.h"
#include "dyn/af_units.h"
#include "dyn/af_potential.h"
#include "dyn/af_orbit.h"
#include "dyn/af_isochrone.h"
#include "action/af_orbits.h"
#include "action/af_toy.h"
#include "action/af_finder.h"

#endif /* ACTIONFINDER_H */

#if defined(ACTIONFINDER_IMPLEMENTATION) && !defined(ACTIONFINDER_IMPLEMENTATION_DONE)
#define ACTIONFINDER_IMPLEMENTATION_DONE

#include "base/af_base.c"
#include "base/af_stb.c"
#include "base/af_arena.c"
#include "base/af_rng.c"
#include "base/af_par.c"
#include "expr/af_expr.c"
#include "expr/af_diff.c"
#include "expr/af_gemm.c"
#include "expr/af_func.c"
#include "expr/af_lanes.c"
#define AF__BITS 64
#include "expr/af_kernel.inc.c"
#undef AF__BITS
#define AF__BITS 32
#include "expr/af_kernel.inc.c"
#undef AF__BITS
#include "expr/af_cpu.c"
#include "learn/af_number.c"
#include "learn/af_file.c"
#include "learn/af_tensors.c"
#include "learn/af_npy.c"
#include "learn/af_table.c"
#include "learn/af_param.c"
#include "learn/af_net.c"
#include "learn/af_adam.c"
#include "learn/af_train.c"
#include "dyn/af_units.c"
#include "dyn/af_potential.c"
#include "dyn/af_orbit.c"
#include "dyn/af_isochrone.c"
#include "action/af_orbits.c"
#include "action/af_toy.c"
#include "action/af_generator.c"
#include "action/af_finder.c"
#include "action/af_evaluate.c"
#include "action/af_fit.c"
#include "action/af_model.c"

#include "base/af_stb_end.c" /* keep last */

#endif /* ACTIONFINDER_IMPLEMENTATION */
