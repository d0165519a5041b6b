/* ---- dyn: units --------------------------------------------------------------------------------
 *
 * Public functions take and give kpc, km/s, solar masses and Gyr. What follows from these:
 *
 *     potential        (km/s)^2            action     km/s kpc
 *     acceleration     (km/s)^2 / kpc      frequency  km/s / kpc   (radians per unit of time)
 *     density          Msun / kpc^3        angle      rad
 *
 * The unit of time that fits kpc and km/s is kpc/(km/s) = 0.978 Gyr. Only this part knows the
 * factor: everything else calls the functions below. */

/* G [kpc (km/s)^2 / Msun], from the nominal solar GM of IAU 2015 resolution B3. */
#define AF_GRAVITY 4.30091727e-6

/* kpc/(km/s) in Gyr: the parsec of IAU 2015 resolution B2 and Julian years of 31557600 s. */
#define AF_TIME_UNIT_GYR 0.97779222168078928

/* One mas/yr at one kpc in km/s: an astronomical unit (149597870.7 km) in a Julian year. */
#define AF_KMS_PER_MASYR_KPC 4.7404704635333494

/* Gyr to kpc/(km/s) and back. */
AF_API double af_time_from_gyr(double gyr);
AF_API double af_gyr_from_time(double time);

/* A frequency in km/s/kpc as rad/Gyr: an angle grows by af_rad_per_gyr(omega) * gyr. */
AF_API double af_rad_per_gyr(double omega);

/* An action in km/s kpc as kpc^2/Gyr, and an acceleration in (km/s)^2/kpc as km/s/Gyr. */
AF_API double af_kpc2_per_gyr(double action);
AF_API double af_kms_per_gyr(double acceleration);
