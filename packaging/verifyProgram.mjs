/** Runs a program file that was just built: what does not start is never packed. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Under emulation a start takes seconds, on a busy machine many. */
const limitMs = 240_000;

/**
 * Starts the program: `--version`, then a whole `run --once` against a server on loopback that refuses every request,
 * which takes it through configuration, state directory, key, certificate signing request and HTTP.
 *
 * @param command how it is started: the program file, behind an emulator if there is one
 * @throws {Error} if it does not do as expected; names the signal if one ended it
 */
export async function verifyProgram(command, version) {
  const [file, ...args] = command;
  let said;
  try {
    said = execFileSync(file, [...args, '--version'], { encoding: 'utf8', timeout: limitMs }).trim();
  } catch (error) {
    throw broken(command, `--version ended with ${error.signal ?? error.status ?? error.code}`);
  }
  if (said !== version) throw broken(command, `--version says "${said}" instead of "${version}"`);
  const { requests, status, output } = await refusedOnboarding(command);
  const [csr = ''] = requests;
  if (status !== 1 || !csr.includes('BEGIN CERTIFICATE REQUEST') || !output.includes('PROVISIONING_REJECTED'))
    throw broken(
      command,
      `run --once ended with ${status}, ${requests.length} requests: ${output.slice(-2000)}`,
    );
}

function broken(command, what) {
  const hint = 'a program file that was stripped after the build has lost its code';
  return new Error(`${command.at(-1)} does not work: ${what} (${hint})`);
}

/** @returns the bodies that were sent, exit status or signal, and what was written */
async function refusedOnboarding([file, ...args]) {
  const requests = [];
  const server = createServer((request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      requests.push(Buffer.concat(chunks).toString());
      response.writeHead(403).end('self-check');
    });
  });
  const folder = mkdtempSync(join(tmpdir(), 'onboardd-check-'));
  try {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const env = {
      PATH: process.env.PATH,
      HOME: folder,
      ONBOARDD_PROVISIONING_URL: `http://127.0.0.1:${server.address().port}`,
      ONBOARDD_DEVICE_TYPE: 'self-check',
      ONBOARDD_IDENTITY_KEY_TYPE: 'ec-p256',
      ONBOARDD_LOG_FORMAT: 'json',
    };
    const options = ['run', '--once', '--config', join(folder, 'none'), '--state-dir', join(folder, 'state')];
    const child = spawn(file, [...args, ...options], { env, timeout: limitMs, killSignal: 'SIGKILL' });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text) => {
        output += text;
      });
    const [code, signal] = await once(child, 'close');
    return { requests, status: code ?? signal, output };
  } finally {
    server.close();
    rmSync(folder, { recursive: true, force: true });
  }
}
