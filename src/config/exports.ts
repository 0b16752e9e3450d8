import { isRecord } from '../text/json.ts';

/** Where an item of `exports` is written. A path without mode and group: the default mode of the item, and the group of the writer. */
export type ExportSetting = string | ExportObject;

export interface ExportObject {
  readonly path: string;
  /** Octal, as chmod(1) takes it: `"0640"` */
  readonly mode?: string | undefined;
  /** Name or number of a group */
  readonly group?: string | undefined;
}

/** The same, read. */
export interface ExportTarget {
  readonly path: string;
  /** null: the one that fits the item */
  readonly mode: number | null;
  /** null: the writer's own */
  readonly group: string | null;
}

export function exportTarget(setting: ExportSetting): ExportTarget {
  if (typeof setting === 'string') return { path: setting, mode: null, group: null };
  const { path, mode, group = null } = setting;
  return { path, mode: mode === undefined ? null : Number.parseInt(mode, 8), group };
}

/** @param setting whatever stands in the configuration. @returns null if it names no path */
export function pathOfExport(setting: unknown): string | null {
  const path = isRecord(setting) ? setting.path : setting;
  return typeof path === 'string' && path !== '' ? path : null;
}
