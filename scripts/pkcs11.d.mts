/** @returns the folder. @throws {Error} if there is no compiler, or it fails */
export function makePart(architecture?: 'amd64' | 'arm64', folder?: string): Promise<string>;
/** What making the part needs of the system. */
export function compilerFor(architecture: 'amd64' | 'arm64'): string;
