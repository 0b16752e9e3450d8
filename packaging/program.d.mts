export function programsFor(architecture: string): string[];
export function makeProgram(architecture: string): Promise<string>;
