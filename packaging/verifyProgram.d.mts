export function verifyProgram(command: readonly string[], version: string): Promise<void>;
