import { type Finding, failedFor } from './check.ts';

/** Whose the state is, and who works with it. Users as names; null: not known. */
export interface Ownership {
  readonly folder: string;
  /** Of the unit `onboardd.service`, if the directory is the service's; null: no such unit */
  readonly service: string | null;
  /** Of the daemon that runs */
  readonly daemon: string | null;
  /** The directory itself is `.` */
  readonly owners: readonly { readonly name: string; readonly owner: string }[];
}

/**
 * Whether the state belongs to the user who works with it: the unit's, else the owner of the directory. Root can read and
 * write all of it, which tells nothing of the service.
 *
 * @returns the failure; null: nothing is wrong
 */
export function checkOwner({ folder, service, daemon, owners }: Ownership): Finding | null {
  const user = service ?? owners.find(({ name }) => name === '.')?.owner ?? null;
  if (user === null) return null;
  const give = `run \`chown -R ${user}: ${folder}\`, then \`systemctl restart onboardd\``;
  if (daemon !== null && daemon !== user) {
    const whose = service === null ? `${folder} belongs to ${user}` : `the service's user is ${user}`;
    return failedFor(
      'STATE_UNWRITABLE',
      'wrong-owner',
      `a daemon runs as ${daemon}, but ${whose}`,
      `Stop that daemon, ${give}.`,
    );
  }
  const foreign = owners.find(({ owner }) => owner !== user);
  if (foreign === undefined) return null;
  const what = foreign.name === '.' ? folder : `${folder}/${foreign.name}`;
  return failedFor(
    'STATE_UNWRITABLE',
    'wrong-owner',
    `${what} belongs to ${foreign.owner}, not to ${user}`,
    `${give[0]?.toUpperCase()}${give.slice(1)}.`,
  );
}
