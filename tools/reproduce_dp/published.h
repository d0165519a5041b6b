/* What the paper says, and what is to be reached. */
#ifndef DP_PUBLISHED_H
#define DP_PUBLISHED_H

typedef struct dpr_published {
    const char *row, *quantity, *paper, *wanted;
} dpr_published;
extern const dpr_published DPR_PUBLISHED[]; /* ends with NULLs */

#endif
