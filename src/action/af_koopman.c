/* ---- to come ---- */
