/** Part of istanbul's coverage.json. */
interface Range {
  readonly start: { readonly line: number; readonly column: number };
}
type ById<T> = Readonly<Record<string, T>>;

export interface FileCoverage {
  readonly statementMap: ById<Range>;
  readonly fnMap: ById<{ readonly loc: Range }>;
  readonly branchMap: ById<{
    readonly type: string;
    readonly loc: Range;
    readonly locations: readonly unknown[];
  }>;
  /** How often each ran: statements, functions, the ways of a branch */
  readonly s: ById<number>;
  readonly f: ById<number>;
  readonly b: ById<readonly number[]>;
}

/** Covered and all of one kind, over the files of a report. */
export interface Total {
  readonly covered: number;
  readonly all: number;
}

export interface CoverageTotals {
  readonly lines: Total;
  readonly functions: Total;
  readonly branches: Total;
}

/**
 * Totals of two reports of the same sources. Lines, functions and branches are those of the first, which names all of
 * them, also those that never ran. The second adds what ran at the same place: where the two compilers disagree on a
 * place, nothing is added.
 */
export function totalsOf(first: ById<FileCoverage>, second: ById<FileCoverage>): CoverageTotals {
  const perFile = Object.entries(first).map(([file, data]) => {
    const more = second[file];
    return kinds.map((placesOf) => {
      const ran = new Set(more ? [...placesOf(more)].filter(([, hit]) => hit).map(([place]) => place) : []);
      const places = placesOf(data);
      return {
        all: places.size,
        covered: [...places].filter(([place, hit]) => hit || ran.has(place)).length,
      };
    });
  });
  const sum = (kind: number): Total => ({
    covered: perFile.reduce((total, file) => total + (file[kind]?.covered ?? 0), 0),
    all: perFile.reduce((total, file) => total + (file[kind]?.all ?? 0), 0),
  });
  return { lines: sum(0), functions: sum(1), branches: sum(2) };
}

/** Whether what is at a place ran, by place. */
type Places = ReadonlyMap<string, boolean>;

const kinds: readonly ((file: FileCoverage) => Places)[] = [linesOf, functionsOf, branchesOf];

/** As istanbul counts lines: those on which a statement starts. */
function linesOf({ statementMap, s }: FileCoverage): Places {
  return collected(
    Object.entries(statementMap).map(([id, { start }]) => [`${start.line}`, (s[id] ?? 0) > 0]),
  );
}

function functionsOf({ fnMap, f }: FileCoverage): Places {
  return collected(Object.entries(fnMap).map(([id, { loc }]) => [placeOf(loc), (f[id] ?? 0) > 0]));
}

function branchesOf({ branchMap, b }: FileCoverage): Places {
  return collected(
    Object.entries(branchMap).flatMap(([id, { type, loc, locations }]) =>
      locations.map((_, index): [string, boolean] => [
        `${type} ${placeOf(loc)} ${index}`,
        (b[id]?.[index] ?? 0) > 0,
      ]),
    ),
  );
}

function placeOf({ start }: Range): string {
  return `${start.line}:${start.column}`;
}

function collected(found: readonly (readonly [string, boolean])[]): Places {
  const places = new Map<string, boolean>();
  for (const [place, hit] of found) places.set(place, hit || places.get(place) === true);
  return places;
}
