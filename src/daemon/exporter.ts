import { resolve } from 'node:path';
import { type ExportTarget, exportTarget } from '../config/exports.ts';
import type { Config } from '../config/schema.ts';
import { deliverResult, type ExportFailure, prepareIdentity } from '../services/onboarding/exportFiles.ts';
import type { Platform } from './platform.ts';
import type { Settings } from './settings.ts';
import { entryOfExportFailure, type Report } from './transitionLog.ts';

/** Exports as the chart needs them: a file that cannot be written fails no step, is logged, and is due again. */
export interface Exporter {
  /** See `prepareIdentity` */
  prepare(): { registered: boolean };
  /** See `deliverResult` */
  deliver(): void;
  /** Delivers again what could not be written. No-op if there is nothing */
  retry(): void;
}

/** @param onPending called after each delivery with what could not be written */
export function exporter(
  platform: Platform,
  { config, builtAt }: Settings,
  report: Report,
  onPending: (failures: readonly ExportFailure[]) => void,
): Exporter {
  const ports = { ...platform, readOutside: platform.readOutside ?? (() => null) };
  const options = {
    exports: targets(config.exports),
    natsUrl: config.nats.url,
    commonName: config.identity.commonName,
    builtAt,
  };
  /** Path -> what was logged of it last */
  let pending = new Map<string, string>();
  const note = (failures: readonly ExportFailure[]) => {
    for (const failure of failures) {
      if (pending.get(failure.path) !== failure.error.message) report(entryOfExportFailure(failure));
    }
    pending = new Map(failures.map(({ path, error }) => [path, error.message]));
    onPending(failures);
  };
  const deliver = () => note(deliverResult(ports, options));
  return {
    prepare() {
      const { failures, registered } = prepareIdentity(ports, options);
      note(failures);
      return { registered };
    },
    deliver,
    retry() {
      if (pending.size > 0) deliver();
    },
  };
}

/** A path means the same wherever `reset` is run later. */
function targets(exports: Config['exports']): Record<string, ExportTarget> {
  const absolute = ({ path, ...rest }: ExportTarget) => ({ path: resolve(path), ...rest });
  return Object.fromEntries(
    Object.entries(exports).map(([item, setting]) => [item, absolute(exportTarget(setting))]),
  );
}
