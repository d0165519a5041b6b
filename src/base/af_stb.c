/* ---- base: stb_ds ------------------------------------------------------------------------------ */
#define STBDS_NO_SHORT_NAMES
#define STB_DS_IMPLEMENTATION
#include <stb/stb_ds.h>
