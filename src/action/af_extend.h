/* ---- longer orbits, and more of them ------------------------------------------------------------
 *
 * Once the field is known (af_mass_model.h), short arcs can be followed as far as one likes: the
 * stars of the new streams lie all along the orbits, and the map that makes their actions agree is
 * far better determined than by the arcs. Beside the orbits given others are made that are like
 * them: the position of one star with the velocity of another at nearly the same distance from the
 * centre, turned with the azimuth and mirrored at the plane. So the field should be axisymmetric,
 * and the same above and below the plane. */

/* Zero means default for every field. */
typedef struct af_extend_desc {
    uint32_t start_canary;
    size_t streams;  /* default: as many as given, at least 4096. The first ones continue those
                        given, one by one */
    size_t stars;    /* default 8 */
    double periods;  /* length of an arc, in periods of a circular orbit at its first star's
                        distance; default 10 */
    double misfit;   /* without a field: the largest af_mass_model_misfit that is good enough;
                        default 1e-3 */
    af_isochrone toy; /* mass > 0: all stars are bound in it */
    uint64_t seed;
    int threads;     /* as in af_workspace_create; the results do not depend on them */
    uint32_t end_canary;
} af_extend_desc;

/* Orbits in the field, of desc->streams streams; those that cannot be followed, or come farther
 * from the centre than twice the farthest star given, are replaced by others. The field's functions
 * must allow threads. field NULL: an axisymmetric mass model of the orbits themselves, in a table;
 * AF_ERROR_DATA when their energies do not agree in one: they have errors, or are in no such field.
 * AF_ERROR_ARGUMENT; AF_ERROR_DATA when hardly any orbit can be followed; AF_ERROR_MEMORY; *out is
 * NULL then. desc NULL: all defaults. */
AF_API af_status af_orbits_extend(af_context *c, const af_orbits *orbits, const af_field *field,
                                  const af_extend_desc *desc, af_orbits **out);
