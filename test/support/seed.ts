/** Of everything that fast-check draws: the suite is the same every time, and OPS_TEST_SEED=<number> draws anew. */
export const seed = Number(process.env.OPS_TEST_SEED ?? 1120);
