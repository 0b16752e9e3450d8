import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { newDevice, programFile, temporaryFolder } from '../../support/program.ts';
import { mayUnshare } from '../../support/silentNameServer.ts';

/** A name server that answers every question with SERVFAIL (RFC 1035, 4.1.1), and says when it listens. */
const nameServer = `
const server = require('node:dgram').createSocket('udp4');
server.on('message', (question, { port, address }) => {
  const answer = Buffer.from(question);
  answer[2] |= 0x80;
  answer[3] = 0x82;
  server.send(answer, port, address);
});
server.bind(53, '127.0.0.1', () => console.log('listening'));
`;

test.runIf(mayUnshare)(
  'a name server that answers SERVFAIL is named with a remedy in one line by check, and by status after a try',
  () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'resolv.conf'), 'nameserver 127.0.0.1\n');
    writeFileSync(join(folder, 'server.cjs'), nameServer);
    const device = newDevice({
      provisioning: { url: 'http://provisioning.example.net' },
      retry: { initialMs: 60_000, maxMs: 60_000, failedAfterMs: 0 },
    });
    const program = `'${process.execPath}' '${programFile}'`;
    const script = `
      ip link set lo up || ifconfig lo up
      mount --bind '${folder}/resolv.conf' /etc/resolv.conf
      coproc SERVER { exec '${process.execPath}' '${folder}/server.cjs'; }
      read -r _ <&"\${SERVER[0]}"
      ${program} check --config '${device.configFile}' | grep '^fail  name-resolution'
      exec 3< <(exec ${program} run --config '${device.configFile}')
      daemon=$!
      while read -r line <&3; do case $line in *step.failed*) break ;; esac; done
      ${program} status --config '${device.configFile}' | head -1
      kill "$daemon" "$SERVER_PID"
    `;
    const { stdout, stderr } = spawnSync('unshare', ['-mn', 'bash', '-c', script], {
      encoding: 'utf8',
      timeout: 60_000,
    });
    const [checked = '', status = ''] = stdout.split('\n');
    for (const line of [checked, status]) {
      expect(line, stderr).toContain('PROVISIONING_UNREACHABLE: ');
      expect(line).toContain('no usable answer from a DNS server');
      expect(line).toMatch(/(Remedy|Fix): Check .*\/etc\/resolv\.conf: .*\(SERVFAIL\)\./);
    }
  },
);
