/** What a set of measured values looks like. */
export interface Spread {
  readonly count: number;
  readonly least: number;
  readonly lowerQuartile: number;
  readonly median: number;
  readonly upperQuartile: number;
  readonly most: number;
}

/** The value below which a share of the values lies, linear between neighbours. @throws {RangeError} of no values */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * share;
  const [below, above] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
  if (below === undefined || above === undefined) throw new RangeError('no values were measured');
  return below + (above - below) * (at - Math.floor(at));
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

export function spreadOf(values: readonly number[]): Spread {
  return {
    count: values.length,
    least: quantile(values, 0),
    lowerQuartile: quantile(values, 0.25),
    median: median(values),
    upperQuartile: quantile(values, 0.75),
    most: quantile(values, 1),
  };
}

/**
 * The quotients of values that were measured next to each other. What slows the machine down for a while slows both
 * sides of a pair, so their median is steadier than the quotient of two medians.
 *
 * @throws {RangeError} where the lists are not of the same length
 */
export function pairRatios(values: readonly number[], others: readonly number[]): number[] {
  if (values.length !== others.length) throw new RangeError('values without a partner');
  return values.map((value, index) => value / (others[index] ?? Number.NaN));
}
