export const root: string;
export function missingAfterInstalling(programs: readonly string[]): string[];
export function fetched(name: 'amd64' | 'arm64' | 'postject'): string;
