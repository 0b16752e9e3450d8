import type { AgentSettings } from '../config/agentSettings.ts';
import type { Config } from '../config/schema.ts';

/** What the daemon is started with. */
export interface Settings {
  readonly config: Config;
  readonly hostname: string;
  /** SHA-256 of the CAs that the answer may bring, hex (`fleetCaPins`); null: any */
  readonly fleetCa: readonly string[] | null;
  /** The Go agent that ran on this device; none by default */
  readonly agent?: AgentSettings;
  /** When this program was built, milliseconds since 1970 */
  readonly builtAt: number;
}
