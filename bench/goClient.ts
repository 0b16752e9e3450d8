import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { missingAfterInstalling, root } from '../packaging/tools.mjs';

const sources = '/usr/share/gocode';
const source = join(root, 'bench/go/client.go');
const program = join(root, '.tools/bench/go-client');

/**
 * Builds the Go client, offline, from Debian's packages.
 *
 * @returns path of the program and version of Go
 * @throws {Error} which says what to install
 */
export function buildGoClient(): { program: string; version: string } {
  const library = `${sources}/src/github.com/nats-io/nats.go/nats.go`;
  const missing = missingAfterInstalling(['go', library]);
  if (missing.length > 0)
    throw new Error(
      `${missing.join(', ')} is missing: install golang-go and golang-github-nats-io-go-nats-dev of Debian; as root, this command does it`,
    );
  const env = { ...process.env, GO111MODULE: 'off', GOPATH: sources, GOFLAGS: '' };
  if (!existsSync(program) || statSync(program).mtimeMs < statSync(source).mtimeMs) {
    mkdirSync(join(root, '.tools/bench'), { recursive: true });
    execFileSync('go', ['build', '-o', program, source], { env, stdio: ['ignore', 'inherit', 'inherit'] });
  }
  const [, , version = ''] = execFileSync('go', ['version'], { encoding: 'utf8' }).split(' ');
  return { program, version: version.replace('go', '') };
}
