import type { Config } from './schema.ts';

/** What each key allows and the keys together do not; each names the key, the value and what is allowed. */
export function contradictions({ provisioning }: Config): string[] {
  const problems: string[] = [];
  const { clientCertFile, clientKeyFile } = provisioning;
  if (clientCertFile !== null && clientKeyFile === null)
    problems.push(`provisioning.clientKeyFile is missing; it is required with provisioning.clientCertFile`);
  if (clientKeyFile !== null && clientCertFile === null)
    problems.push(`provisioning.clientCertFile is missing; it is required with provisioning.clientKeyFile`);
  return problems;
}
