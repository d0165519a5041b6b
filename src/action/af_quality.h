/* ---- ActionFinder: judging its result -----------------------------------------------------------
 *
 * How well a finder does on orbits, seen without knowing the truth. The stars of a stream are
 * solved one by one, and their actions compared: with each other, with what streams of similar
 * actions have in a reference sample (the orbits that the finder was trained on), and with where
 * that sample has streams at all.
 *
 * A stream of one orbit spreads as much as its neighbours. One that spreads much more than they is
 * none of their kind (another family, a resonance), or not one orbit. "Much more" is what only the
 * fraction `false_alarm` of streams like the reference's exceed: the reference streams that were
 * held back from training say how much that is, by their ranks (Vovk, Gammerman & Shafer 2005,
 * Algorithmic Learning in a Random World: conformal prediction), whatever the distribution is.
 *
 * What this cannot see: an error that all stars of a stream share, such as that of J_phi where
 * short arcs leave it free; and chaos on arcs of an orbit that are shorter than it takes to show.
 * Where a whole region is chaotic, neighbours are no better: look at `typical` and `toy_typical`,
 * which tell how well orbits of such actions do at all; `actionfinder judge --labels` compares them
 * where something is known. */

/* Flags beside AF_ORBIT_ and AF_STAR_UNCONVERGED. */
enum {
    AF_STAR_OUTSIDE = 2048, /* of stars and streams: unlike anything in the reference sample */
    AF_STAR_APART = 4096,   /* a star that agrees with its stream less than stars do there */
    AF_STREAM_MISFIT = 8192 /* a stream that spreads more than its like */
};

/* Zero means default for every field. */
typedef struct af_quality_desc {
    uint32_t start_canary;
    size_t trained;     /* the first `trained` streams of the reference are those that the finder
                           was trained on; default 7/8 of them, as in af_fit_desc; SIZE_MAX: none,
                           all are new to it. A finder spreads less on the former: the others say
                           what is normal */
    size_t neighbours;  /* streams that one is compared with; default 64, at most an eighth of the
                           reference */
    double false_alarm; /* fraction of good streams, and of good stars, that each flag may hit;
                           default 0.02. Nothing is flagged when fewer than 1/false_alarm - 1
                           streams were held back */
    size_t most;        /* reference streams that are kept, evenly taken; default 4096 */
    int threads;        /* as in af_workspace_create */
    uint32_t end_canary;
} af_quality_desc;

/* Actions in km/s kpc. NaN where there is no answer. */
typedef struct af_star_quality {
    double j[3];           /* solved alone */
    double deviation[3];   /* from the stream's j */
    double relative;       /* |deviation| over the stream's |J_phi| + J_z + J_r */
    double rank;           /* of `relative` over the stream's `typical`: see below */
    double distance;       /* from the four nearest reference streams, the mean, over the median of
                              the same in the reference: about 1 where that is dense. In (sign
                              root |J_phi|, root J_z, root J_r), each over its median absolute
                              deviation in the reference */
    double distance_rank;
    unsigned flags;        /* AF_ORBIT_, AF_STAR_UNCONVERGED, AF_STAR_OUTSIDE, AF_STAR_APART */
} af_star_quality;

/* A rank is a p-value: the fraction of the reference that is at least as bad, (1 + bad)/(1 + all);
 * among streams like those of the reference it is at most p with probability p. `rank` counts those
 * held back, `distance_rank` all. */
typedef struct af_stream_quality {
    double j[3];      /* the median of its stars, each component */
    double spread;    /* mean |J - j| over the stars, each component, the root of their squares'
                         sum; NaN for fewer than two stars */
    double relative;  /* spread over |J_phi| + J_z + J_r */
    double typical;   /* the median `relative` of its neighbours in the reference: how well the
                         finder does on orbits of such actions */
    double ratio;     /* relative / typical */
    double rank;      /* of the ratio */
    double distance, distance_rank; /* of j, as for stars */
    double toy_j[3], toy_spread;    /* j and spread in the toy, for comparison */
    double toy_typical; /* the median toy_spread of its neighbours: how unlike the toy's the orbits
                           of such actions are */
    size_t stars, unbound, unconverged; /* how many; unbound ones count in nothing else */
    unsigned flags; /* AF_STREAM_MISFIT when rank <= false_alarm; AF_STAR_OUTSIDE when
                       distance_rank <= false_alarm */
} af_stream_quality;

/* A judge: a finder and the reference that it is measured by. One thread at a time. */
typedef struct af_quality af_quality;

/* Solves the reference star by star. The finder must outlive the judge and stay as it is; the
 * orbits are not kept. Streams to be judged should have about as many stars as those of the
 * reference: fewer spread less. AF_ERROR_DATA when fewer than eight of its streams have two stars
 * that are bound in the toy; AF_ERROR_ARGUMENT for a desc that is not zeroed or out of range; as
 * af_evaluator_create; *out is NULL then. desc NULL: all defaults. */
AF_API af_status af_quality_create(const af_finder *f, const af_orbits *reference,
                                   const af_quality_desc *desc, af_quality **out);
AF_API void af_quality_destroy(af_quality *q); /* NULL is fine; before the finder */

/* Streams of the reference that were held back: the smallest rank is 1/(this + 1). */
AF_API size_t af_quality_held_back(const af_quality *q);

/* Judges orbits: streams (S), stars (S,N), or NULL. A stream of the reference is not its own
 * neighbour. AF_ERROR_MEMORY. */
AF_API af_status af_quality_judge(af_quality *q, const af_orbits *orbits,
                                  af_stream_quality *streams, af_star_quality *stars);

/* The area under the ROC curve: the probability that a positive (label > 0) has a larger score than
 * a negative, equal scores counting half; from the sum of ranks (Mann & Whitney 1947). Pairs with a
 * NaN score or label are left out. score and label (n). *auc is NaN, and the result AF_OK, when
 * there are only positives or only negatives; AF_ERROR_MEMORY. */
AF_API af_status af_roc_auc(af_context *c, size_t n, const double *score, const double *label,
                            double *auc);
