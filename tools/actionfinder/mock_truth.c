#include "mock_truth.h"

int mock_truth_in_field(af_context *c, const af_field *field, const double start[6],
                        mock_truth *out) {
    return af_orbit_actions(c, field, start, NULL, out->j, out->theta, out->omega, out->error,
                            NULL) == AF_OK;
}

int mock_truth_find(af_context *c, const af_potential_sum *galaxy, const double start[6],
                    mock_truth *out) {
    af_field field = af_field_of_potential(galaxy);
    return mock_truth_in_field(c, &field, start, out);
}
