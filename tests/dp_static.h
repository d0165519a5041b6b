/* Included before tests of Deep Potential, which have its implementation and are linked with the
 * library: what a test does not call is private and unused, and costs next to nothing. */
#if !defined(_POSIX_C_SOURCE) && !defined(__APPLE__)
#  define _POSIX_C_SOURCE 200809L /* getpid */
#endif
#include "actionfinder.in.h"
#undef AF_API
#define AF_API __attribute__((unused)) static
