export const root: string;
export function missingAfterInstalling(programs: readonly string[]): string[];
export function fetched(name: 'amd64' | 'arm64' | 'postject' | 'cyclonedx'): string;
export function originOf(name: 'amd64' | 'arm64' | 'postject' | 'pkcs11js' | 'headers'): {
  name: string;
  version: string;
  sha512: string;
};
