/* ---- base: stb_ds ------------------------------------------------------------------------------
 *
 * The arrays of the system's stb_ds, isolated, so that a user's own stb_ds, before or after this
 * file or in another, lives beside them: its names become af__stbds_..., its switches are put
 * aside, and af_stb_end.c, the last part, puts everything back. Between the two parts the library
 * uses the long names only (stbds_arrput, ...).
 *
 * Only the declarations are taken. What stb_ds would allocate, it takes from realloc without a
 * check, and its hash maps keep a global seed; here af__grow (af_arena.c) makes room in an arena
 * before anything is put, and the hash maps are not used: using one does not link. */

#include <stddef.h>

#ifndef AF_STB_DS_H
#  ifdef __has_include
#    if __has_include(<stb/stb_ds.h>)
#      define AF_STB_DS_H <stb/stb_ds.h>
#    elif __has_include("stb_ds.h")
#      define AF_STB_DS_H "stb_ds.h"
#    else
#      error "stb_ds.h not found: install libstb-dev (apt-get install libstb-dev), or put stb_ds.h \
of github.com/nothings/stb on the include path, or define AF_STB_DS_H as its name"
#    endif
#  endif
#endif
#ifndef AF_STB_DS_H
#  define AF_STB_DS_H <stb/stb_ds.h> /* Debian, or a compiler without __has_include */
#endif

/* The switches of stb_ds. */
#pragma push_macro("INCLUDE_STB_DS_H")
#pragma push_macro("STB_DS_IMPLEMENTATION")
#pragma push_macro("STBDS_NO_SHORT_NAMES")
#pragma push_macro("STBDS_REALLOC")
#pragma push_macro("STBDS_FREE")
#pragma push_macro("STBDS_UNIT_TESTS")
#undef INCLUDE_STB_DS_H
#undef STB_DS_IMPLEMENTATION
#undef STBDS_NO_SHORT_NAMES
#undef STBDS_REALLOC
#undef STBDS_FREE
#undef STBDS_UNIT_TESTS
#define STBDS_NO_SHORT_NAMES

/* Its functions, types and constants. */
#define stbds_rand_seed af__stbds_rand_seed
#define stbds_hash_bytes af__stbds_hash_bytes
#define stbds_hash_string af__stbds_hash_string
#define stbds_stralloc af__stbds_stralloc
#define stbds_strreset af__stbds_strreset
#define stbds_unit_tests af__stbds_unit_tests
#define stbds_arrgrowf af__stbds_arrgrowf
#define stbds_arrfreef af__stbds_arrfreef
#define stbds_hmfree_func af__stbds_hmfree_func
#define stbds_hmget_key af__stbds_hmget_key
#define stbds_hmget_key_ts af__stbds_hmget_key_ts
#define stbds_hmput_default af__stbds_hmput_default
#define stbds_hmput_key af__stbds_hmput_key
#define stbds_hmdel_key af__stbds_hmdel_key
#define stbds_shmode_func af__stbds_shmode_func
#define stbds_array_header af__stbds_array_header
#define stbds_string_block af__stbds_string_block
#define stbds_string_arena af__stbds_string_arena
#define STBDS_SH_NONE AF__STBDS_SH_NONE
#define STBDS_SH_DEFAULT AF__STBDS_SH_DEFAULT
#define STBDS_SH_STRDUP AF__STBDS_SH_STRDUP
#define STBDS_SH_ARENA AF__STBDS_SH_ARENA
#ifdef __cplusplus /* templates; in C these names are macros of stb_ds */
#  define stbds_arrgrowf_wrapper af__stbds_arrgrowf_wrapper
#  define stbds_hmget_key_wrapper af__stbds_hmget_key_wrapper
#  define stbds_hmget_key_ts_wrapper af__stbds_hmget_key_ts_wrapper
#  define stbds_hmput_default_wrapper af__stbds_hmput_default_wrapper
#  define stbds_hmput_key_wrapper af__stbds_hmput_key_wrapper
#  define stbds_hmdel_key_wrapper af__stbds_hmdel_key_wrapper
#  define stbds_shmode_func_wrapper af__stbds_shmode_func_wrapper
#endif

/* stbds_arrput mentions it for a full array, which af__grow never leaves. stb_ds's own declaration,
 * extern, keeps the internal linkage of this one (C99 6.2.2, C++ [dcl.stc]). */
#ifdef __cplusplus
extern "C" {
#endif
AF__UNUSED static void *stbds_arrgrowf(void *array, size_t size, size_t more, size_t capacity) {
    (void)size;
    (void)more;
    (void)capacity;
    return array;
}
#ifdef __cplusplus
}
#endif

#include AF_STB_DS_H
