export function programsFor(architecture: string): string[];
export function makeProgram(architecture: string): Promise<string>;
export function verify(architecture: string, program: string): Promise<void>;
export function runtimeOf(architecture: string): { file: string; versions: Record<string, string> };
export function codeCacheOf(architecture: string): string;
