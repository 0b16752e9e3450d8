import { catalogue } from '../../src/errors/catalogue.ts';

/**
 * Codes that a life in the simulation cannot meet: they end the program before the machine starts, or are a bug of the
 * program's own.
 */
const outside = ['CONFIG_INVALID', 'STATE_LOCKED', 'INTERNAL'];

/** The codes that the simulation is to reach. */
export const codes = Object.keys(catalogue).filter((code) => !outside.includes(code));
