/* ---- dyn: a field in a table, for speed ---------------------------------------------------------
 *
 * Any potential that is axisymmetric and the same above and below the plane, tabulated once and
 * interpolated after that, at a cost that does not depend on the field. The table is in asinh(R/r0)
 * and asinh(z/z0), which is even at first and goes over into logarithms, so that thin discs and
 * outskirts have as many knots as they need. Between knots Phi is a bicubic polynomial with the
 * field's own values and gradients at the corners; the acceleration is its exact gradient and
 * continuous, but not smooth at the knots, so that integrators of high order take more steps in it.
 * Outside of the table the field itself is asked. */

typedef struct af_field_table af_field_table;

/* Zero means default for every field but `radius`. */
typedef struct af_field_table_desc {
    uint32_t start_canary;
    double radius;         /* [kpc] where most stars are; R and |z| reach 1000 times as far */
    double fine_r, fine_z; /* [kpc] r0, z0: below these the knots are even; default a hundredth
                              and a thousandth of radius. A cusp in the centre is rounded off at a
                              tenth of r0 */
    size_t knots_r, knots_z; /* default 200, 240 */
    uint32_t end_canary;
} af_field_table_desc;

/* Asks the field at 3 points for each knot. The field must live as long as the table.
 * AF_ERROR_ARGUMENT; AF_ERROR_NONFINITE where the field is not finite, which at R = z = 0 is not
 * asked; AF_ERROR_MEMORY; *out is NULL then. */
AF_API af_status af_field_table_create(af_context *context, const af_field *field,
                                       const af_field_table_desc *desc, af_field_table **out);
AF_API void af_field_table_destroy(af_field_table *table); /* NULL is fine */

/* The interpolated field, as long as the table lives. Thread-safe if the field's functions are. */
AF_API af_field af_field_of_table(const af_field_table *table);
