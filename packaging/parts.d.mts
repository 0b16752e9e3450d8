export function licences(architecture: string): string;
export function billOfMaterials(version: string, date: string): string;
