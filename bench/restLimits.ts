/**
 * What a registered daemon does while nothing happens, in two minutes after a first one in which the runtime collects what the
 * start has left; held to `atRest` of bench/limits.json.
 *
 *   npm run test:rest
 */
import { rest } from './atRest.ts';
import { checkoutProgram, launcher } from './contenders.ts';
import { startFleetProcess } from './fleetProcess.ts';
import limits from './limits.json' with { type: 'json' };
import { assertStrace } from './systemCalls.ts';

assertStrace();
const fleet = await startFleetProcess();
try {
  const measured = await rest(checkoutProgram(launcher), fleet);
  for (const [what, most] of Object.entries(limits.atRest)) {
    const count = measured[what as keyof typeof limits.atRest];
    console.log(`${what} in a minute: ${count}, at most ${most}`);
    if (count > most) process.exitCode = 1;
  }
} finally {
  await fleet.stop();
}
