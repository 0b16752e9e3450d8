import { existsSync, readFileSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { describe } from '../errors/onboardingError.ts';
import { plainText } from '../text/plainText.ts';

/** Errors of a chain of causes that are told */
const mostCauses = 3;

/** Tells a bug on standard error: what was thrown, and where in the source. */
export function reportBug(error: unknown): void {
  const lines = traceOf(error).split('\n').map(plainText);
  process.stderr.write(`onboardd: ${lines.join('\n')}\n`);
}

/**
 * What was thrown and the frames of its stack, causes included. Frames in the bundle name file and line of the source
 * if its source map is at hand: it is read only now, so that a start does not pay for it.
 */
export function traceOf(error: unknown, causes: number = mostCauses): string {
  if (!(error instanceof Error)) return describe(error);
  const frames = (error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line));
  const told = [`${error.name}: ${describe(error)}`, ...frames.map(withSourceLine)].join('\n');
  return causes === 0 || error.cause === undefined || error.cause === null
    ? told
    : `${told}\ncaused by ${traceOf(error.cause, causes - 1)}`;
}

/** @param frame one line of a stack: `at name (file:line:column)`, or without name and brackets */
function withSourceLine(frame: string): string {
  return frame.replace(
    /((?:\/|dist\/)[^():]+):(\d+):(\d+)(?=\)?$)/,
    (place, file: string, line: string, column: string) => {
      const entry = mapOf(file)?.findEntry(Number(line) - 1, Number(column) - 1);
      if (entry === undefined || !('originalSource' in entry)) return place;
      const { originalSource, originalLine, originalColumn } = entry;
      return `${originalSource.replace(/^(\.\.\/)+/, '')}:${originalLine + 1}:${originalColumn + 1}`;
    },
  );
}

const maps = new Map<string, SourceMap | null>();

/** @returns null if there is no map, or it cannot be read */
function mapOf(file: string): SourceMap | null {
  let map = maps.get(file);
  if (map === undefined) {
    try {
      const text = textOfMap(file);
      map = text === null ? null : new SourceMap(JSON.parse(text));
    } catch {
      map = null;
    }
    maps.set(file, map);
  }
  return map;
}

/** The map lies beside the bundle, or in the single executable as an asset (packaging/program.mjs). */
function textOfMap(file: string): string | null {
  const sea = process.getBuiltinModule?.('node:sea');
  // Its code cache names the bundle as it lay when the executable was made; without one, it is the executable.
  const isOwn = file === process.execPath || file === 'dist/program.cjs';
  if (sea?.isSea()) return isOwn ? sea.getAsset('program.cjs.map', 'utf8') : null;
  return existsSync(`${file}.map`) ? readFileSync(`${file}.map`, 'utf8') : null;
}
