import { spawnSync } from 'node:child_process';

const table = `onboardd_test_${process.pid}`;
const nft = (...args: string[]) => spawnSync('nft', args, { encoding: 'utf8' });

/** Why no firewall rule can be set here; null where it can. */
export const noFirewall: string | null = reasonAgainst();

function reasonAgainst(): string | null {
  if (process.getuid?.() !== 0) return 'needs root, to set a firewall rule';
  const tried = nft('add', 'table', 'inet', table);
  nft('delete', 'table', 'inet', table);
  if (tried.error) return 'nft is not installed: apt-get install nftables';
  return tried.status === 0 ? null : `nft: ${tried.stderr.trim().split('\n')[0]}`;
}

/** Does to packets for a local port what the rule says, such as `drop`. @returns a function that takes the rule away */
export function spoilPort(port: number, rule: string): () => void {
  const text = [
    `add table inet ${table}`,
    `add chain inet ${table} out { type filter hook output priority 0; policy accept; }`,
    `add rule inet ${table} out tcp dport ${port} ${rule}\n`,
  ].join('\n');
  const { status, stderr } = spawnSync('nft', ['-f', '-'], { input: text, encoding: 'utf8' });
  if (status !== 0) throw new Error(`nft: ${stderr}`);
  const end = () => {
    nft('delete', 'table', 'inet', table);
    process.removeListener('exit', end);
  };
  process.once('exit', end);
  return end;
}
