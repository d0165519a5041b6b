/* Deep Potential as one object, for programs that are linked with library.c. */
#include "actionfinder.in.h"
#define DEEPPOTENTIAL_IMPLEMENTATION
#include "deeppotential.in.h"
